"""SQLite as a source: what a snapshot keeps, and how it fails."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from support.clock import FixedClock
from tenure.domain.catalogue import DataSet, DataSetKind, Link, Source, SourceKind
from tenure.domain.errors import ConfigError, IntegrityError, SchemaDriftError, SourceUnavailableError
from tenure.domain.progress import SilentProgress
from tenure.sources.sqlite import SqliteSource, SqliteView
from tenure.sources.sqlitecompare import compare_sqlite
from tenure.sources.sqliteload import SqliteLoader

RICH = """
PRAGMA page_size = 8192; PRAGMA encoding = '{encoding}'; PRAGMA auto_vacuum = 2;
CREATE TABLE customers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT UNIQUE COLLATE NOCASE);
CREATE TABLE cases (no TEXT PRIMARY KEY, customer_id INTEGER REFERENCES customers, opened TEXT,
  day TEXT GENERATED ALWAYS AS (substr(opened, 1, 10)) VIRTUAL, year TEXT AS (substr(opened, 1, 4)) STORED);
CREATE TABLE pairs (a, b INT, c, PRIMARY KEY (b, a)) WITHOUT ROWID;
CREATE TABLE typed (i INTEGER, r REAL, t TEXT, x ANY, PRIMARY KEY (t)) STRICT;
CREATE TABLE "odd ""name" ("a b", rowid);
CREATE INDEX by_day ON cases (day); CREATE INDEX big ON pairs (c) WHERE c > 5; CREATE INDEX low ON customers (lower(name));
CREATE VIEW v AS SELECT * FROM cases JOIN customers ON customers.id = customer_id;
CREATE TRIGGER tr AFTER INSERT ON customers BEGIN UPDATE cases SET opened = NULL WHERE no = 'never'; END;
CREATE VIRTUAL TABLE words USING fts5(body); CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
INSERT INTO customers (name, email) VALUES ('Ada', 'a@example.com'), ('Bo', NULL), ('Cy', '');
DELETE FROM customers WHERE id = 3;
INSERT INTO cases (rowid, no, customer_id, opened) VALUES (90, 'c9', 1, '2026-01-02T03:04:05Z'), (7, 'c10', 2, NULL), (8, 'x' || char(9) || 'y', NULL, '');
INSERT INTO pairs VALUES ('x', 2, 9), (x'00ff', 1, 1.5), (3, 1, NULL);
INSERT INTO typed VALUES (1, 2, 'k', x'0a'), (NULL, -0.0, 'l', 'text');
INSERT INTO "odd ""name" VALUES (char(10) || '\\N' || char(0) || 'z', 5), (9e999, 5);
INSERT INTO words VALUES ('hello world'); INSERT INTO boxes VALUES (1, 0.5, 2);
PRAGMA user_version = 7; PRAGMA application_id = 1234; ANALYZE;
"""


def make(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.executescript(script)
    return path


def source(path: Path, *data_sets: DataSet) -> Source:
    return Source(
        name="crm", kind=SourceKind.SQLITE, path=str(path), data_sets={d.name: d for d in data_sets}
    )


def adapter(path: Path, *data_sets: DataSet, lock_wait: float = 5.0) -> SqliteSource:
    return SqliteSource(
        source(path, *data_sets), scratch=path.parent / "scratch", clock=FixedClock(), lock_wait=lock_wait
    )


def table(name: str, **more: object) -> DataSet:
    return DataSet(name=name, source="crm", kind=DataSetKind.TABLE, table=name, **more)  # type: ignore[arg-type]


def load(view: SqliteView, to: Path) -> SqliteLoader:
    loader = SqliteLoader()
    loader.begin(view.structure(), to, SilentProgress())
    for name in view.data_sets():
        loader.rows(name, view.layout(name), view.rows(name))
    loader.end()
    return loader


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_whole_database_comes_back_equal(tmp_path: Path, encoding: str, mode: str) -> None:
    path = make(tmp_path / "a.db", RICH.format(encoding=encoding))
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"PRAGMA journal_mode = {mode}")
    view = adapter(path).begin()
    load(view, tmp_path / "b.db")
    view.close()
    assert compare_sqlite(path, tmp_path / "b.db") == []
    with closing(sqlite3.connect(tmp_path / "b.db")) as restored:
        assert restored.execute("SELECT count(*) FROM words WHERE words MATCH 'world'").fetchone() == (1,)
        assert restored.execute("SELECT id FROM boxes WHERE x1 > 1").fetchall() == [(1,)]
        restored.execute("INSERT INTO customers (name) VALUES ('Di')")
        assert restored.execute("SELECT max(id) FROM customers").fetchone() == (
            4,
        )  # 3 is not given out again
    assert list((tmp_path / "scratch").iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} >= {"a.db", "b.db"}
    assert not [p for p in tmp_path.iterdir() if "restoring" in p.name]


def test_the_comparison_sees_a_changed_class_and_a_changed_rowid(tmp_path: Path) -> None:
    a = make(tmp_path / "a.db", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    b = make(tmp_path / "b.db", "CREATE TABLE t (x); INSERT INTO t VALUES ('1')")
    c = make(tmp_path / "c.db", "CREATE TABLE t (x); INSERT INTO t (rowid, x) VALUES (2, 1)")
    assert compare_sqlite(a, b) == ["table t differs"]
    assert compare_sqlite(a, c) == ["table t differs"]
    assert compare_sqlite(a, a) == []


def test_the_private_copy_is_its_owners_alone_and_goes_with_the_view(tmp_path: Path) -> None:
    view = adapter(make(tmp_path / "a.db", "CREATE TABLE t (x)")).begin()
    (place,) = (tmp_path / "scratch").iterdir()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "copy.db").stat().st_mode) == 0o600
    view.close()
    view.close()
    assert not place.exists()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_view_is_of_one_instant_while_a_writer_goes_on(tmp_path: Path, mode: str) -> None:
    path = make(
        tmp_path / "a.db", f"PRAGMA journal_mode = {mode}; CREATE TABLE l (x); CREATE TABLE r (x, pad)"
    )
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as writer:
            n = 0
            while not stop.is_set():
                with writer:
                    writer.execute("INSERT INTO l VALUES (?)", (n,))
                    writer.execute("INSERT INTO r VALUES (?, zeroblob(2000))", (n,))
                n += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(8):
            view = adapter(path, lock_wait=30).begin()
            assert view.count("l") == view.count("r") == sum(map(len, view.rows("r")))
            view.close()
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield executor


def test_worker_processes_read_the_same_rows_in_the_same_order(
    tmp_path: Path, pool: ProcessPoolExecutor
) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE n (id INTEGER PRIMARY KEY, t); CREATE TABLE w (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID",
    )
    with closing(sqlite3.connect(path)) as made, made:
        made.executemany("INSERT INTO n VALUES (?, ?)", ((i * i - 900, f"row {i}") for i in range(9000)))
        made.executemany(
            "INSERT INTO w VALUES (?, ?)", ((f"k{i % 17}", i if i % 3 else f"é{i}") for i in range(9000))
        )
        made.execute("UPDATE n SET t = CAST(x'ff' AS TEXT) WHERE id = 0")
    one = adapter(path).begin()
    two = SqliteSource(source(path), scratch=tmp_path / "s", clock=FixedClock(), workers=pool).begin()
    for name in ("n", "w"):
        text = b"".join(bytes(b.text) for b in one.rows(name))
        assert text == b"".join(bytes(b.text) for b in two.rows(name))
        assert text.count(b"\n") == 9000
    assert b"i0\tt\xff\n" in b"".join(bytes(b.text) for b in two.rows("n"))
    one.close()
    two.close()


def test_large_cells_end_a_batch_early_and_lose_no_row(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    with closing(sqlite3.connect(path)) as made, made:
        made.executemany("INSERT INTO t VALUES (?, zeroblob(1000000))", ((i,) for i in range(30)))
        made.executemany("INSERT INTO t VALUES (?, 1)", ((i,) for i in range(100, 3000)))
    view = adapter(path).begin()
    lines = b"".join(bytes(b.text) for b in view.rows("t")).splitlines()
    view.close()
    assert [int(line.split(b"\t")[0][1:]) for line in lines] == [*range(30), *range(100, 3000)]


def test_linked_references_are_read_through_one_and_two_hops(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE customers (no TEXT UNIQUE, country TEXT);"
        "CREATE TABLE cases (id INTEGER PRIMARY KEY, customer TEXT);"
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, case_id INT, day AS ('2026-01-01'));"
        "INSERT INTO customers VALUES ('a', 'DE'), ('b', 'FR');"
        "INSERT INTO cases VALUES (1, 'b'), (2, 'gone');"
        "INSERT INTO notes VALUES (10, 1), (11, 2), (12, 3), (13, NULL);",
    )
    sets = (
        table("customers", key=("no",)),
        table(
            "cases",
            subjects={"customer": "customer"},
            links=(Link(to="customers", by=("customer",), columns=()),),
        ),
        table(
            "notes",
            subjects={"customer": "cases.customer"},
            starting_points={"written": "day"},
            attributes={"country": "cases.customers.country"},
            links=(Link(to="cases", by=("case_id",), columns=()),),
        ),
    )
    view = adapter(path, *sets).begin()
    (batch,) = view.rows("notes")
    assert view.layout("notes").linked == ("cases.customer", "day", "cases.customers.country")
    assert batch.facts is not None
    assert batch.facts.keys.to_pylist() == [b"i10", b"i11", b"i12", b"i13"]
    assert batch.facts.subjects["customer"].to_pylist() == ["b", "gone", None, None]
    assert batch.facts.attributes["country"].to_pylist() == ["FR", None, None, None]
    assert str(batch.facts.starting["written"][0]) == "2026-01-01T00:00:00"
    load(view, tmp_path / "b.db")
    view.close()
    assert compare_sqlite(path, tmp_path / "b.db") == []


def test_an_ambiguous_parent_gives_no_fact_and_no_second_row(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE p (k, who); CREATE TABLE c (k); INSERT INTO p VALUES (1, 'x'), (1, 'y'), (2, 'z'); INSERT INTO c VALUES (1), (2)",
    )
    child = table("c", subjects={"who": "p.who"}, links=(Link(to="p", by=("k",), columns=("k",)),))
    view = adapter(path, child, table("p")).begin()
    (batch,) = view.rows("c")
    view.close()
    assert batch.facts is not None
    assert batch.facts.subjects["who"].to_pylist() == [None, "z"]


def test_a_primary_key_that_holds_nulls_gives_way_to_the_rowid(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE t (k TEXT PRIMARY KEY, x); INSERT INTO t VALUES (NULL, 1), (NULL, 2), ('a', 3)",
    )
    view = adapter(path).begin()
    assert view.layout("t").columns == ("rowid", "k", "x")
    load(view, tmp_path / "b.db")
    view.close()
    assert compare_sqlite(path, tmp_path / "b.db") == []


def test_the_view_looks_rows_up_for_another_source(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE i (id INTEGER PRIMARY KEY, customer, place); INSERT INTO i VALUES (1, 'a', 7), (2, 'b', NULL)",
    )
    view = adapter(path).begin()
    found = view.lookup("i")(["customer", "place"], (), [("2",), ("9",), (None,), ("1",)])
    assert found["customer"].to_pylist() == [b"tb", None, None, b"ta"]
    assert found["place"].to_pylist() == [None, None, None, b"i7"]
    assert view.lookup("i")(["id"], ("customer",), [("b",)])["id"].to_pylist() == [b"i2"]
    assert view.lookup("i")(["id"], (), [])["id"].to_pylist() == []
    view.close()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (x, y); INSERT INTO t VALUES (1, 1), (1, 2)")
    (tmp_path / "no.db").write_bytes(b"this is no database at all" * 99)
    with pytest.raises(SourceUnavailableError, match="no file"):
        adapter(tmp_path / "missing.db").begin()
    with pytest.raises(ConfigError, match="no SQLite database"):
        adapter(tmp_path / "no.db").begin()
    with pytest.raises(SchemaDriftError, match="no table 'u'"):
        adapter(path, table("u")).begin()
    with pytest.raises(SchemaDriftError, match="no column 'z'"):
        adapter(path, table("t", subjects={"who": "z"})).begin()
    with pytest.raises(ConfigError, match="not unique"):
        adapter(path, table("t", key=("x",))).begin()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_locked_database_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (x)")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceUnavailableError, match="locked"):
            adapter(path, lock_wait=0.1).begin()


def test_nothing_is_restored_over_anything(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t (x)")
    view = adapter(path).begin()
    with pytest.raises(ConfigError, match="live store"):
        adapter(path).loader().begin(view.structure(), path, SilentProgress())
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere.db")
    with pytest.raises(ConfigError, match="exists already"):
        SqliteLoader().begin(view.structure(), tmp_path / "link.db", SilentProgress())
    late = SqliteLoader()
    late.begin(view.structure(), tmp_path / "late.db", SilentProgress())
    (tmp_path / "late.db").write_bytes(b"came meanwhile")
    with pytest.raises(ConfigError, match="appeared"):
        late.end()
    assert (tmp_path / "late.db").read_bytes() == b"came meanwhile"
    with pytest.raises(IntegrityError):
        SqliteLoader().begin(b'{"kind": "folder"}', tmp_path / "x.db", SilentProgress())
    view.close()
    assert not [p for p in tmp_path.iterdir() if "restoring" in p.name]


def test_rows_that_lack_their_parent_are_reported(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.db",
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p); INSERT INTO c VALUES (1), (2)",
    )
    view = adapter(path).begin()
    loader = load(view, tmp_path / "b.db")
    view.close()
    assert [f.reason for f in loader.findings] == ["2 rows of c refer to rows of p that are not there"]


def test_a_collation_that_only_the_application_knows_is_refused_by_name(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as made:
        made.create_collation("house", lambda a, b: (a > b) - (a < b))
        made.execute("CREATE TABLE t (x TEXT COLLATE house UNIQUE)")
    with pytest.raises(ConfigError, match="house"):
        adapter(tmp_path / "a.db").begin()

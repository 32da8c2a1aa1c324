"""The live side of SQLite: nothing goes that was not judged in the transaction that removes it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tenure.domain.catalogue import ColumnClass, DataSet, DataSetKind, Link, Source, SourceKind
from tenure.domain.errors import ConfigError, SchemaDriftError, SourceError, SourceUnavailableError
from tenure.rules.facts import Facts
from tenure.sources.sqlitelive import SqliteLive

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, closed TEXT, boss INT REFERENCES customers);
CREATE TABLE cases (no TEXT PRIMARY KEY, customer_id INT REFERENCES customers ON DELETE CASCADE, note TEXT CHECK (note <> 'bad'));
INSERT INTO customers VALUES (1, 'Ada', 'a@x', '2020-01-01', NULL), (2, 'Bo', 'b@x', '2025-01-01', 1), (3, 'Cy', NULL, NULL, NULL);
INSERT INTO cases VALUES ('c1', 1, 'n1'), ('c2', 2, 'n2');
"""
PERSONAL = frozenset({ColumnClass.PERSONAL})
CUSTOMERS = DataSet(
    name="people", source="crm", kind=DataSetKind.TABLE, table="customers", subjects={"customer": "id"},
    starting_points={"closed": "closed"}, columns={"name": PERSONAL, "email": PERSONAL, "closed": frozenset()},
)  # fmt: skip
CASES = DataSet(
    name="cases", source="crm", kind=DataSetKind.TABLE, table="cases", subjects={"customer": "customer_id"},
    links=(Link(to="people", by=("customer_id",), columns=()),),
)  # fmt: skip


def all_fall(facts: Facts) -> NDArray[np.bool_]:
    return np.ones(len(facts), bool)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "a.db")) as made:
        made.executescript(SCHEMA)
    return tmp_path / "a.db"


def live(path: Path, *sets: DataSet) -> SqliteLive:
    found = {d.name: d for d in sets or (CUSTOMERS, CASES)}
    return SqliteLive(
        Source(name="crm", kind=SourceKind.SQLITE, path=str(path), data_sets=found), lock_wait=0.2
    )


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as c:
        found = c.execute(sql).fetchall()
        c.commit()
        return found


def test_only_what_the_judge_lets_fall_is_deleted(path: Path) -> None:
    def closed_before_2021(facts: Facts) -> NDArray[np.bool_]:
        return np.asarray(facts.starting["closed"] < np.datetime64("2021-01-01"))

    removal = live(path).remove("cases", [b"tc1", b"tnone"], all_fall)
    assert (removal.gone, removal.left, removal.absent) == ((b"tc1",), (), (b"tnone",))
    ask(path, "UPDATE customers SET boss = NULL")
    removal = live(path).remove("people", [b"i1", b"i2", b"i3"], closed_before_2021)
    assert (removal.gone, removal.left) == ((b"i1",), (b"i2", b"i3"))
    assert ask(path, "SELECT id FROM customers") == [(2,), (3,)]


def test_a_row_that_others_refer_to_is_left_and_never_cascades(path: Path) -> None:
    removal = live(path).remove("people", [b"i1", b"i2", b"i3"], all_fall)
    assert removal.gone == (b"i3",)
    assert set(removal.left) == {b"i1", b"i2"}
    assert ask(path, "SELECT count(*) FROM cases") == [(2,)]


def test_rows_that_refer_to_each_other_fall_together(path: Path) -> None:
    live(path).remove("cases", [b"tc1", b"tc2"], all_fall)
    assert set(live(path).remove("people", [b"i1", b"i2"], all_fall).gone) == {b"i1", b"i2"}


def test_facts_are_read_again_inside_the_transaction(path: Path) -> None:
    def closed(facts: Facts) -> NDArray[np.bool_]:
        with pytest.raises(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("UPDATE customers SET closed = NULL")
        return ~np.isnat(facts.starting["closed"])

    ask(path, "DELETE FROM cases")
    ask(path, "UPDATE customers SET closed = NULL, boss = NULL WHERE id = 2")
    removal = live(path).remove("people", [b"i1", b"i2"], closed)
    assert (removal.gone, removal.left) == ((b"i1",), (b"i2",))


def test_an_inbound_reference_or_trigger_that_is_not_covered_stops_before_the_first_row(path: Path) -> None:
    with pytest.raises(SchemaDriftError, match="cases refers to customers"):
        live(path, CUSTOMERS).remove("people", [b"i3"], all_fall)
    ask(path, "CREATE TABLE log (x)")
    ask(path, "CREATE TRIGGER keep AFTER DELETE ON customers BEGIN INSERT INTO log VALUES (old.name); END")
    ask(
        path,
        "CREATE TRIGGER changed AFTER UPDATE OF email ON customers BEGIN INSERT INTO log VALUES (old.email); END",
    )
    with pytest.raises(SchemaDriftError, match="trigger keep"):
        live(path).remove("people", [b"i3"], all_fall)
    with pytest.raises(SchemaDriftError, match="trigger changed"):
        live(path).rewrite("people", [b"i3"], all_fall, {"email": lambda _: None})
    assert live(path).rewrite("people", [b"i3"], all_fall, {"name": lambda _: "x"}).gone == (b"i3",)
    assert ask(path, "SELECT count(*) FROM customers") == [(3,)]


def test_a_trigger_that_deletes_other_rows_of_the_same_table_is_refused(path: Path) -> None:
    ask(path, "CREATE TRIGGER more AFTER DELETE ON cases BEGIN DELETE FROM cases; END")
    with pytest.raises(SchemaDriftError, match="trigger more"):
        live(path).remove("cases", [b"tc1"], all_fall)
    assert ask(path, "SELECT count(*) FROM cases") == [(2,)]


def test_a_constraint_that_refuses_an_edit_rolls_the_batch_back_and_names_no_value(path: Path) -> None:
    with pytest.raises(SourceError, match=r"NOT NULL constraint failed: customers\.name"):
        live(path).rewrite(
            "people", [b"i1", b"i2"], all_fall, {"name": lambda old: None if old == "Bo" else "x"}
        )
    with pytest.raises(SourceError, match="CHECK"):
        live(path).rewrite("cases", [b"tc1"], all_fall, {"note": lambda _: "bad"})
    assert ask(path, "SELECT name FROM customers") == [("Ada",), ("Bo",), ("Cy",)]
    with pytest.raises(ConfigError, match="is its key"):
        live(path).rewrite("people", [b"i1"], all_fall, {"id": lambda _: 9})


def test_an_edit_makes_the_new_value_from_the_old(path: Path) -> None:
    removal = live(path).rewrite("cases", [b"tc1", b"tc2"], all_fall, {"note": lambda old: old[0] + "*"})
    assert set(removal.gone) == {b"tc1", b"tc2"}
    assert ask(path, "SELECT note FROM cases") == [("n*",), ("n*",)]


def test_children_and_stubs_follow_the_catalogue(path: Path) -> None:
    store = live(path)
    assert store.children("people", [b"i1", b"i3"]) == {"cases": (b"tc1",)}
    assert store.stub("people", [b"i1"]) == 1
    assert ask(path, "SELECT * FROM customers WHERE id = 1") == [(1, "", None, "2020-01-01", None)]


def test_subject_keys_tell_a_leading_zero(path: Path) -> None:
    store = live(path)
    assert store.subject_keys("cases", "customer", "1") == (b"tc1",)
    assert store.subject_keys("cases", "customer", "01") == ()
    assert store.subject_keys("cases", "agent", "1") == ()


def test_facts_come_for_all_rows_or_for_those_asked(path: Path) -> None:
    (found,) = live(path).facts("people")
    assert found.keys.to_pylist() == [b"i1", b"i2", b"i3"]
    (found,) = live(path).facts("people", [b"i2", b"i99"])
    assert found.subjects["customer"].to_pylist() == ["2"]
    assert list(live(path).facts("people", [b"i99"])) == []


def test_a_lock_is_waited_for_and_then_an_error(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(SourceUnavailableError, match="locked"):
            live(path).remove("cases", [b"tc1"], all_fall)
    assert ask(path, "SELECT count(*) FROM cases") == [(2,)]


def test_removed_text_is_gone_from_the_file_and_its_log(path: Path) -> None:
    ask(path, "PRAGMA journal_mode = wal")
    ask(path, "UPDATE cases SET note = 'canary-7f3a'")
    store = live(path)
    store.remove("cases", [b"tc1", b"tc2"], all_fall)
    assert store.vacuum() == ()
    held = b"".join(p.read_bytes() for p in path.parent.iterdir() if p.is_file())
    assert b"canary" not in held


def test_keys_that_are_no_valid_text_are_found_and_removed(path: Path) -> None:
    ask(path, "INSERT INTO cases VALUES (CAST(x'ff09' AS TEXT), NULL, NULL)")
    assert live(path).remove("cases", [b"t\xff\\t"], all_fall).gone == (b"t\xff\\t",)
    assert ask(path, "SELECT count(*) FROM cases") == [(2,)]


def test_text_that_is_not_utf8_spoils_no_row_of_its_batch(path: Path) -> None:
    """SQLite keeps any bytes as text; Python cannot. Every cell is edited as text, and stays text, byte for byte."""
    ask(path, "UPDATE customers SET email = CAST(X'ff6140fe' AS TEXT) WHERE id = 2")
    ask(path, "UPDATE customers SET email = X'6240' WHERE id = 3")
    seen: list[object] = []

    def starred(old: object) -> object:
        seen.append(type(old))
        return old.replace("@", "*") if isinstance(old, str) else old

    edits = {"email": starred, "name": lambda old: old}
    live(path).rewrite("people", [b"i1", b"i2", b"i3"], all_fall, edits)
    assert seen == [str, str, bytes]
    assert ask(path, "SELECT typeof(email), hex(email), typeof(name), name FROM customers ORDER BY id") == [
        ("text", "612A78", "text", "Ada"),
        ("text", "FF612AFE", "text", "Bo"),
        ("blob", "6240", "text", "Cy"),
    ]


def test_a_key_that_is_not_utf8_is_found_and_its_row_rewritten(path: Path) -> None:
    ask(path, "INSERT INTO cases VALUES (CAST(X'6bff' AS TEXT), 1, 'n@')")
    keys = [b"tc1", b"tk\xff"]
    live(path).rewrite("cases", keys, all_fall, {"note": lambda old: old.replace("n", "N")})
    assert ask(path, "SELECT typeof(note), note FROM cases ORDER BY note") == [
        ("text", "N1"),
        ("text", "N@"),
        ("text", "n2"),
    ]


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_rows_whose_keys_hold_halves_of_surrogate_pairs_are_found_and_nothing_else_is(
    tmp_path: Path, encoding: str
) -> None:
    path, codec = tmp_path / "halves.db", "utf-16-le" if encoding == "UTF-16le" else "utf-16-be"
    keys = ["\ud800", "\udc00", "a\ud800", "\ud800a", "\udc00\ud800", "\U0001f4a9", "a", "\ufffd"]
    kept = "CAST(substr(?, 1) AS TEXT)"  # a bound blob itself would be taken for UTF-8
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"PRAGMA encoding = '{encoding}'")
        made.execute("CREATE TABLE people (k TEXT PRIMARY KEY, name TEXT)")
        made.execute("CREATE TABLE cases (no INTEGER PRIMARY KEY, k TEXT REFERENCES people)")
        for key in keys:
            raw = key.encode(codec, "surrogatepass")
            made.execute(f"INSERT INTO people VALUES ({kept}, 'Ada')", (raw,))
        made.execute(f"INSERT INTO cases VALUES (1, {kept})", ("\udc00".encode(codec, "surrogatepass"),))
        made.commit()
    people = DataSet(name="people", source="crm", kind=DataSetKind.TABLE, columns={"name": PERSONAL})
    cases = DataSet(
        name="cases", source="crm", kind=DataSetKind.TABLE, links=(Link(to="people", by=("k",), columns=()),)
    )
    store, row_keys = live(path, people, cases), [b"t" + k.encode("utf-8", "surrogatepass") for k in keys]
    assert sorted(k for f in store.facts("people") for k in f.keys.to_pylist()) == sorted(row_keys)
    assert store.children("people", [row_keys[0]]) == {}
    assert store.children("people", [row_keys[1]]) == {"cases": (b"i1",)}
    assert store.rewrite("people", row_keys[:1], all_fall, {"name": lambda _: "Bo"}).gone == (row_keys[0],)
    assert store.stub("people", row_keys[2:3]) == 1
    assert sorted(ask(path, "SELECT name, count(*) FROM people GROUP BY 1"), key=str) == [
        ("Ada", 6), ("Bo", 1), (None, 1),
    ]  # fmt: skip
    done = store.remove("people", row_keys[:5], all_fall)
    assert (set(done.gone), done.left, done.absent) == ({*row_keys[:5]} - {row_keys[1]}, (row_keys[1],), ())
    left = ask(path, "SELECT hex(CAST(k AS BLOB)) FROM people")
    assert {bytes.fromhex(str(h)) for (h,) in left} == {
        keys[i].encode(codec, "surrogatepass") for i in (1, 5, 6, 7)
    }


def test_a_key_that_the_encoding_of_the_database_cannot_hold_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA encoding = 'UTF-16le'")
        made.execute("CREATE TABLE people (k TEXT PRIMARY KEY)")
        made.execute("INSERT INTO people VALUES ('a')")
        made.commit()
    people = DataSet(name="people", source="crm", kind=DataSetKind.TABLE)
    done = live(path, people).remove("people", [b"t\xff", b"ta"], all_fall)
    assert (done.gone, done.left, done.absent) == ((b"ta",), (), (b"t\xff",))

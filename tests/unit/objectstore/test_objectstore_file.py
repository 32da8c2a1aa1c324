"""What a folder as object store does beyond the port: its disk, its permissions, its leftovers."""

import errno
import os
import stat
from pathlib import Path

import pytest

from support.clock import FixedClock
from tenure.domain.errors import (
    ConfigError,
    ObjectNotFoundError,
    ObjectStoreError,
    StoreDeniedError,
    StoreUnavailableError,
)
from tenure.objectstore.file import FileStore


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "store"


@pytest.fixture(params=["nameless", "temporary names"])
def store(request: pytest.FixtureRequest, root: Path, clock: FixedClock) -> FileStore:
    store = FileStore.create(root, clock)
    store._nameless = store._nameless and request.param == "nameless"
    return store


def failing(monkeypatch: pytest.MonkeyPatch, name: str, code: int, *, calls_before: int = 0) -> None:
    """Make a system call fail from its next call on, or after some that succeed."""
    real = getattr(os, name)
    left = calls_before

    def call(*args: object, **named: object) -> object:
        nonlocal left
        if left:
            left -= 1
            return real(*args, **named)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, call)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_root_that_is_not_there_is_no_empty_store(root: Path, clock: FixedClock) -> None:
    with pytest.raises(StoreUnavailableError, match="no object store at") as caught:
        FileStore(root, clock)
    assert "mount its disk" in caught.value.hint


def test_a_mount_point_without_its_disk_is_no_empty_store(root: Path, clock: FixedClock) -> None:
    root.mkdir(parents=True)
    with pytest.raises(StoreUnavailableError, match="no object store at"):
        FileStore(root, clock)


def test_a_store_whose_disk_goes_away_is_unavailable_and_not_empty(store: FileStore, root: Path) -> None:
    store.put("a/b", b"x")
    root.rename(root.with_name("gone"))
    root.mkdir()
    for call in (
        lambda: store.get("a/b"),
        lambda: store.stat("a/b"),
        lambda: list(store.list("")),
        lambda: list(store.list("a/")),
        lambda: store.delete("a/b"),
        lambda: store.put("a/c", b""),
    ):
        with pytest.raises(StoreUnavailableError, match="no object store at"):
            call()
    root.rmdir()
    root.with_name("gone").rename(root)
    assert store.get("a/b") == b"x"


def test_making_a_store_twice_keeps_what_is_in_it(root: Path, clock: FixedClock) -> None:
    FileStore.create(root, clock).put("a", b"x")
    assert FileStore.create(root, clock).get("a") == b"x"


def test_a_folder_with_other_files_is_not_made_a_store(root: Path, clock: FixedClock) -> None:
    root.mkdir(parents=True)
    (root / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is no object store"):
        FileStore.create(root, clock)


def test_only_the_owner_may_use_what_is_stored(store: FileStore, root: Path) -> None:
    old = os.umask(0)
    try:
        store.put("keys/1/page", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "keys/1/page").stat().st_mode) == 0o600
    for folder in (root, root / ".tmp", root / "keys", root / "keys/1"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("fails", [("pwrite", 0), ("pwrite", 1), ("fsync", 0)])
def test_a_full_disk_says_which_store_and_leaves_nothing(
    store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails: tuple[str, int]
) -> None:
    store.put("data/0", b"x")
    call, calls_before = fails
    if call == "pwrite":
        real = os.pwrite
        monkeypatch.setattr(
            os, "pwrite", lambda fd, content, at: real(fd, content[:3], at)
        )  # as a disk that fills up
    failing(monkeypatch, call, code, calls_before=calls_before)
    with pytest.raises(
        ObjectStoreError, match=f"data/1 cannot be written: the store at {root} is full"
    ) as caught:
        store.put("data/1", b"1234567890")
    assert type(caught.value) is ObjectStoreError
    assert "free space" in caught.value.hint
    monkeypatch.undo()
    assert files_below(root) == ["data/0"]
    store.put("data/1", b"1234567890")
    assert store.get("data/1") == b"1234567890"


def test_short_writes_are_continued(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, at: real(fd, content[:3], at))
    store.put("a", b"1234567890")
    assert store.get("a") == b"1234567890"


def test_short_reads_are_continued(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"1234567890")
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: real(fd, min(length, 3), offset))
    assert store.get("a") == b"1234567890"
    assert store.get("a", offset=1, length=7) == b"2345678"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EACCES, StoreDeniedError),
        (errno.EROFS, StoreDeniedError),
        (errno.EIO, StoreUnavailableError),
        (errno.ESTALE, StoreUnavailableError),
        (errno.EMFILE, StoreUnavailableError),
        (errno.EFBIG, ObjectStoreError),
    ],
)
def test_errors_of_the_system_are_translated(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[ObjectStoreError]
) -> None:
    store.put("a/b", b"x")
    failing(monkeypatch, "open", code)
    for call in (lambda: store.get("a/b"), lambda: store.put("a/c", b""), lambda: store.delete("a/b")):
        with pytest.raises(ObjectStoreError, match=f"a/. cannot be .*{os.strerror(code)}") as caught:
            call()
        assert type(caught.value) is expected
    monkeypatch.undo()
    failing(monkeypatch, "scandir", code)
    with pytest.raises(expected, match="cannot be listed"):
        list(store.list(""))


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_told(
    store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failing(monkeypatch, "link", code)
    with pytest.raises(StoreDeniedError, match="no hard links") as caught:
        store.put("a", b"x")
    assert "ext4" in caught.value.hint
    assert files_below(root) == []


def test_a_file_system_without_nameless_files_gets_temporary_names(
    root: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def without(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", without)
    store = FileStore.create(root, clock)
    store.put("a", b"x")
    assert store.get("a") == b"x"
    assert files_below(root) == ["a"]


def test_leftovers_of_dead_processes_are_swept_when_older_than_a_day(root: Path, clock: FixedClock) -> None:
    FileStore.create(root, clock)
    for name, hours in (("old", 25), ("young", 23)):
        (root / ".tmp" / name).write_bytes(b"half of an object")
        at = clock.now().timestamp() - hours * 3600
        os.utime(root / ".tmp" / name, (at, at))
    FileStore(root, clock)
    assert files_below(root) == [".tmp/young"]


def test_deleting_also_removes_the_temporary_name_that_a_dead_writer_left(
    store: FileStore, root: Path
) -> None:
    store.put("keys/page", b"keys to be destroyed")
    (root / ".tmp/left").hardlink_to(root / "keys/page")
    (root / ".tmp/other").write_bytes(b"of a living process")
    store.delete("keys/page")
    assert files_below(root) == [".tmp/other"]


def test_a_put_that_met_a_folder_removed_by_hand_works_again(store: FileStore, root: Path) -> None:
    store.put("a/b/c", b"x")
    store.delete("a/b/c")
    (root / "a/b").rmdir()
    with pytest.raises(StoreUnavailableError):
        store.put("a/b/d", b"x")
    store.put("a/b/d", b"x")
    assert store.get("a/b/d") == b"x"


def test_an_object_and_a_folder_cannot_share_a_name(store: FileStore) -> None:
    store.put("a", b"x")
    with pytest.raises(ObjectStoreError, match="a/b cannot be written"):
        store.put("a/b", b"x")
    assert store.get("a") == b"x"


def test_links_and_foreign_files_are_no_objects(store: FileStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "my notes.txt").write_bytes(b"a name no object has")
    (root / ".hidden").write_bytes(b"")
    os.mkfifo(root / "pipe")
    assert list(store.list("")) == []
    with pytest.raises(ObjectNotFoundError):
        store.get("link")
    with pytest.raises(ObjectNotFoundError):
        store.stat("link")


def test_what_is_synced_before_a_name_is_given_is_the_whole_object(
    store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real_sync, real_link = os.fsync, os.link

    def sync(fd: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        seen.append("sync folder" if is_folder else f"sync {os.fstat(fd).st_size} bytes")
        real_sync(fd)

    def link(*args: object, **named: object) -> None:
        seen.append("link")
        real_link(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", link)
    store.put("a/b", b"12345")
    assert seen == ["sync folder", "sync 5 bytes", "link", "sync folder"]
    seen.clear()
    store.delete("a/b")
    store.delete("a/b")
    assert seen == ["sync folder", "sync folder"], "a repeated deletion makes the first one durable"

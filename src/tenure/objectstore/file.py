"""An object store in a folder of a local or mounted file system.

Objects are files below the root, mode 0600 in folders of mode 0700. A new one is written and synced without a name
(``O_TMPFILE``), then linked to its name, which fails where the name is taken: so it appears whole, once, and a process
that dies before leaves nothing behind. File systems without nameless files get a temporary name in ``.tmp`` instead.
The folder ``.tmp`` also marks the root as a store: a mount point whose disk is missing has none, and is not mistaken
for an empty store.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from tenure.crypto.hashing import random_bytes
from tenure.domain.clock import Clock
from tenure.domain.errors import (
    ConfigError,
    ObjectNotFoundError,
    ObjectStoreError,
    PreconditionFailedError,
    StoreDeniedError,
    StoreUnavailableError,
    TruncatedError,
)
from tenure.objectstore.base import Buffer, ObjectInfo, validate_name, validate_range
from tenure.objectstore.bulk import write_whole

_TEMPORARY = ".tmp"
_SWEEP_AFTER = timedelta(days=1)  # longer than any put takes: a younger one may belong to a living process
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_UNUSABLE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


class FileStore:
    """A folder as `ObjectStore`; several processes may use it at once."""

    def __init__(self, root: Path, clock: Clock) -> None:
        """Open an existing store; `clock` stamps what is put, and is the store's own.

        Raises:
            StoreUnavailableError: There is no store at `root`, its disk not mounted perhaps.
            StoreDeniedError: It may not be entered.
        """
        self._root = root
        self._temporary = root / _TEMPORARY
        self._clock = clock
        self._synced: set[Path] = set()  # folders whose own entry is known to be on the disk
        self._require_root()
        self._nameless = self._can_link_nameless()
        self._sweep()

    @property
    def root(self) -> Path:
        """Return the folder."""
        return self._root

    @classmethod
    def create(cls, root: Path, clock: Clock) -> Self:
        """Make the folder, and those above it, if need be, and open it as a store.

        Raises:
            ConfigError: `root` holds files but is no store.
            StoreDeniedError: It may not be made.
            ObjectStoreError: It could not be made.
        """
        marker = root / _TEMPORARY
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not marker.is_dir() and any(root.iterdir()):
                raise ConfigError(
                    f"{root} holds files and is no object store", hint="choose an empty or a new folder"
                )
            marker.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(root)
            _sync_folder(root.parent)
        except OSError as e:
            raise _translated(e, root, "the store cannot be made") from e
        return cls(root, clock)

    def put(self, name: str, content: Buffer, *, until: datetime | None = None) -> ObjectInfo:
        """See `ObjectStore.put`.

        Raises:
            ObjectStoreError: The disk is full, among others; nothing of the object stays. Or a lock was asked for.
        """
        if until is not None:
            raise ObjectStoreError(
                f"{name} cannot be locked: {self._root} is a folder, and folders have no locks"
            )
        target = self._path(name)
        try:
            # Asked first, so that a repeated put of a large pack costs nothing.
            if not os.path.lexists(target):
                self._make_folders(target.parent)
                with suppress(FileExistsError):
                    return self._create(target, name, memoryview(content).cast("B"))
            # Whoever took the name may have died before it was on the disk; callers go on from what they find there.
            _sync_folder(target.parent)
            raise PreconditionFailedError(f"{name} exists already in the store at {self._root}")
        except OSError as e:
            self._synced.clear()  # somebody may have removed a folder
            self._require_root()
            raise _translated(e, self._root, f"{name} cannot be written") from e

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        validate_range(offset, length)
        path = self._path(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                return _read(fd, name, offset, length)
            finally:
                os.close(fd)
        except OSError as e:
            raise self._read_error(e, name) from e

    def stat(self, name: str) -> ObjectInfo:
        """See `ObjectStore.stat`."""
        try:
            found = os.lstat(self._path(name))
        except OSError as e:
            raise self._read_error(e, name) from e
        if not stat.S_ISREG(found.st_mode):
            raise self._absent(name)
        return _info(name, found)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        path = self._path(name)
        try:
            self._unlink(path)
            # Also where nothing was there: a deletion that died half-way may not be on the disk yet.
            _sync_folder(path.parent)
        except OSError as e:
            self._require_root()
            if e.errno not in _ABSENT:
                raise _translated(e, self._root, f"{name} cannot be deleted") from e

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        self._require_root()
        folder, _, beginning = prefix.rpartition("/")
        if folder:
            try:
                validate_name(folder)
            except ValueError:
                return  # no name begins so
        elif prefix.startswith("/"):
            return
        yield from self._walk(f"{folder}/" if folder else "", beginning)

    def now(self) -> datetime:
        """See `ObjectStore.now`."""
        return self._clock.now()

    # Writing

    def _create(self, target: Path, name: str, content: memoryview) -> ObjectInfo:
        fd, temporary = self._open_new()
        try:
            self._stamp(fd)  # at once, so that a sweep can tell its age
            write_whole(fd, content)
            self._stamp(fd)
            os.fsync(fd)
            info = _info(name, os.fstat(fd))
            self._link(fd, temporary, target)
        finally:
            os.close(fd)
            if temporary is not None:
                # Not left to the sweep: a second link would keep the bytes after `delete`.
                temporary.unlink()
        _sync_folder(target.parent)
        return info

    def _open_new(self) -> tuple[int, Path | None]:
        if self._nameless:
            return os.open(self._temporary, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
        temporary = self._temporary / random_bytes(16).hex()
        return os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), temporary

    def _stamp(self, fd: int) -> None:
        ns = (self._clock.now() - _EPOCH) // _MICROSECOND * 1000
        os.utime(fd, ns=(ns, ns))

    def _link(self, fd: int, temporary: Path | None, target: Path) -> None:
        """Give the file its name, which fails where the name is taken."""
        try:
            if temporary is None:
                _link_nameless(fd, target)
            else:
                os.link(temporary, target, follow_symlinks=False)
        except OSError as e:
            if e.errno in _NO_LINKS:
                raise StoreDeniedError(
                    f"the file system of {self._root} has no hard links, so names cannot be taken exclusively",
                    hint="put the store on ext4, XFS, Btrfs, ZFS or NFS",
                ) from e
            raise

    def _make_folders(self, folder: Path) -> None:
        """Make the folders of an object durable, one by one from the root."""
        if folder in self._synced or folder == self._root:
            return
        self._make_folders(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        # Also where another process made it: that process may have died before its entry was on the disk.
        _sync_folder(folder.parent)
        self._synced.add(folder)

    # Removing

    def _unlink(self, path: Path) -> None:
        try:
            found = os.lstat(path)
            if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
                self._drop_temporary_link(found)
            path.unlink()
        except IsADirectoryError:
            return  # a folder is no object
        except FileNotFoundError:
            return

    def _drop_temporary_link(self, found: os.stat_result) -> None:
        """Remove the temporary name of an object whose writer died between taking its name and this."""
        for entry in os.scandir(self._temporary):
            with suppress(FileNotFoundError):
                if os.path.samestat(entry.stat(follow_symlinks=False), found):
                    Path(entry.path).unlink()
        _sync_folder(self._temporary)

    def _sweep(self) -> None:
        """Remove what dead processes left in ``.tmp``; a store that may only be read is left as it is."""
        oldest = self._clock.now() - _SWEEP_AFTER
        with suppress(OSError):
            for entry in os.scandir(self._temporary):
                if _modified(entry.stat(follow_symlinks=False)) < oldest:
                    Path(entry.path).unlink()

    # Reading

    def _walk(self, above: str, beginning: str = "") -> Iterator[ObjectInfo]:
        """Yield objects of a folder (`above`: its name with a slash) whose next part starts with `beginning`."""
        try:
            with os.scandir(self._root / above) as entries:
                found = [e for e in entries if e.name.startswith(beginning) and not e.name.startswith(".")]
                # A folder stands where its slash sorts: "a-b" comes before "a/b".
                found.sort(key=lambda e: e.name + "/" if e.is_dir(follow_symlinks=False) else e.name)
        except OSError as e:
            self._require_root()
            if e.errno in _ABSENT:
                return  # nothing there, or deleted meanwhile
            raise _translated(e, self._root, f"{above or 'the store'} cannot be listed") from e
        for entry in found:
            yield from self._visit(above, entry)

    def _visit(self, above: str, entry: "os.DirEntry[str]") -> Iterator[ObjectInfo]:
        name = above + entry.name
        try:
            validate_name(name)
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name + "/")
            elif entry.is_file(follow_symlinks=False):
                yield _info(name, entry.stat(follow_symlinks=False))
        except (FileNotFoundError, ValueError):
            return  # deleted meanwhile, or somebody else's file
        except OSError as e:
            raise _translated(e, self._root, f"{name} cannot be listed") from e

    def _path(self, name: str) -> Path:
        return self._root / validate_name(name)

    def _read_error(self, e: OSError, name: str) -> ObjectStoreError:
        if e.errno in (*_ABSENT, errno.EISDIR, errno.ELOOP):
            return self._absent(name)
        return _translated(e, self._root, f"{name} cannot be read")

    def _absent(self, name: str) -> ObjectStoreError:
        self._require_root()  # an unmounted disk must not look like a store without this object
        return ObjectNotFoundError(f"{name} is not in the store at {self._root}")

    def _require_root(self) -> None:
        try:
            there = stat.S_ISDIR(self._temporary.stat().st_mode)
        except OSError as e:
            if e.errno not in _ABSENT:
                raise _translated(e, self._root, "the store cannot be opened") from e
            there = False
        if not there:
            raise StoreUnavailableError(
                f"there is no object store at {self._root}",
                hint="mount its disk, or correct the path; a store copied without its folder .tmp needs it back",
            )

    def _can_link_nameless(self) -> bool:
        """Whether the file system can write a file first and name it later (ext4, XFS, Btrfs, tmpfs can)."""
        probe = self._temporary / random_bytes(16).hex()
        try:
            fd = os.open(self._temporary, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                self._stamp(fd)
                _link_nameless(fd, probe)
            finally:
                os.close(fd)
            probe.unlink()
        except OSError:
            return False
        return True


def _link_nameless(fd: int, target: Path) -> None:
    # open(2), O_TMPFILE: linkat with AT_SYMLINK_FOLLOW on the descriptor's entry in /proc. os.link calls linkat
    # only where a folder descriptor is given; an absolute path makes it meaningless.
    os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, follow_symlinks=True)


def _read(fd: int, name: str, offset: int, length: int | None) -> bytes:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "not a regular file")
    end = found.st_size if length is None else offset + length
    # Asked before reading, so that a length from damaged bytes allocates nothing.
    if offset > found.st_size or end > found.st_size:
        raise TruncatedError(f"{name} has {found.st_size} bytes, bytes {offset} to {end} were asked for")
    first = os.pread(fd, end - offset, offset)
    if len(first) == end - offset:
        return first
    pieces = [first]  # the kernel reads at most 2 GiB at a time
    while pieces[-1]:
        pieces.append(os.pread(fd, end - offset - sum(map(len, pieces)), offset + sum(map(len, pieces))))
        if sum(map(len, pieces)) == end - offset:
            return b"".join(pieces)
    raise TruncatedError(f"{name} became shorter while it was read")


def _info(name: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(name=name, size=found.st_size, modified=_modified(found))


def _modified(found: os.stat_result) -> datetime:
    # Whole microseconds: a float of seconds would not give back what was stamped.
    return _EPOCH + timedelta(microseconds=found.st_mtime_ns // 1000)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _translated(e: OSError, root: Path, what: str) -> ObjectStoreError:
    reason = os.strerror(e.errno) if e.errno else str(e)
    if e.errno in _FULL:
        return ObjectStoreError(
            f"{what}: the store at {root} is full",
            hint="free space on its disk or enlarge it, or remove old snapshots with `tenure prune`; then run again",
        )
    if e.errno == errno.EFBIG:
        return ObjectStoreError(
            f"{what}: {reason}: the store at {root} takes no file that large",
            hint="raise the limit on the size of files (`ulimit -f`), or free space there; then run again",
        )
    if e.errno in _DENIED:
        return StoreDeniedError(
            f"{what}: {reason} at {root}", hint="check who owns the folder and that its disk is not read-only"
        )
    if e.errno in _UNUSABLE:
        return ObjectStoreError(f"{what}: {reason} at {root}")
    return StoreUnavailableError(f"{what}: {reason} at {root}")

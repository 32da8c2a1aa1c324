"""The recovery key as shares: so many sheets, of which any `need` open the repository and fewer open nothing.

No file ever holds the secret that is shared out. Sheets are written, read back, and every choice of `need` of them has
given the key again, before they get their place; a run that dies leaves nothing there that looks finished.
"""

import errno
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import ConfigError, KeyMismatchError, KeyUnavailableError
from tenure.domain.progress import Progress
from tenure.keys import sharewords
from tenure.keys.disk import fill, sync_folder
from tenure.keys.local import KeyFile, destroy_key_file
from tenure.keys.shareblock import open_block, seal_block, set_of
from tenure.keys.sharesheet import Found, Sheet, as_page, as_text, read_sheet

_MINE = re.compile(r"share-\d+-of-\d+\.(txt|html)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How a key is shared out: any `need` of `of` sheets open it; `made`: when, UTC."""

    need: int
    of: int
    made: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The sheets of a set. `proven`: choices of sheets that gave the key again, which is all there are."""

    set_id: int
    sheets: tuple[Path, ...]
    pages: tuple[Path, ...]
    proven: int


def shared_out(key: KeyFile, division: Division) -> tuple[Sheet, ...]:
    """Return the sheets of a new set.

    Raises:
        ValueError: It is no recovery key, or the numbers are impossible.
    """
    secret = random_bytes(sharewords.SECRET_BYTES)
    words = sharewords.split(secret, need=division.need, of=division.of)
    block = seal_block(key, set_id=words[0].set_id, secret=secret)
    return tuple(
        Sheet(words=w, block=block, of=division.of, key_name=key.name, made=division.made) for w in words
    )


def write_sheets(folder: Path, key: KeyFile, division: Division, progress: Progress) -> Made:
    """Write the sheets of a recovery key into a new folder, mode 0700, proven.

    Raises:
        ConfigError: The folder holds something, or cannot be written; nothing of this set stays.
        KeyMismatchError: A choice of sheets does not give the key again; nothing of this set stays.
        ValueError: See `shared_out`.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise ConfigError(
            f"{folder} is there already: nothing was written", hint="name a folder that does not exist yet"
        )
    beside = folder.with_name(f".{folder.name}.unfinished")
    _wipe(beside)  # what a run before this one left that died
    sheets = shared_out(key, division)
    try:
        beside.mkdir(mode=0o700, parents=True)
        for sheet in sheets:
            _write(beside / f"{sheet.name}.txt", as_text(sheet))
            _write(beside / f"{sheet.name}.html", as_page(sheet))
        sync_folder(beside)
        proven = prove([read_sheet(beside / f"{s.name}.txt") for s in sheets], key, division.need, progress)
        beside.rename(folder)
        sync_folder(folder.parent)
    except BaseException as e:
        _wipe(beside)
        if isinstance(e, OSError):
            reason = os.strerror(e.errno) if e.errno else str(e)
            raise ConfigError(
                f"share sheets cannot be written to {folder}: {reason}",
                hint="choose a new folder where you may write, with room",
            ) from e
        raise
    return Made(
        set_id=sheets[0].words.set_id,
        sheets=tuple(folder / f"{s.name}.txt" for s in sheets),
        pages=tuple(folder / f"{s.name}.html" for s in sheets),
        proven=proven,
    )


def prove(found: Sequence[Found], key: KeyFile, need: int, progress: Progress) -> int:
    """Have every choice of `need` sheets open every sheet's key block, and compare it with the key.

    Returns:
        How many choices there are.

    Raises:
        KeyMismatchError: One of them does not give the key again.
    """
    words, blocks = [f.words for f in found], {f.block or b"" for f in found}
    count, opened = math.comb(len(words), need), set[bytes]()
    task = progress.begin("Opening with every choice of sheets", total=count, unit="choices")
    for secret in sharewords.every_combination(words, need):
        opened.add(secret)
        task.advance(1)
    task.end()
    if len({w.number for w in words}) != len(words) or any(
        open_block(block, secret=secret) != key for block in blocks for secret in opened
    ):
        raise KeyMismatchError("the sheets do not give the recovery key again: none was kept")
    return count


def lacking(found: Sequence[Found]) -> int:
    """Return how many more sheets are needed."""
    need = found[0].words.need if found else sharewords.LEAST_NEED
    return max(need - len({f.words.number for f in found}), 0)


def check_together(found: Sequence[Found]) -> None:
    """Check that shares are of one set, and that none stands for another.

    Raises:
        KeyMismatchError: They are not; the message names two of them.
    """
    by_number: dict[int, Found] = {}
    for one in found:
        first = found[0]
        other = one.words.need != first.words.need or one.words.set_id != first.words.set_id
        blocks = {f.block for f in (first, one) if f.block is not None}
        if other or len(blocks) > 1:
            raise _strangers(first, one)
        if one.block is not None and set_of(one.block) != one.words.set_id:
            raise KeyMismatchError(f"the words and the key block of {one.where} are of different sets")
        twin = by_number.setdefault(one.words.number, one)
        if twin.words != one.words:
            raise _strangers(twin, one)


def joined(found: Sequence[Found]) -> KeyFile:
    """Return the recovery key of enough shares; those beyond must fit too.

    Raises:
        KeyUnavailableError: There are too few, or the key block is on none of them.
        KeyMismatchError: They are not of one set, or one was changed.
    """
    check_together(found)
    block = next((f.block for f in found if f.block is not None), None)
    if lacking(found) or block is None:
        raise _too_few(found)
    words = list({f.words.number: f.words for f in found}.values())
    need = words[0].need
    key = open_block(block, secret=sharewords.combine(words[:need]))
    for extra in words[need:]:
        # A sheet too many that is wrong would be trusted the day another one is lost.
        if open_block(block, secret=sharewords.combine([extra, *words[: need - 1]])) != key:
            raise KeyMismatchError(f"share {extra.number} does not fit the others")
    return key


def _too_few(found: Sequence[Found]) -> KeyUnavailableError:
    if not found:
        return KeyUnavailableError("no share was given", hint="name the sheets' text files")
    first = found[0].words
    if not lacking(found):
        return KeyUnavailableError(
            "the key block is on none of these sheets",
            hint="add its lines to one; any sheet of the set has them",
        )
    numbers = ", ".join(str(n) for n in sorted({f.words.number for f in found}))
    return KeyUnavailableError(
        f"{first.need} shares of set {first.set_id:05} are needed, and share {numbers} was all that was given",
        hint=f"name {lacking(found)} more of the same set; one sheet named twice counts once",
    )


def _strangers(one: Found, other: Found) -> KeyMismatchError:
    return KeyMismatchError(
        f"{one.where} and {other.where} are of different sets ({one.words.set_id:05} and {other.words.set_id:05})",
        hint="take sheets that were made together: they name the same set and the same day",
    )


def _write(path: Path, text: str) -> None:
    fill(
        os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600),
        text.encode(),
    )


def _wipe(folder: Path) -> None:
    """Destroy the sheets that a run left which did not come to its end."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not _MINE.fullmatch(path.name):
            raise ConfigError(f"{path} is no share sheet", hint=f"move {folder} away, then run it again")
        destroy_key_file(path)
    try:
        folder.rmdir()
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise ConfigError(f"{folder} cannot be removed: {e.strerror}") from e

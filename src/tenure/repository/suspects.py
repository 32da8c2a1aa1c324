"""Which chunks of rows may hold what is looked for: companions are asked, and only what none denies is read.

A companion's filter errs in one of 200 cases, so with many record keys most chunks would be read for nothing. Whole
numbers as keys, which most tables have, are first looked for between a chunk's first key and its last: rows lie in
the order of their keys.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from tenure.crypto.hashing import content_hash
from tenure.domain.errors import IntegrityError
from tenure.repository import companion, filters, layouts, rows
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.companion import FILTER_KEY, Companion
from tenure.repository.inflight import each
from tenure.repository.model import NO_CHUNK, ChunkKind, ChunkRef, Cohort
from tenure.repository.places import Place, Places
from tenure.repository.readahead import NETWORK_SPAN_BYTES, REQUESTS
from tenure.repository.rows import Bytes
from tenure.repository.spans import in_spans

FORESEEN_BYTES = 32 * 1024 * 1024
"""Chunks that are brought before their cohorts' turn: half of what `Kept` has room for."""

_WHOLE_NUMBER = re.compile(rb"i(-?[0-9]{1,13})")
"""A key of one cell that holds a whole number (docs/format.md, "Row text"), short enough to be its own identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is looked for. `name`: equal for equal questions; `denied_by`: whether a companion says that it is not there."""

    name: bytes
    denied_by: Callable[[Companion], bool]


def of_records(identities: Bytes) -> Question:
    """Ask for records by their identities (uint8, n x 16)."""
    hashes: list[int] = rows.mix(identities, FILTER_KEY).tolist()
    found = [_number_in(i.tobytes()) for i in identities]
    numbers = [number for number in found if number is not None]
    if len(numbers) < len(hashes):

        def denied(about: Companion) -> bool:
            return not filters.may_hold(about.keys, hashes)

    else:
        ordered = sorted(zip(numbers, hashes, strict=True))
        keys = [number for number, _ in ordered]

        def denied(about: Companion) -> bool:
            ends = sorted(n for n in map(_number, (about.first, about.last)) if n is not None)
            if len(ends) != 2:  # of a chunk of deletes, or of keys of several sorts
                return not filters.may_hold(about.keys, hashes)
            between = ordered[bisect_left(keys, ends[0]) : bisect_right(keys, ends[1])]
            return not filters.may_hold(about.keys, [known for _, known in between])

    return Question(name=content_hash(b"records" + identities.tobytes()), denied_by=denied)


def of_subject(kind: str, value: str, reference: str, key: bytes) -> Question:
    """Ask for rows about a subject; a chunk whose subjects were found by another reference denies nothing.

    Args:
        kind: The catalogue's name of the subject.
        value: Its value as text.
        reference: Where the catalogue finds it now.
        key: The source's identity key, as for `Companion.may_hold_subject`.
    """
    wanted = companion.subject_hash_of(value, key).tolist()

    def denied(about: Companion) -> bool:
        same = layouts.decode(about.expressions).subjects.get(kind) == reference
        return same and kind in about.subjects and not filters.may_hold(about.subjects[kind], wanted)

    name = f"subject\0{kind}\0{value}\0{reference}".encode() + key
    return Question(name=content_hash(name), denied_by=denied)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A chunk that may hold what is looked for."""

    place: Place
    about: Companion


@dataclass(slots=True, kw_only=True)
class Looked:
    """What was found by asking companions. `denied`: how many chunks do not hold it; `mute`: those without one."""

    suspects: list[Suspect]
    denied: int = 0
    mute: list[Place] | None = None


class Companions:
    """The companions of some cohorts, together: one read brings those of a whole pack. Belongs to one thread."""

    def __init__(self, reader: ChunkReader, readers: Executor | None) -> None:
        """Begin with no cohort. `readers`: read many ranges at once; None: one after the other."""
        self._reader = reader
        self._readers = readers
        self._offered: dict[Cohort, Places] = {}
        self._brought = False
        self._foreseen: set[tuple[bytes, str]] = set()

    def offer(self, cohort: Cohort, places: Places) -> None:
        """Name a cohort that will be asked about before `clear`, and all its chunks."""
        self._offered[cohort] = places
        self._brought = False

    def clear(self) -> None:
        """Let go of what was offered."""
        self._offered, self._foreseen = {}, set()

    def of(self, cohort: Cohort, place: Place) -> Companion | None:
        """Return what is beside a chunk of rows or deletes; None where it has none, or it was forgotten.

        Raises:
            IntegrityError: It cannot be read.
        """
        raw = None if place.companion == NO_CHUNK else self.raw(cohort, place.companion)
        return None if raw is None else companion.decode(raw)

    def raw(self, cohort: Cohort, ref: ChunkRef) -> bytes | None:
        """Return a companion's bytes, and bring along whatever else was offered where it is not there yet.

        Raises:
            IntegrityError: It cannot be read.
        """
        kept = self._reader.kept
        place = self._reader.index(cohort).places.get(ref)
        if kept is None or place is None:
            return self._reader.fetch(cohort, ref)
        plain = kept.opened(ref)
        if plain is None:
            if not self._brought and kept.sealed(place) is None:
                self._brought = True
                every = (p for some in self._offered.values() for p in some.of_kinds((ChunkKind.COMPANION,)))
                bring(self._reader, [p for p in every if kept.opened(p.ref) is None], self._readers)
            plain = self._reader.fetch(cohort, ref)
            if plain is not None:
                kept.keep_opened(place, ref, plain)
        return plain

    def look(
        self,
        cohort: Cohort,
        places: Iterable[Place],
        question: Question,
        *,
        kinds: Collection[ChunkKind] = (ChunkKind.ROWS,),
    ) -> Looked:
        """Ask the companions of chunks of these kinds, and bring the chunks that do not deny.

        Raises:
            IntegrityError: A companion cannot be read.
        """
        if cohort in self._offered and (question.name, cohort.data_set) not in self._foreseen:
            self._foreseen.add((question.name, cohort.data_set))
            self._foresee(cohort.data_set, question, kinds)
        found = self._ask(cohort, places, question, kinds)
        bring(self._reader, [s.place for s in found.suspects], self._readers, near=0)
        return found

    def _foresee(self, data_set: str, question: Question, kinds: Collection[ChunkKind]) -> None:
        """Bring the chunks of all offered cohorts together: the same will be asked about each."""
        places: list[Place] = []
        for cohort, some in self._offered.items():
            if cohort.data_set == data_set and sum(p.length for p in places) < FORESEEN_BYTES:
                with suppress(IntegrityError):  # whoever comes to that cohort is told
                    places += [
                        s.place for s in self._ask(cohort, some.of_kinds(kinds), question, kinds).suspects
                    ]
        bring(self._reader, places, self._readers, near=0)

    def _ask(
        self, cohort: Cohort, places: Iterable[Place], question: Question, kinds: Collection[ChunkKind]
    ) -> Looked:
        found, mute = Looked(suspects=[]), list[Place]()
        for place in places:
            if place.kind not in kinds:
                continue
            if self._reader.kept is not None and self._reader.kept.denies(question.name, place.ref):
                found.denied += 1
                continue
            about = self.of(cohort, place)
            if about is None:
                mute.append(place)
            elif question.denied_by(about):
                found.denied += 1
                if self._reader.kept is not None:
                    self._reader.kept.denied(question.name, place.ref)
            else:
                found.suspects.append(Suspect(place=place, about=about))
        found.mute = mute
        return found


def bring(
    reader: ChunkReader, places: Sequence[Place], readers: Executor | None, *, near: int | None = None
) -> None:
    """Read what the reader does not have at hand yet, many ranges at once, so that it has; what fails is left to it.

    `near`: bytes between two chunks that are read along; None: as many as a request is worth.
    """
    kept = reader.kept
    if kept is None:
        return
    missing = [p for p in places if kept.sealed(p) is None]

    groups = in_spans(missing, most=NETWORK_SPAN_BYTES, **({} if near is None else {"near": near}))
    for found in each(readers, reader.span_or_nothing, groups, ahead=REQUESTS):
        for place, sealed in found:
            kept.keep(place, bytes(sealed))


def _number_in(identity: bytes) -> int | None:
    length = identity[-1]
    return _number(identity[:length]) if length <= rows.LONGEST_EMBEDDED else None


def _number(key_text: bytes) -> int | None:
    found = _WHOLE_NUMBER.fullmatch(key_text)
    return None if found is None else int(found[1])

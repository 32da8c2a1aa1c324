"""Reads stored data back, what was looked at longest ago first, so that many small looks come round to all of it.

Each cohort is read in rounds, in the order of chunk ids, and where a round stopped is remembered: a run that is
killed loses one slice. A round that met no damage proves every snapshot that was committed before it began, as far as
this cohort goes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from tenure.domain.errors import IntegrityError, TamperedError, TenureError
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.model import ChunkKind, Cohort
from tenure.repository.places import Place
from tenure.repository.spans import in_spans

SLICE_BYTES = 64 * 1024 * 1024
"""Stored bytes that are read between two looks at the clock; twice a pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How far one cohort was read back.

    `proven`: every chunk that was there at this ledger number was read, in one round, and sound; 0: none so far.
    `at`: when the last round ended, seconds since the epoch; 0: never. `through`: the ledger's head when the round
    under way began, 0 where none is; `after`: the chunk (id and incarnation) up to which it read; `sound`: whether it
    met no damage.
    """

    tag: bytes
    proven: int = 0
    at: float = 0.0
    through: int = 0
    after: bytes = b""
    sound: bool = True


def _ignore(check: Check) -> None:
    del check


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How much to read back. `share`: of all stored bytes, 0 to 1; `is_over`: time is up; `save`: keeps a check.

    `checks`: by cohort tag. `executor`: who reads and unseals; None: the caller.
    """

    share: float = 1.0
    is_over: Callable[[], bool] = _never
    checks: Mapping[bytes, Check] = field(default_factory=dict)
    save: Callable[[Check], None] = _ignore
    executor: Executor | None = None


@dataclass(slots=True, kw_only=True)
class ReadBack:
    """One run.

    `head`: the ledger's; `at`: the store's time, seconds since the epoch. `found` is told of each chunk that does not
    read back, `told` of how many chunks and stored bytes were looked at, `let_go` of cohorts that are done with.
    """

    reader: ChunkReader
    reading: Reading
    head: int
    at: float
    found: Callable[[Cohort, Place, TenureError], None]
    told: Callable[[int, int], None]
    let_go: Callable[[Cohort], None]
    left: int = 0

    def run(self, sizes: Mapping[Cohort, int], *, most_bytes: int) -> None:
        """Read cohorts until `most_bytes` stored bytes were read, or time is up; `sizes`: stored bytes of each.

        Who asks for all of it gets all of it, and not what rounds before have left.
        """
        self.left = most_bytes
        self.reader.read_as_of(0)  # whatever was forgotten meanwhile is no damage
        tags = {cohort: self.reader.keys.tag(cohort) for cohort in sizes}
        checks = {c: self.reading.checks.get(tag, Check(tag=tag)) for c, tag in tags.items()}
        if self.reading.share >= 1:
            checks = {c: replace(check, through=0) for c, check in checks.items()}
        for cohort in sorted(sizes, key=lambda c: (checks[c].at, checks[c].through == 0, tags[c])):
            if self.reading.is_over():
                return
            if self.left <= 0 and sizes[cohort]:
                continue  # those of which all was forgotten cost nothing, and have to be proven too
            self._cohort(cohort, checks[cohort])
            self.let_go(cohort)

    def _cohort(self, cohort: Cohort, check: Check) -> None:
        """Go on with a cohort's round, or begin one."""
        try:
            places = sorted(self.reader.index(cohort).places.values(), key=_key)
        except TenureError:
            return  # told by who looked at the structure
        if not check.through:
            check = replace(check, through=self.head, after=b"", sound=True)
        sound = not self.reader.index(cohort).damaged
        for part in _slices([p for p in places if _key(p) > check.after]):
            sound &= self._read(cohort, part)
            check = replace(check, after=_key(part[-1]), sound=check.sound and sound)
            self.reading.save(check)
            self.left -= sum(p.length for p in part)
            if part[-1] is not places[-1] and (self.left <= 0 or self.reading.is_over()):
                return
        proven = check.through if check.sound and sound else check.proven
        self.reading.save(Check(tag=check.tag, proven=max(proven, check.proven), at=self.at))

    def _read(self, cohort: Cohort, part: Sequence[Place]) -> bool:
        """Read some chunks; whether all were sound."""
        groups = list(in_spans(part))
        run = map if self.reading.executor is None else self.reading.executor.map
        broken = [b for found in run(lambda group: self._group(cohort, group), groups) for b in found]
        for place, error in broken:
            self.found(cohort, place, error)
        self.told(len(part), sum(p.length for p in part))
        return not broken

    def _group(self, cohort: Cohort, group: list[Place]) -> list[tuple[Place, TenureError]]:
        try:
            pairs = self.reader.read_span(group)
        except TenureError:
            pairs = [(place, memoryview(b"")) for place in group]
        faults = ((place, self._fault(cohort, place, sealed)) for place, sealed in pairs)
        return [(place, fault) for place, fault in faults if fault is not None]

    def _fault(self, cohort: Cohort, place: Place, sealed: memoryview) -> TenureError | None:
        """Return what is wrong with a chunk."""
        try:
            plain: bytes | None = self.reader.open(cohort, place, sealed)
        except IntegrityError:
            try:
                plain = self.reader.fetch(cohort, place.ref)  # a prune may have moved it meanwhile
            except TenureError as e:
                return e
        except TenureError as e:
            return e
        keys = self.reader.keys
        if plain is None or place.kind is ChunkKind.MEDIA:  # forgotten meanwhile, or known by its place
            return None
        if keys.row_id(keys.tag(cohort), place.kind, plain) == place.ref.id:
            return None
        return TamperedError(f"chunk {place.ref.id.hex()} opens, and is not the chunk of this id")


def _key(place: Place) -> bytes:
    return place.ref.id + place.ref.incarnation


def _slices(places: Iterable[Place]) -> Iterator[list[Place]]:
    part: list[Place] = []
    size = 0
    for place in places:
        part.append(place)
        size += place.length
        if size >= SLICE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part

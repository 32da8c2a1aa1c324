"""Forgettings that were judged and not finished: what they take is taken out of every restore already.

Once a forgetting is done its records are in no chunk any more and nothing is filtered. Until then the ledger's
fingerprints say what goes; they apply to snapshots taken before the live deletion, so a new record that got an old
number is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tenure.repository import rows
from tenure.repository.repository import Repository
from tenure.repository.scopes import matcher, open_fingerprints
from tenure.repository.snapshotreader import Balance, SnapshotReader
from tenure.sources.base import RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """The filters that apply to one snapshot; `identity_key`: its writer's."""

    matchers: tuple[tuple[int, Callable[[str, bytes], bool]], ...]
    identity_key: bytes

    @classmethod
    def of(cls, repository: Repository, reader: SnapshotReader) -> "Unfinished":
        """Collect the filters for a snapshot.

        Raises:
            TamperedError: Fingerprints cannot be read; nothing is released then.
        """
        key = repository.secrets.fingerprint
        source, view = reader.manifest.source, reader.manifest.view
        found = tuple(
            (f.judged, matcher(open_fingerprints(f.fingerprints, key, source, view=view), key))
            for f in repository.state.open_forgets()
            if f.judged and source in f.intent.sources and view < f.judged
        )
        return cls(matchers=found, identity_key=reader.chunks.keys.identity)

    def takes(self, data_set: str, key_text: bytes, balance: Balance) -> bool:
        """Whether a record goes; counted as forgotten."""
        identity = rows.identity_of(key_text, self.identity_key)
        for number, matches in self.matchers:
            if matches(data_set, identity):
                balance.records -= 1
                balance.forgotten += 1
                balance.by_entry[number] = balance.by_entry.get(number, 0) + 1
                return True
        return False

    def filter(self, data_set: str, batch: RowBatch, key_cells: int, balance: Balance) -> RowBatch:
        """Return a batch without the records that go."""
        if not self.matchers:
            return batch
        starts, ends = rows.key_spans(batch, key_cells)
        text = bytes(batch.text)
        spans = zip(starts.tolist(), ends.tolist(), strict=True)
        return rows.take(
            batch, np.array([not self.takes(data_set, text[a:b], balance) for a, b in spans], bool)
        )

"""A sample contact centre to try Tenure on: a CRM database and a folder of recordings, six years of both.

Nobody in it exists. Card numbers and security codes are hidden in case notes and typed on keypads in recordings,
next to numbers that only look like cards, all at places that `SampleCentre.planted` lists. For one seed and one
installation of the numerical libraries, two runs are equal to the byte.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from tenure.domain.errors import SourceError
from tenure.domain.progress import Progress
from tenure.operations.sample_crm import ROWS, Planted, write_crm
from tenure.operations.sample_recordings import write_recordings

CRM_FILE = "crm.sqlite"
RECORDINGS_FOLDER = "recordings"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCentre:
    """Where the sample is and what was hidden in it."""

    folder: Path
    until: date  # last day that has records
    recording_count: int
    planted: tuple[Planted, ...]

    @property
    def crm(self) -> Path:
        """Return the path of the CRM database (SQLite)."""
        return self.folder / CRM_FILE

    @property
    def recordings(self) -> Path:
        """Return the folder of recordings: `YYYY/MM/*.wav`, each with a `.json` beside it."""
        return self.folder / RECORDINGS_FOLDER

    def planted_counts(self) -> Mapping[str, int]:
        """Return how many of each kind of number were hidden."""
        return Counter(place.kind for place in self.planted)


def generate(target: Path, *, seed: int, until: date, progress: Progress) -> SampleCentre:
    """Make a sample contact centre in the folder `target`, its records ending with the day `until`.

    Raises:
        SourceError: `target` already holds something of the sample's name.
    """
    centre = SampleCentre(folder=target, until=until, recording_count=0, planted=())
    for taken in (centre.crm, centre.recordings):
        if taken.exists():
            raise SourceError(
                f"{taken} already exists; a sample contact centre overwrites nothing",
                hint="name another folder, or remove this one if it is an old sample",
            )
    target.mkdir(parents=True, exist_ok=True)
    # One stream for each part, so that a change to one leaves the other as it was.
    crm_stream, voice_stream = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    task = progress.begin("Sample CRM", total=ROWS, unit="rows")
    result = write_crm(centre.crm, rng=crm_stream, until=until, task=task)
    task.end()
    task = progress.begin("Sample recordings", total=len(result.calls), unit="recordings")
    typed = write_recordings(centre.recordings, result.calls, rng=voice_stream, task=task)
    task.end()
    return SampleCentre(
        folder=target, until=until, recording_count=len(result.calls), planted=(*result.planted, *typed)
    )

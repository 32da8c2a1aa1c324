"""What rules may know of records, in columns: n records of one data set at a time.

Columns, not objects, because a data set has millions of records and every decision is made vectorised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of n records of one data set, every column of length n, in the same order.

    `keys` (pyarrow large_binary, no nulls): the record key as row text (encoded key cells joined by tabs; a
    recording: its path). `subjects` and `attributes` (pyarrow large_string, null where unknown): by the
    catalogue's names; integers as decimal text. `starting` (datetime64[s], NaT where missing or unreadable):
    local time of the source's time zone.
    """

    data_set: str
    keys: Any
    subjects: Mapping[str, Any]
    starting: Mapping[str, NDArray[np.datetime64]]
    attributes: Mapping[str, Any]

    def __len__(self) -> int:
        """Return n."""
        return len(self.keys)

"""Bloom filters with a layout that is part of the format: small sets that never deny a member.

A filter of n distinct entries has ``max(8, floor(1.5 * n))`` bytes, none where n is 0. Bit p is bit ``p % 8`` (least
significant first) of byte ``p // 8``. An entry is a 64-bit hash h; with a = low half, b = high half with its lowest
bit set, and m = number of bits, its five bits are ``(((a + i * b) mod 2^32) * m) >> 32`` for i = 0 to 4 (double
hashing: Kirsch, Mitzenmacher, "Less Hashing, Same Performance", 2006). 12 bits and 5 probes an entry give 0.5 %
false hits.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PROBES = 5
_FEW = 64  # hashes up to which numpy takes longer to begin than this takes to end
_LOW = 0xFFFFFFFF
_HALF = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def build(hashes: NDArray[np.uint64]) -> bytes:
    """Return the filter of these hashes; equal ones count once.

    Raises:
        ValueError: So many entries that their bits no longer fit 32-bit places (over 357 million).
    """
    if not hashes.size:
        return b""
    ordered = np.sort(hashes)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    size = max(8, distinct.size * 3 // 2)
    if size * 8 > 1 << 32:
        raise ValueError("too many entries for one filter")
    bits = np.zeros(size * 8, np.bool_)
    for places in _places(distinct, size * 8):
        bits[places] = True
    return np.packbits(bits, bitorder="little").tobytes()


def probe(packed: bytes, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say of each hash whether it may be in the filter; False means it is not."""
    found = np.full(len(hashes), len(packed) > 0)
    if not packed:
        return found
    table = np.frombuffer(packed, np.uint8)
    for places in _places(hashes, len(packed) * 8):
        found &= (table[places >> np.uint64(3)] >> (places & np.uint64(7)).astype(np.uint8)) & np.uint8(
            1
        ) == 1
    return found


def may_hold(packed: bytes, hashes: Sequence[int]) -> bool:
    """Whether any of these hashes may be in the filter; False means that none is."""
    if len(hashes) > _FEW:
        return bool(probe(packed, np.array(hashes, np.uint64)).any())
    bits = len(packed) * 8
    for known in hashes if packed else ():
        low, high = known & _LOW, (known >> 32) | 1
        for i in range(PROBES):
            place = ((low + i * high & _LOW) * bits) >> 32
            if not packed[place >> 3] >> (place & 7) & 1:
                break
        else:
            return True
    return False


def _places(hashes: NDArray[np.uint64], bits: int) -> list[NDArray[np.uint64]]:
    low, high = hashes & _HALF, (hashes >> _SHIFT) | np.uint64(1)
    return [((low + np.uint64(i) * high & _HALF) * np.uint64(bits)) >> _SHIFT for i in range(PROBES)]

"""Messages that are rightly sealed and hold what nobody should have written; decoders must bear them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st

from support.repo import House, take
from tenure.crypto.hpke import RecipientPrivate
from tenure.crypto.signing import SigningKey
from tenure.domain.errors import TenureError
from tenure.keys.local import LocalKeyring, LocalRecipients
from tenure.repository.model import Cohort
from tenure.repository.repository import Repository
from tenure.repository.secrets import SourceKeys, WriterSecrets

SECRETS = WriterSecrets(writer=b"w" * 8, source="crm", secret=b"s" * 32, tags=b"t" * 32)
KEYS = SourceKeys(SECRETS)
SIGNER = SigningKey.from_raw(b"k" * 32)
READER = RecipientPrivate.generate()
RING, WRAPPER = LocalKeyring([READER]), LocalRecipients([READER.public()])
REPOSITORY = b"r" * 16
COHORT = Cohort(data_set="notes", rule_class="", span="2026-03")
"""One writer, one reader, one cohort: what everything here is sealed with."""

INTEGERS = st.integers(-3, 40) | st.integers(-(2**63), 2**64 - 1)
LEAVES = (
    st.none()
    | st.booleans()
    | INTEGERS
    | st.floats()
    | st.binary(max_size=50)
    | st.sampled_from(
        [bytes(24), bytes(48), bytes(16), bytes(32), b"\x01\x02", "", "table", "recordings", "utc"]
    )
    | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | INTEGERS, inner, max_size=3)
    ),
    max_leaves=6,
)
FEW = settings(max_examples=150, deadline=None)


def _spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a value."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(spot for key, item in inner for spot in _spots(item, (*path, key)))]


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(copy[path[0]], path[1:], new)
    return copy


@st.composite
def spoiled(draw: st.DrawFn, *samples: bytes) -> bytes:
    """Draw a whole message with some values exchanged, or any bytes at all, or a message cut short."""
    raw = draw(st.sampled_from(samples))
    how = draw(st.sampled_from(["values", "values", "values", "bytes", "cut"]))
    if how == "bytes":
        return draw(st.binary(max_size=120))
    if how == "cut":
        return raw[: draw(st.integers(0, len(raw)))] + draw(st.binary(max_size=8))
    value = msgspec.msgpack.decode(raw, strict=False)
    for _ in range(draw(st.integers(1, 3))):
        value = _put(value, draw(st.sampled_from(_spots(value))), draw(VALUES))
    return msgspec.msgpack.encode(value)


def refuses_or_returns(work: Callable[[], object]) -> None:
    try:
        work()
    except TenureError:
        return


@cache
def a_repository() -> Repository:
    """Return a repository with one snapshot."""
    house = House()
    house.create("crm")
    take(house, {1: ("2025-01", "c1", "x")})
    return house.open(reader=True)

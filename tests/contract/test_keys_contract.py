"""What every key provider promises: whoever wraps cannot read, whoever reads must name the context."""

from dataclasses import dataclass, replace

import pytest

from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import KeyMismatchError
from tenure.keys.base import Unwrapper, Wrapper
from tenure.keys.local import LocalKeyring, LocalRecipients

SECRET = bytes(range(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Two recipients of one provider: a wrapper for both, an unwrapper for each, one for a stranger."""

    wrapper: Wrapper
    first: Unwrapper
    second: Unwrapper
    stranger: Unwrapper


def _local() -> Provider:
    first, second, stranger = (RecipientPrivate.generate() for _ in range(3))
    return Provider(
        wrapper=LocalRecipients([first.public(), second.public()]),
        first=LocalKeyring([first]),
        second=LocalKeyring([stranger, second]),
        stranger=LocalKeyring([stranger]),
    )


@pytest.fixture(params=[_local])
def provider(request: pytest.FixtureRequest) -> Provider:
    made: Provider = request.param()
    return made


class TestKeyProvider:
    def test_every_recipient_gets_the_secret_back(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=b"page 1")
        assert len({one.recipient for one in wrapped}) == len(wrapped) == 2
        assert provider.first.unwrap(wrapped, context=b"page 1") == SECRET
        assert provider.second.unwrap(wrapped, context=b"page 1") == SECRET
        assert provider.second.unwrap(wrapped[::-1], context=b"page 1") == SECRET

    def test_a_stranger_gets_nothing(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=b"page 1")
        with pytest.raises(KeyMismatchError, match="none of the keys at hand"):
            provider.stranger.unwrap(wrapped, context=b"page 1")

    def test_nothing_wrapped_opens_nothing(self, provider: Provider) -> None:
        with pytest.raises(KeyMismatchError):
            provider.first.unwrap((), context=b"page 1")

    def test_another_context_opens_nothing(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=b"page 1")
        with pytest.raises(KeyMismatchError, match="does not open"):
            provider.first.unwrap(wrapped, context=b"page 2")

    @pytest.mark.parametrize("position", [0, 600, -1])
    def test_a_changed_wrap_opens_nothing(self, provider: Provider, position: int) -> None:
        def changed(raw: bytes) -> bytes:
            out = bytearray(raw)
            out[position] ^= 1
            return bytes(out)

        wrapped = [
            replace(one, wrapped=changed(one.wrapped)) for one in provider.wrapper.wrap(SECRET, context=b"")
        ]
        with pytest.raises(KeyMismatchError, match="does not open"):
            provider.first.unwrap(wrapped, context=b"")

    def test_a_wrap_handed_to_another_recipient_opens_nothing(self, provider: Provider) -> None:
        one, other = provider.wrapper.wrap(SECRET, context=b"")
        swapped = [replace(one, wrapped=other.wrapped), replace(other, wrapped=one.wrapped)]
        with pytest.raises(KeyMismatchError):
            provider.first.unwrap(swapped, context=b"")

    def test_a_damaged_copy_does_not_hide_a_whole_one(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=b"")
        damaged = [replace(one, wrapped=b"") for one in wrapped]
        assert provider.first.unwrap([*damaged, *wrapped], context=b"") == SECRET

    def test_wraps_of_another_provider_are_left_alone(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=b"")
        others = [replace(one, provider="somewhere else") for one in wrapped]
        assert provider.first.unwrap([*others, *wrapped], context=b"") == SECRET
        with pytest.raises(KeyMismatchError):
            provider.first.unwrap(others, context=b"")

    def test_two_wraps_of_one_secret_look_different(self, provider: Provider) -> None:
        once = provider.wrapper.wrap(SECRET, context=b"")
        twice = provider.wrapper.wrap(SECRET, context=b"")
        assert {one.wrapped for one in once}.isdisjoint(one.wrapped for one in twice)


@pytest.mark.parametrize("count", [0, 2])
def test_wrapping_for_nobody_or_twice_for_one_is_refused(count: int) -> None:
    publics = [RecipientPrivate.generate().public()] * count
    with pytest.raises(ValueError, match="at least one, each once"):
        LocalRecipients(publics)

"""What every key provider promises: whoever wraps cannot read, whoever reads must name the purpose.

Local keys; AWS KMS by moto; the transit engine by OpenBao, a real one; and all of them together.
"""

from dataclasses import dataclass, replace

import pytest

from support.baoserver import BaoServer
from support.kmsserver import REGION, KmsServer
from tenure.crypto.hpke import RecipientPrivate
from tenure.domain.errors import KeyMismatchError
from tenure.keys.base import Purpose, ServiceKey, Unwrapper, Wrapper
from tenure.keys.local import LocalKeyring, LocalRecipients
from tenure.keys.services import Keyrings, KeyServices, ServiceKeyring, ServiceRecipients, Together, Way
from tenure.keys.servicesettings import KmsSettings, vault_version

SECRET = bytes(range(32))
PAGE_1 = Purpose(
    kind="page key", parts=(("repository", b"r"), ("epoch", 1), ("cohort", b"c"), ("page", b"1"))
)
PAGE_2 = Purpose(
    kind="page key", parts=(("repository", b"r"), ("epoch", 1), ("cohort", b"c"), ("page", b"2"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Two recipients of one provider: a wrapper for both, an unwrapper for each, one for a stranger."""

    wrapper: Wrapper
    first: Unwrapper
    second: Unwrapper
    stranger: Unwrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Keys of one service, each with its way."""

    keys: list[ServiceKey]
    ways: list[Way]

    def provider(self) -> Provider:
        """Return them as recipients; the third is a stranger's."""
        first, second, third = self.ways
        return Provider(
            wrapper=ServiceRecipients(self.keys[:2], KeyServices([first, second])),
            first=ServiceKeyring(services=KeyServices([first])),
            second=ServiceKeyring(services=KeyServices([third, second])),
            stranger=ServiceKeyring(services=KeyServices([third])),
        )


def _of_kms(server: KmsServer) -> Several:
    from tenure.keys.awskms import AwsKms

    def way(arn: str) -> Way:
        settings = KmsSettings(
            key=arn, endpoint=server.endpoint, region=REGION, access_key="a", secret_key="b"
        )
        return Way(provider="awskms", name=arn, make=lambda: AwsKms(settings))

    ways = [way(server.key()) for _ in range(3)]
    return Several(keys=[w.make().fresh(()) for w in ways], ways=ways)


def _of_bao(server: BaoServer) -> Several:
    from tenure.keys.vault import VaultTransit

    def way(name: str) -> Way:
        made = lambda: VaultTransit(server.settings(name))  # noqa: E731
        return Way(provider="vault", name=f"transit/{name}", make=made, versions=vault_version)

    ways = [way(server.key()) for _ in range(3)]
    return Several(keys=[w.make().fresh(()) for w in ways], ways=ways)


@pytest.fixture
def local() -> Provider:
    first, second, stranger = (RecipientPrivate.generate() for _ in range(3))
    return Provider(
        wrapper=LocalRecipients([first.public(), second.public()]),
        first=LocalKeyring([first]),
        second=LocalKeyring([stranger, second]),
        stranger=LocalKeyring([stranger]),
    )


@pytest.fixture
def awskms(kms: KmsServer) -> Provider:
    return _of_kms(kms).provider()


@pytest.fixture
def vault(bao: BaoServer) -> Provider:
    return _of_bao(bao).provider()


@pytest.fixture
def together(kms: KmsServer, bao: BaoServer) -> Provider:
    """A local key and a KMS key; whoever reads has one of them, and a way to a transit key that is no recipient."""
    private, stranger, other = RecipientPrivate.generate(), RecipientPrivate.generate(), _of_bao(bao)
    kept = _of_kms(kms)
    services = KeyServices([other.ways[0], kept.ways[0]])
    return Provider(
        wrapper=Together(
            wrappers=(LocalRecipients([private.public()]), ServiceRecipients(kept.keys[:1], services))
        ),
        first=Keyrings(keyrings=(LocalKeyring([stranger]), ServiceKeyring(services=services))),
        second=Keyrings(keyrings=(LocalKeyring([stranger, private]), ServiceKeyring(services=KeyServices()))),
        stranger=Keyrings(
            keyrings=(LocalKeyring([stranger]), ServiceKeyring(services=KeyServices([kept.ways[1]])))
        ),
    )


@pytest.fixture(params=["local", "awskms", "vault", "together"])
def provider(request: pytest.FixtureRequest) -> Provider:
    made: Provider = request.getfixturevalue(request.param)
    return made


class TestKeyProvider:
    def test_every_recipient_gets_the_secret_back(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=PAGE_1)
        assert len({one.recipient for one in wrapped}) == len(wrapped) == 2
        assert provider.first.unwrap(wrapped, context=PAGE_1) == SECRET
        assert provider.second.unwrap(wrapped, context=PAGE_1) == SECRET
        assert provider.second.unwrap(wrapped[::-1], context=PAGE_1) == SECRET

    def test_a_stranger_gets_nothing(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=PAGE_1)
        with pytest.raises(KeyMismatchError, match="none of the keys at hand"):
            provider.stranger.unwrap(wrapped, context=PAGE_1)

    def test_nothing_wrapped_opens_nothing(self, provider: Provider) -> None:
        with pytest.raises(KeyMismatchError):
            provider.first.unwrap((), context=PAGE_1)

    def test_another_page_opens_nothing(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=PAGE_1)
        with pytest.raises(KeyMismatchError, match="does not open"):
            provider.first.unwrap(wrapped, context=PAGE_2)

    def test_another_kind_of_secret_opens_nothing(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=PAGE_1)
        with pytest.raises(KeyMismatchError, match="does not open"):
            provider.first.unwrap(wrapped, context=replace(PAGE_1, kind="epoch bundle"))

    @pytest.mark.parametrize("position", [0, 60, -9])
    def test_a_changed_wrap_opens_nothing(self, provider: Provider, position: int) -> None:
        def changed(raw: bytes) -> bytes:
            out = bytearray(raw)
            out[position] ^= 1
            return bytes(out)

        wrapped = [
            replace(one, wrapped=changed(one.wrapped))
            for one in provider.wrapper.wrap(SECRET, context=PAGE_1)
        ]
        with pytest.raises(KeyMismatchError):
            provider.first.unwrap(wrapped, context=PAGE_1)

    def test_a_wrap_handed_to_another_recipient_opens_nothing(self, provider: Provider) -> None:
        one, other = provider.wrapper.wrap(SECRET, context=PAGE_1)
        swapped = [replace(one, wrapped=other.wrapped), replace(other, wrapped=one.wrapped)]
        with pytest.raises(KeyMismatchError):
            provider.first.unwrap(swapped, context=PAGE_1)

    def test_a_damaged_copy_does_not_hide_a_whole_one(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=PAGE_1)
        damaged = [replace(one, wrapped=b"") for one in wrapped]
        assert provider.first.unwrap([*damaged, *wrapped], context=PAGE_1) == SECRET

    def test_wraps_of_another_provider_are_left_alone(self, provider: Provider) -> None:
        wrapped = provider.wrapper.wrap(SECRET, context=PAGE_1)
        others = [replace(one, provider="somewhere else") for one in wrapped]
        assert provider.first.unwrap([*others, *wrapped], context=PAGE_1) == SECRET
        with pytest.raises(KeyMismatchError):
            provider.first.unwrap(others, context=PAGE_1)

    def test_two_wraps_of_one_secret_look_different(self, provider: Provider) -> None:
        once = provider.wrapper.wrap(SECRET, context=PAGE_1)
        twice = provider.wrapper.wrap(SECRET, context=PAGE_1)
        assert {one.wrapped for one in once}.isdisjoint(one.wrapped for one in twice)


@pytest.mark.parametrize("count", [0, 2])
def test_wrapping_for_nobody_or_twice_for_one_is_refused(count: int) -> None:
    publics = [RecipientPrivate.generate().public()] * count
    with pytest.raises(ValueError, match="at least one, each once"):
        LocalRecipients(publics)

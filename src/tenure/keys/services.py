"""Key services among an epoch's recipients: what reaches them, and several providers as one wrapper and one unwrapper.

Nothing here loads a service's client library: a way is opened when it is first gone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from tenure.domain.errors import (
    ConfigError,
    KeyDeniedError,
    KeyDestroyedError,
    KeyMismatchError,
    KeyProviderError,
    KeyUnavailableError,
)
from tenure.keys.base import Keyring, KeyService, Purpose, ServiceKey, WrappedKey, Wrapper, for_none_of

_TELLING = (KeyUnavailableError, KeyDeniedError, KeyDestroyedError, KeyMismatchError)
"""Which of several refusals is raised: what passes by itself first, then what somebody can put right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How this process reaches one key of a service.

    `name`: the key's address, without a version where it has `versions`: these read one off a wrapped key.
    `leaving`: no new epoch wraps for it. `retire`: a rotation has it destroyed once no epoch needs it.
    """

    provider: str
    name: str
    make: Callable[[], KeyService]
    versions: Callable[[bytes], str] | None = None
    leaving: bool = False
    retire: bool = False

    def covers(self, key: ServiceKey) -> bool:
        """Whether this is the way to a key."""
        name, _, version = key.address.rpartition("/") if self.versions else (key.address, "", "0")
        return key.provider == self.provider and name == self.name and version.isdecimal()

    def key_of(self, wrapped: WrappedKey) -> ServiceKey | None:
        """Return the key that something was wrapped under, None where that is another's."""
        if wrapped.provider != self.provider:
            return None
        version = f"/{self.versions(wrapped.wrapped)}" if self.versions else ""
        key = ServiceKey(provider=self.provider, address=self.name + version)
        return key if key.key_id == wrapped.recipient else None


class KeyServices:
    """The key services that this process was told a way to."""

    def __init__(self, ways: Sequence[Way] = ()) -> None:
        """Take the ways; none is gone yet.

        Raises:
            ConfigError: Two lead to one key.
        """
        names = [(way.provider, way.name) for way in ways]
        if len(set(names)) != len(names):
            raise ConfigError("a key service is named twice", hint="name each key once in `key_services`")
        self.ways = tuple(ways)
        self._opened: dict[tuple[str, str], KeyService] = {}
        self._lock = Lock()

    def service(self, way: Way) -> KeyService:
        """Return the service at a way's end; made once."""
        with self._lock:
            name = (way.provider, way.name)
            if name not in self._opened:
                self._opened[name] = way.make()
            return self._opened[name]

    def way_to(self, key: ServiceKey) -> Way | None:
        """Return the way to a key, None where nobody told it."""
        return next((way for way in self.ways if way.covers(key)), None)

    def reach(self, key: ServiceKey) -> KeyService:
        """Return the service that keeps a key.

        Raises:
            KeyMismatchError: Nobody told the way.
        """
        way = self.way_to(key)
        if way is None:
            raise KeyMismatchError(
                f"the repository's keys are wrapped for {key}, and no way there is set",
                hint="add it to `key_services` in tenure.yaml; see docs/keys.md",
            )
        return self.service(way)


NO_SERVICES = KeyServices()
"""Of a process that was told no way to any."""


class ServiceRecipients:
    """Wraps under keys of services; implements `Wrapper`."""

    def __init__(self, keys: Sequence[ServiceKey], services: KeyServices) -> None:
        """Take the keys.

        Raises:
            KeyMismatchError: Nobody told the way to one of them.
        """
        self._keys = tuple(keys)
        self._services = services
        for key in self._keys:
            services.reach(key)

    def wrap(self, secret: bytes, *, context: Purpose) -> tuple[WrappedKey, ...]:
        """See `Wrapper.wrap`."""
        return tuple(
            WrappedKey(
                recipient=key.key_id,
                provider=key.provider,
                wrapped=self._services.reach(key).wrap(key, secret, context=context),
            )
            for key in self._keys
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Wraps for the recipients of several wrappers; implements `Wrapper`."""

    wrappers: tuple[Wrapper, ...]

    def wrap(self, secret: bytes, *, context: Purpose) -> tuple[WrappedKey, ...]:
        """See `Wrapper.wrap`."""
        return tuple(one for wrapper in self.wrappers for one in wrapper.wrap(secret, context=context))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKeyring:
    """Unwraps by services that this process has a way to; whether it has the right is theirs to say.

    Implements `Keyring`.
    """

    services: KeyServices

    def holds(self, wrapped: WrappedKey) -> bool:
        """See `Keyring.holds`."""
        return any(way.key_of(wrapped) is not None for way in self.services.ways)

    def held(self) -> tuple[str, ...]:
        """See `Keyring.held`."""
        return tuple(f"{way.provider}:{way.name}" for way in self.services.ways)

    def unwrap(self, wrapped: Sequence[WrappedKey], *, context: Purpose) -> bytes:
        """See `Unwrapper.unwrap`."""
        refused: list[KeyProviderError] = []
        for one, way in ((one, way) for one in wrapped for way in self.services.ways):
            key = way.key_of(one)
            if key is None:
                continue
            try:
                return self.services.service(way).unwrap(key, one.wrapped, context=context)
            except KeyProviderError as e:
                refused.append(e)  # another service may be up, and another copy whole
        raise _most_telling(refused) or for_none_of(self.held())


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyrings:
    """Several keyrings as one: the first that opens it; those that ask nobody come first. Implements `Keyring`."""

    keyrings: tuple[Keyring, ...]

    def holds(self, wrapped: WrappedKey) -> bool:
        """See `Keyring.holds`."""
        return any(keyring.holds(wrapped) for keyring in self.keyrings)

    def held(self) -> tuple[str, ...]:
        """See `Keyring.held`."""
        return tuple(name for keyring in self.keyrings for name in keyring.held())

    def unwrap(self, wrapped: Sequence[WrappedKey], *, context: Purpose) -> bytes:
        """See `Unwrapper.unwrap`."""
        refused: list[KeyProviderError] = []
        for keyring in self.keyrings:
            mine = [one for one in wrapped if keyring.holds(one)]
            if not mine:
                continue
            try:
                return keyring.unwrap(mine, context=context)
            except KeyProviderError as e:
                refused.append(e)
        raise _most_telling(refused) or for_none_of(self.held())


def _most_telling(refused: Sequence[KeyProviderError]) -> KeyProviderError | None:
    """Return the refusal that says most about what to do, None where nobody refused."""
    for kind in _TELLING:
        for one in refused:
            if isinstance(one, kind):
                return one
    return refused[0] if refused else None

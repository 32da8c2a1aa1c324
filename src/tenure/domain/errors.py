"""Every error Tenure raises on purpose, and the exit code each one ends a command with.

::

    TenureError
      ConfigError 10                    the configuration cannot be used
      RuleError 15                      a retention rule cannot be used
      ObjectStoreError 20               the object store said no
        ObjectNotFoundError 21
        StoreUnavailableError 22        retryable
        StoreDeniedError 23
        ObjectLockedError 24
        PreconditionFailedError 25      the name is already taken
      KeyProviderError 30               a key could not be used
        KeyUnavailableError 31          retryable
        KeyMismatchError 32
        KeyDestroyedError 33            the key is gone for good, or will be
        KeyDeniedError 34               the key service refused
      IntegrityError 40                 stored bytes are not what was written
        TamperedError 41
        TruncatedError 42
        RollbackError 43
      RepositoryError 50                the repository cannot be used
        RepositoryNotFoundError 51
        LeasedError 52                  another run holds it
        UnsupportedFormatError 53
        OvertakenError 54               a purge or rotation overtook a snapshot; it starts over
      RetentionError 60                 a deletion was refused
        HoldViolationError 61
        BrakePulledError 62
        StalePlanError 63
        NotApprovedError 64
      SourceError 70                    a source could not be read or changed
        SourceUnavailableError 71       retryable
        IncompleteSnapshotError 72
        SchemaDriftError 73
      DrillError 80                     a drill failed
        DrillMismatchError 81
        ObjectiveMissedError 82

A message says what failed, on which object; `hint` says what to do next. Neither ever holds key material,
card digits or personal data. Adapters translate foreign errors at the port with ``raise ... from e``.
"""

from datetime import datetime
from typing import ClassVar


class TenureError(Exception):
    """Root of the tree; never raised itself."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message and, where given, a hint more precise than the class's own."""
        super().__init__(message)
        self.hint = hint if hint is not None else self.default_hint


class ConfigError(TenureError):
    """The configuration, or a file it names, cannot be used."""

    exit_code = 10
    default_hint = "correct the configuration file and run the command again"


class RuleError(TenureError):
    """A retention rule cannot be understood, or contradicts another."""

    exit_code = 15
    default_hint = "correct the rule file, then run `tenure rules check`"


class ObjectStoreError(TenureError):
    """The object store answered in a way that is not covered by the errors below it."""

    exit_code = 20
    default_hint = "check the store with `tenure status --probe`"


class ObjectNotFoundError(ObjectStoreError):
    """No object has this name."""

    exit_code = 21


class StoreUnavailableError(ObjectStoreError):
    """The store did not answer, or asked to be called later."""

    exit_code = 22
    retryable = True
    default_hint = "check that the store can be reached; the command can be run again"


class StoreDeniedError(ObjectStoreError):
    """The store refused: credentials or permissions."""

    exit_code = 23
    default_hint = "check the credentials and permissions of this store"


class ObjectLockedError(ObjectStoreError):
    """The object is under a lock that the store enforces. `until`: when it ends, UTC, where the store says so."""

    exit_code = 24
    default_hint = "the object stays until its lock ends; a later sweep removes it"

    def __init__(self, message: str, *, hint: str | None = None, until: datetime | None = None) -> None:
        """Keep the end of the lock too."""
        super().__init__(message, hint=hint)
        self.until = until


class PreconditionFailedError(ObjectStoreError):
    """The name is already taken; objects are written once."""

    exit_code = 25


class KeyProviderError(TenureError):
    """A key provider could not wrap or unwrap."""

    exit_code = 30
    default_hint = "check the key settings with `tenure keys status`"


class KeyUnavailableError(KeyProviderError):
    """The key, or the service that holds it, could not be reached."""

    exit_code = 31
    retryable = True
    default_hint = "put the key file back or check the key service, then run the command again"


class KeyMismatchError(KeyProviderError):
    """The key does not open this: wrong key, wrong context, or changed bytes."""

    exit_code = 32
    default_hint = "check that the key files belong to this repository"


class KeyDestroyedError(KeyProviderError):
    """The key is gone, or is about to be: what only it opens is lost with it."""

    exit_code = 33
    default_hint = (
        "stop its deletion while that can be done; else read with another recipient, or the recovery key"
    )


class KeyDeniedError(KeyProviderError):
    """The key service refused: credentials, permissions, or a key that is switched off."""

    exit_code = 34
    default_hint = "check the credentials and the rights of this process at the key service; see docs/keys.md"


class IntegrityError(TenureError):
    """Stored bytes are not what was written."""

    exit_code = 40
    default_hint = "run `tenure verify` to see what is damaged and which snapshots it touches"


class TamperedError(IntegrityError):
    """Bytes were changed, swapped or forged."""

    exit_code = 41


class TruncatedError(IntegrityError):
    """Bytes are missing at the end."""

    exit_code = 42


class RollbackError(IntegrityError):
    """The repository, or the clock, is older than what was last seen."""

    exit_code = 43
    default_hint = "somebody put an old state back; find out who before you go on"


class RepositoryError(TenureError):
    """The repository cannot be used."""

    exit_code = 50


class RepositoryNotFoundError(RepositoryError):
    """There is no repository at this place."""

    exit_code = 51
    default_hint = "run `tenure init`, or correct `repository` in tenure.yaml"


class LeasedError(RepositoryError):
    """Another run is at work on the same thing."""

    exit_code = 52
    default_hint = "wait for the other run to end, then run the command again"


class UnsupportedFormatError(RepositoryError):
    """Written by a version of Tenure that this one does not know."""

    exit_code = 53
    default_hint = "install the Tenure version that wrote it, or a newer one"


class OvertakenError(RepositoryError):
    """A purge, a pruning or a rotation overtook a snapshot: its view may hold what was deleted meanwhile."""

    exit_code = 54
    default_hint = "the snapshot starts over by itself; run it again if it gave up"


class RetentionError(TenureError):
    """A deletion was refused."""

    exit_code = 60


class HoldViolationError(RetentionError):
    """A hold covers what was to be deleted."""

    exit_code = 61
    default_hint = "see `tenure hold list`"


class BrakePulledError(RetentionError):
    """More would be deleted than was approved."""

    exit_code = 62
    default_hint = "look at the plan with `tenure rules plan` and approve it if it is right"


class StalePlanError(RetentionError):
    """The plan is too old, was used before, or the world changed under it."""

    exit_code = 63
    default_hint = "make a new plan with `tenure rules plan`"


class NotApprovedError(RetentionError):
    """Nobody approved this."""

    exit_code = 64
    default_hint = "approve the plan with `tenure rules approve`"


class SourceError(TenureError):
    """A source could not be read or changed."""

    exit_code = 70


class SourceUnavailableError(SourceError):
    """The source is locked, busy or not there."""

    exit_code = 71
    retryable = True
    default_hint = "check the source and run the command again"


class IncompleteSnapshotError(SourceError):
    """The source could not be read to its end; no snapshot was committed."""

    exit_code = 72


class SchemaDriftError(SourceError):
    """The source no longer looks like the catalogue says."""

    exit_code = 73
    default_hint = "compare the data set in tenure.yaml with the source, and correct the one that is wrong"


class DrillError(TenureError):
    """A drill failed."""

    exit_code = 80


class DrillMismatchError(DrillError):
    """What was restored is not what was snapshotted."""

    exit_code = 81
    default_hint = "open the drill's report; run `tenure verify`"


class ObjectiveMissedError(DrillError):
    """The restore was right, but too slow or too old."""

    exit_code = 82

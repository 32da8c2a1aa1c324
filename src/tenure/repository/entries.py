"""What the ledger's entries say. Each kind is a struct; the kind's name is its tag.

Bodies are sealed under the ledger secret, which writers, readers and purgers hold. What only readers and purgers
may know (scopes of holds, fingerprints of what is forgotten) is sealed once more inside the body.
"""

from tenure.repository.wire import Wire


class Stanza(Wire, frozen=True, kw_only=True):
    """A secret wrapped for one recipient. `recipient`: key id, 16 bytes."""

    recipient: bytes
    provider: str
    wrapped: bytes


class Recipient(Wire, frozen=True, kw_only=True):
    """Whom an epoch wraps for. `role`: "reader" or "recovery"; `public`: the raw public key."""

    role: str
    provider: str
    key_id: bytes
    public: bytes


class EpochClear(Wire, frozen=True, kw_only=True, tag="epoch"):
    """The part of an epoch's opening that is read before any secret is known.

    `bundle`: the shared secrets, sealed under a key that `stanzas` wrap for every recipient.
    """

    epoch: int
    recipients: tuple[Recipient, ...]
    stanzas: tuple[Stanza, ...]
    bundle: bytes


class AdmitClear(Wire, frozen=True, kw_only=True, tag="admit"):
    """A writer's admission. `public`: its Ed25519 key; `bundle`: its secrets, as in `EpochClear`."""

    writer: bytes
    public: bytes
    stanzas: tuple[Stanza, ...]
    bundle: bytes


class CheckpointClear(Wire, frozen=True, kw_only=True, tag="checkpoint"):
    """What a reader needs to open a checkpoint: the openings of the epochs in use, and the admissions."""

    epochs: tuple[EpochClear, ...]
    admits: tuple[AdmitClear, ...]


Clear = EpochClear | AdmitClear | CheckpointClear | None


class PageRef(Wire, frozen=True, kw_only=True):
    """A key page. `writer`: whose index key opens it; `hash`: BLAKE3 of its bytes."""

    epoch: int
    writer: bytes
    tag: bytes
    page: bytes
    hash: bytes


class Epoch(Wire, frozen=True, kw_only=True, tag="epoch"):
    """`state`: "open", "closing" or "closed"; opening carries an `EpochClear`."""

    epoch: int
    state: str


class Admit(Wire, frozen=True, kw_only=True, tag="admit"):
    """A writer may add snapshots of `source`."""

    writer: bytes
    source: str


class Remove(Wire, frozen=True, kw_only=True, tag="remove"):
    """A writer may no longer."""

    writer: bytes
    reason: str


class Rules(Wire, frozen=True, kw_only=True, tag="rules"):
    """The rule set in force. `content`: its serialised form; `approvals`: who approved it, as the officers signed."""

    hash: bytes
    content: bytes
    approvals: tuple[str, ...]


class Hold(Wire, frozen=True, kw_only=True, tag="hold"):
    """A hold placed (`released` empty) or released (`released`: the reason). `scope`: sealed for readers."""

    hold: str
    matter: str
    reason: str
    placed_by: str
    review_by: str
    scope: bytes
    released: str = ""


class Begin(Wire, frozen=True, kw_only=True, tag="begin"):
    """A session. `base`: number of the snapshot it builds on, 0 for none; `expires`: seconds after this entry."""

    session: bytes
    writer: bytes
    source: str
    base: int
    expires: int


class Snapshot(Wire, frozen=True, kw_only=True, tag="snapshot"):
    """The commit. `view`: ledger number that was the head when the source's view was taken.

    `findings`: names of likely card data in it that no entry before names, see `cards.quarantine`.
    """

    session: bytes
    writer: bytes
    source: str
    group: bytes
    manifest: str
    manifest_hash: bytes
    view: int
    taken_at: float
    rows: int
    plain: int
    pages: tuple[PageRef, ...]
    findings: tuple[bytes, ...] = ()


class Void(Wire, frozen=True, kw_only=True, tag="void"):
    """A session that will never commit."""

    session: bytes
    writer: bytes
    reason: str


class Intent(Wire, frozen=True, kw_only=True, tag="intent"):
    """A forgetting is about to happen.

    `forget`: random id; `kind`: "purge" or "erase"; `cohorts`: (writer, tag) forgotten whole; `scopes`: pages, one
    a source, that hold which records, deleted when done; `fingerprints`: sealed for readers, see `forgetting`;
    `recut`: records in quarantine that stay, and whose card data is cut.
    """

    forget: bytes
    kind: str
    plan: bytes
    rules: bytes
    approvals: tuple[str, ...]
    sources: tuple[str, ...]
    cohorts: tuple[tuple[bytes, bytes], ...]
    scopes: tuple[PageRef, ...]
    fingerprints: bytes
    recut: int = 0


class Amended(Wire, frozen=True, kw_only=True, tag="amended"):
    """The live deletion is over. `left`: records that no longer matched and stay; the rest as in `Intent`."""

    forget: bytes
    left: int
    cohorts: tuple[tuple[bytes, bytes], ...]
    scopes: tuple[PageRef, ...]
    fingerprints: bytes


class Merge(Wire, frozen=True, kw_only=True, tag="merge"):
    """Pages replaced by pages. `cause`: one of `voids.CAUSES`; `forget`: its id or empty.

    `head`: the ledger number that the removed pages were read at; `begun`: the store's time before the first new
    object was put (see `state.merge_refusal`); `chunks`: how many the removed pages hold and the added lack.
    """

    cause: str
    forget: bytes
    removed: tuple[bytes, ...]
    added: tuple[PageRef, ...]
    head: int
    begun: float
    chunks: int = 0


class Done(Wire, frozen=True, kw_only=True, tag="done"):
    """A forgetting is complete: what went. `pending`: key stores that did not confirm."""

    forget: bytes
    records: int
    chunks: int
    pages: int
    pending: tuple[str, ...]
    certificate: str


class Answer(Wire, frozen=True, kw_only=True, tag="answer"):
    """An officer's answer about likely card data of a source. `answer`: "keep" or "redact"; the last one counts."""

    source: str
    findings: tuple[bytes, ...]
    answer: str
    by: str


class Prune(Wire, frozen=True, kw_only=True, tag="prune"):
    """Snapshots rotated out."""

    snapshots: tuple[int, ...]
    reasons: tuple[str, ...]


class Sweep(Wire, frozen=True, kw_only=True, tag="sweep"):
    """Bytes freed. `packs` and `pages`: how many objects went."""

    packs: int
    pages: int
    bytes: int


class Checkpoint(Wire, frozen=True, kw_only=True, tag="checkpoint"):
    """The state after the entry before this one (`state.State`), so that nobody reads the ledger from its start."""

    state: bytes


Body = (
    Epoch
    | Admit
    | Remove
    | Rules
    | Hold
    | Begin
    | Snapshot
    | Void
    | Intent
    | Amended
    | Merge
    | Done
    | Answer
    | Prune
    | Sweep
    | Checkpoint
)

BY_WRITERS = (Begin, Snapshot, Void)
"""What a writer may sign; everything else is the purge key's."""

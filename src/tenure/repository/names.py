"""Names of objects. They carry no personal data and no data-set names (docs/format.md, "Objects")."""

MARKER = "tenure.json"
LEDGER = "ledger/"
PACKS = "data/"
PAGES = "keys/"
MANIFESTS = "snapshots/"


def ledger_entry(number: int) -> str:
    """Return the name of ledger entry `number` (1 and up): 20 digits, so that names sort as numbers."""
    return f"{LEDGER}{number:020d}"


LEDGER_BLOCK = 1000
"""How many ledger entries share the beginning of their names, which is what one answer to a listing holds."""


def ledger_block(number: int) -> str:
    """Return what the names of the entries of one block begin with; `number`: of any of them."""
    return ledger_entry(number)[:-3]


def ledger_number(name: str) -> int:
    """Return the number in a ledger entry's name.

    Raises:
        ValueError: It is no such name.
    """
    digits = name.removeprefix(LEDGER)
    if len(digits) != 20 or not digits.isdecimal():
        raise ValueError(name)
    return int(digits)


def pack(pack_id: bytes) -> str:
    """Return the name of a pack; its id is the BLAKE3 of its bytes, so anyone can check it."""
    text = pack_id.hex()
    return f"{PACKS}{text[:2]}/{text}"


def page(epoch: int, tag: bytes, page_id: bytes) -> str:
    """Return the name of a key page; `tag` is the cohort's keyed hash."""
    return f"{PAGES}{epoch}/{tag.hex()}/{page_id.hex()}"


def manifest(number: int, session: bytes) -> str:
    """Return the name of a manifest: the ledger number its session began at, and the session's random id."""
    return f"{MANIFESTS}{number:020d}-{session.hex()}"

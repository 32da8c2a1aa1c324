"""A secret as words on several sheets, of which so many bring it back: SLIP-39 (SatoshiLabs), one group, no passphrase.

Shares are of 33 words from a list of 1,024, of which no two begin with the same four letters; the last three words
check the others. Fewer sheets than are needed say nothing about the secret, however much computing is done.
The library's arithmetic takes a time that depends on the secret: shares are made and joined where nobody else
measures, not in a service.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from shamir_mnemonic import EncryptedMasterSecret, MnemonicError, Share, generate_mnemonics, recover_ems
from shamir_mnemonic.shamir import ShareGroup
from shamir_mnemonic.wordlist import WORD_INDEX_MAP, WORDLIST

from tenure.domain.errors import KeyMismatchError

SECRET_BYTES = 32
WORDS = 33
"""Of a share of 32 bytes: 4 words say which share of which set it is, 26 hold it, 3 check it (SLIP-39, "Format")."""

LEAST_NEED = 2
"""With one sheet that opens everything there is nothing to share out."""

MOST_SHARES = 16
"""SLIP-39 has four bits for a share's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One share. `set_id`: 15 bits, the same for all of a set; `number`: from 1; `need`: how many open the secret."""

    set_id: int
    number: int
    need: int
    share: Share = field(repr=False)

    def words(self) -> list[str]:
        """Return the 33 words."""
        return list(self.share.words())


def split(secret: bytes, *, need: int, of: int) -> tuple[Words, ...]:
    """Share out a secret that was drawn at random.

    Args:
        secret: 32 bytes. No passphrase stretches it, so it may be nothing that can be guessed.
        need: How many shares bring it back, from 2.
        of: How many shares there are, at most 16.

    Raises:
        ValueError: Other numbers, or a secret of another length.
    """
    if not LEAST_NEED <= need <= of <= MOST_SHARES or len(secret) != SECRET_BYTES:
        raise ValueError(f"{need} of {of} shares of {len(secret)} bytes")
    # Exponent 0, the fewest rounds that SLIP-39 has: they are for passphrases.
    (group,) = generate_mnemonics(1, [(need, of)], secret, iteration_exponent=0)
    return tuple(_named(Share.from_mnemonic(words)) for words in group)


def read(words: Sequence[str], *, where: str) -> Words:
    """Return the share that somebody's words are; large and small letters are the same.

    Args:
        words: As printed.
        where: What the words stand on, for messages.

    Raises:
        KeyMismatchError: They are none: too few, too many, one that is not on the list, or one that is another's.
    """
    given = [word.lower() for word in words]
    for number, word in enumerate(given, 1):
        if word not in WORD_INDEX_MAP:
            raise KeyMismatchError(f"word {number} of {where} is no word of the list: {word!r}{_near(word)}")
    if len(given) != WORDS:
        raise KeyMismatchError(f"{where} has {len(given)} words instead of {WORDS}")
    try:
        share = Share.from_mnemonic(" ".join(given))
    except MnemonicError as e:
        raise KeyMismatchError(
            f"the words of {where} do not fit together: one of them is another than on the sheet",
            hint=_suspect(given),
        ) from e
    shape = (share.extendable, share.group_index, share.group_threshold, share.group_count)
    if shape != (True, 0, 1, 1) or share.member_threshold < LEAST_NEED or len(share.value) != SECRET_BYTES:
        raise KeyMismatchError(f"{where} is a share of something else than a recovery key")
    return _named(share)


def combine(shares: Sequence[Words]) -> bytes:
    """Return the secret of exactly as many different shares as are needed.

    Raises:
        KeyMismatchError: They do not belong together.
    """
    return _decrypted(_recovered(shares))


def every_combination(shares: Sequence[Words], need: int) -> Iterator[bytes]:
    """Yield what each choice of `need` of these shares brings back: the secret, as often as there are choices.

    Raises:
        KeyMismatchError: A choice brings nothing back.
    """
    opened: dict[bytes, bytes] = {}
    for chosen in combinations(shares, need):
        found = _recovered(chosen)
        # The same 32 bytes open alike: decrypting them 12,870 times (8 of 16) would take minutes.
        if found.ciphertext not in opened:
            opened[found.ciphertext] = _decrypted(found)
        yield opened[found.ciphertext]


def _recovered(shares: Sequence[Words]) -> EncryptedMasterSecret:
    try:
        group = ShareGroup()
        for one in shares:
            group.add(one.share)
        return recover_ems({0: group})
    except MnemonicError as e:
        numbers = ", ".join(str(one.number) for one in shares)
        raise KeyMismatchError(
            f"shares {numbers} do not belong together, although each is whole",
            hint="take sheets that were made together: they name the same set and the same day",
        ) from e


def _decrypted(found: EncryptedMasterSecret) -> bytes:
    return bytes(found.decrypt(b""))


def _named(share: Share) -> Words:
    return Words(set_id=share.identifier, number=share.index + 1, need=share.member_threshold, share=share)


def _near(word: str) -> str:
    alike = [w for w in WORDLIST if len(word) >= 4 and w[:4] == word[:4]]
    alike += [w for w in difflib.get_close_matches(word, WORDLIST, n=3) if w not in alike]
    return f"; near it: {', '.join(alike[:3])}" if alike else ""


def _suspect(given: Sequence[str]) -> str:
    """Return where to look: a word that, read as one like it, would make the words fit together."""
    for i, word in enumerate(given):
        for other in difflib.get_close_matches(word, WORDLIST, n=20):
            if _fits([*given[:i], other, *given[i + 1 :]]):
                return f"compare word {i + 1} with the sheet: is it {other!r}?"
    for i in range(len(given) - 1):
        if _fits([*given[:i], given[i + 1], given[i], *given[i + 2 :]]):
            return f"compare words {i + 1} and {i + 2} with the sheet: they seem to be exchanged"
    return "compare every word with the sheet"


def _fits(words: Sequence[str]) -> bool:
    try:
        Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        return False
    return True

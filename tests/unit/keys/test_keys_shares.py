"""The recovery key as shares: any choice of enough sheets gives it, fewer nothing, and what is wrong is named."""

import html
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import generate_mnemonics
from shamir_mnemonic.wordlist import WORDLIST

from tenure.crypto.hashing import random_bytes
from tenure.domain.errors import ConfigError, KeyMismatchError, KeyUnavailableError
from tenure.domain.progress import SilentProgress
from tenure.keys import shares, sharewords
from tenure.keys.local import KeyFile, KeyKind
from tenure.keys.shareblock import block_of, lines_of, open_block, repository_of, seal_block, set_of
from tenure.keys.shares import Division, joined, lacking, prove, shared_out, write_sheets
from tenure.keys.sharesheet import Found, Sheet, as_page, as_text, parse, read_sheet

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUIET = SilentProgress()


def recovery(name: str = "recovery") -> KeyFile:
    fields = {"private": random_bytes(96), "purge_public": random_bytes(32)}
    created = MADE - timedelta(days=3, microseconds=7)
    return KeyFile(
        kind=KeyKind.RECOVERY, repository=random_bytes(16).hex(), name=name, created=created, fields=fields
    )


def sheets_of(key: KeyFile, need: int = 2, of: int = 3) -> tuple[Sheet, ...]:
    return shared_out(key, Division(need=need, of=of, made=MADE))


def typed(sheets: Sequence[Sheet]) -> list[Found]:
    return [parse(as_text(s), where=s.name) for s in sheets]


@given(data=st.data(), need=st.integers(2, 6), more=st.integers(0, 4), name=st.text(min_size=1, max_size=50))
@settings(max_examples=25)
def test_every_choice_of_enough_sheets_gives_the_very_key(
    data: st.DataObject, need: int, more: int, name: str
) -> None:
    key = recovery(name if name.isprintable() else "recovery")
    sheets = typed(sheets_of(key, need, need + more))
    chosen = data.draw(st.permutations(sheets))[:need]
    assert joined(chosen) == key
    assert joined(sheets) == key
    assert prove(sheets, key, need, QUIET) > 0


@pytest.mark.parametrize(("need", "of"), [(2, 2), (2, 3), (3, 5), (2, 16), (15, 16), (16, 16)])
def test_one_sheet_less_gives_nothing_and_says_how_many_lack(need: int, of: int) -> None:
    sheets = typed(sheets_of(recovery(), need, of))
    assert lacking(sheets[: need - 1]) == 1
    with pytest.raises(KeyUnavailableError, match=f"^{need} shares of set") as refused:
        joined(sheets[: need - 1])
    assert refused.value.hint.startswith("name 1 more")


def test_one_sheet_named_twice_counts_once() -> None:
    sheets = typed(sheets_of(recovery()))
    with pytest.raises(KeyUnavailableError, match="share 1 was all"):
        joined([sheets[0], sheets[0]])
    assert joined([sheets[0], sheets[0], sheets[2]]) == joined(sheets[1:])


def test_no_sheet_at_all_is_told() -> None:
    with pytest.raises(KeyUnavailableError, match="no share was given"):
        joined([])


@pytest.mark.parametrize(("need", "of"), [(1, 3), (4, 3), (2, 17), (0, 0)])
def test_impossible_numbers_are_refused(need: int, of: int) -> None:
    with pytest.raises(ValueError):
        sheets_of(recovery(), need, of)


def test_only_a_recovery_key_is_shared_out() -> None:
    reader = replace(recovery(), kind=KeyKind.READER, fields={"private": random_bytes(96)})
    with pytest.raises(ValueError, match="only a recovery key"):
        sheets_of(reader)


def test_fewer_sheets_are_independent_of_the_key() -> None:
    # With one share of two fixed, every secret is possible: the same words could have come from any key.
    secret = bytes(32)
    firsts = {tuple(sharewords.split(secret, need=2, of=2)[0].words()) for _ in range(4)}
    assert len(firsts) == 4
    for words in firsts:
        assert all(w in WORDLIST for w in words)


def test_sheets_of_two_sets_of_one_key_do_not_mix() -> None:
    key = recovery()
    one, other = typed(sheets_of(key)), typed(sheets_of(key))
    with pytest.raises(KeyMismatchError, match="different sets"):
        joined([one[0], other[1]])


def test_words_of_another_set_that_bear_the_same_set_number_do_not_open_the_block() -> None:
    key, secret = recovery(), random_bytes(32)
    one = sharewords.split(secret, need=2, of=3)
    block = seal_block(key, set_id=one[0].set_id, secret=random_bytes(32))
    found = [Found(words=w, block=block, where=f"sheet {w.number}") for w in one]
    with pytest.raises(KeyMismatchError, match="do not open the key block"):
        joined(found)


def test_words_and_block_of_different_sets_on_one_sheet_are_told() -> None:
    key = recovery()
    one, other = sheets_of(key), sheets_of(key)
    mixed = [Found(words=s.words, block=other[0].block, where=s.name) for s in one]
    with pytest.raises(KeyMismatchError, match=r"words and the key block of share-1-of-3"):
        joined(mixed)


def test_a_forged_share_with_right_checks_is_noticed() -> None:
    sheets = sheets_of(recovery())
    share = sheets[0].words.share
    forged = replace(share, value=bytes([share.value[0] ^ 1]) + share.value[1:])
    words = sharewords.read(forged.words(), where="forged")
    found = typed(sheets)
    bad = Found(words=words, block=found[0].block, where="forged")
    with pytest.raises(KeyMismatchError, match="do not belong together"):
        joined([bad, found[1]])
    with pytest.raises(KeyMismatchError, match="different sets"):  # two shares with the number 1
        joined([found[0], bad, found[1]])
    with pytest.raises(KeyMismatchError):  # beyond what is needed
        joined([found[1], found[2], bad])


def test_a_word_that_is_on_no_list_is_named_with_words_near_it() -> None:
    words = sheets_of(recovery())[0].words.words()
    words[6] = "acadmic"
    with pytest.raises(KeyMismatchError, match=r"word 7 of this is no word .*'acadmic'; near it: academic"):
        sharewords.read(words, where="this")


def test_a_word_read_for_another_like_it_is_pointed_at() -> None:
    for sheet in sheets_of(recovery(), 2, 8):
        words = sheet.words.words()
        for i, word in enumerate(words):
            if word in {
                "lips",
                "clay",
                "acid",
                "loan",
                "easy",
                "veteran",
            }:  # whoever is like them is chosen below
                continue
            near = [w for w in WORDLIST if w != word and len(w) == len(word) and w[1:] == word[1:]]
            if near:
                wrong = [*words[:i], near[0], *words[i + 1 :]]
                with pytest.raises(KeyMismatchError, match="do not fit together") as refused:
                    sharewords.read(wrong, where="this")
                assert f"word {i + 1} " in refused.value.hint
                assert repr(word) in refused.value.hint


def test_exchanged_words_are_pointed_at() -> None:
    words = sheets_of(recovery())[0].words.words()
    at = next(i for i in range(5, 30) if words[i] != words[i + 1])
    words[at], words[at + 1] = words[at + 1], words[at]
    with pytest.raises(KeyMismatchError) as refused:
        sharewords.read(words, where="this")
    assert f"words {at + 1} and {at + 2}" in refused.value.hint


@pytest.mark.parametrize("change", [lambda w: w[:-1], lambda w: [*w, "acid"], lambda w: w[:20]])
def test_too_few_or_too_many_words_are_counted(change: object) -> None:
    words = change(sheets_of(recovery())[0].words.words())  # type: ignore[operator]
    with pytest.raises(KeyMismatchError, match="instead of 33"):
        sharewords.read(words, where="this")


@pytest.mark.parametrize(
    ("groups", "secret"), [([(2, 3), (2, 3)], 32), ([(1, 1)], 32), ([(2, 3)], 16), ([(2, 3)], 34)]
)
def test_shares_of_something_else_are_refused(groups: list[tuple[int, int]], secret: int) -> None:
    words = generate_mnemonics(1, groups, random_bytes(secret))[0][0].split()
    with pytest.raises(KeyMismatchError, match=r"something else|instead of 33"):
        sharewords.read(words, where="this")


@given(st.lists(st.sampled_from(WORDLIST), min_size=33, max_size=33))
@settings(max_examples=15)
def test_random_words_are_no_share(words: list[str]) -> None:
    with pytest.raises(KeyMismatchError):
        sharewords.read(words, where="this")


@given(st.binary(min_size=40, max_size=400))
def test_a_block_survives_paper_however_it_is_typed(raw: bytes) -> None:
    block = b"\x01" + raw
    lines = lines_of(block)
    assert block_of(lines, where="paper") == block
    sloppy = [line.lower().replace("0", "o").replace(" 1", " 1", 1).replace("  ", "   ") for line in lines]
    sloppy = [re.sub(r"^ *\S+", str(i), line) for i, line in enumerate(sloppy, 1)]
    assert block_of(sloppy, where="paper") == block


@given(
    raw=st.binary(min_size=199, max_size=199), data=st.data()
)  # whole lines: the last one has no spare bits
def test_a_character_of_a_block_that_was_typed_wrongly_is_found_in_its_line(
    raw: bytes, data: st.DataObject
) -> None:
    lines = lines_of(b"\x01" + raw)
    at = data.draw(st.integers(0, len(lines) - 1))
    places = [i for i, c in enumerate(lines[at]) if c.isalnum() and i > 3]
    place = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from([c for c in "23456789ABCDEFGH" if c != lines[at][place]]))
    lines[at] = lines[at][:place] + other + lines[at][place + 1 :]
    with pytest.raises(KeyMismatchError, match=f"line {at + 1} of the key block"):
        block_of(lines, where="paper")


def test_lines_that_are_missing_or_none_are_told() -> None:
    lines = lines_of(sheets_of(recovery())[0].block)
    with pytest.raises(KeyMismatchError, match="line 3 of the key block of paper is missing"):
        block_of([*lines[:2], *lines[3:]], where="paper")
    with pytest.raises(KeyMismatchError, match=f"ends after line {len(lines) - 1}"):
        block_of(lines[:-1], where="paper")
    with pytest.raises(KeyMismatchError, match="none of it"):
        block_of([*lines, "and so on"], where="paper")
    with pytest.raises(KeyMismatchError, match="line 1"):
        block_of([lines[1]], where="paper")


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_block_opens_nothing(at: int, bit: int) -> None:
    key, secret = recovery(), random_bytes(32)
    block = bytearray(seal_block(key, set_id=7, secret=secret))
    assert open_block(bytes(block), secret=secret) == key
    assert (set_of(bytes(block)), repository_of(bytes(block))) == (7, key.repository)
    block[at % len(block)] ^= 1 << bit
    with pytest.raises(KeyMismatchError):
        open_block(bytes(block), secret=secret)


def test_a_block_holds_nothing_of_the_key_in_clear() -> None:
    key = recovery("unheard-of")
    block = sheets_of(key)[0].block
    assert b"unheard-of" not in block
    for raw in key.fields.values():
        assert raw[:16] not in block


def test_a_sheet_tells_its_finder_what_it_is_and_what_to_do() -> None:
    key = recovery()
    sheet = sheets_of(key, 3, 5)[1]
    for text in (as_text(sheet), html.unescape(re.sub(r"<[^>]+>", " ", as_page(sheet)))):
        for words in (
            key.repository, "2026-03-01", f"set {sheet.words.set_id:05}", "Alone it opens nothing",
            "tenure restore", "--recovery-share share-2-of-5.txt", "rotation",
        ):  # fmt: skip
            assert words in text
        assert "share 2 of 5. any 3 open it" in text.lower()
    assert max(len(line) for line in as_text(sheet).splitlines() if "tenure restore" not in line) <= 80


def test_the_page_holds_the_same_words_and_block_and_loads_nothing() -> None:
    sheet = sheets_of(recovery("<b>&amp;"))[0]
    page = as_page(sheet)
    assert re.findall(r"<li>(\w+)", page) == sheet.words.words()
    block = re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert block is not None
    assert block_of(html.unescape(block[1]).splitlines(), where="page") == sheet.block
    assert "<b>" not in page
    assert not re.search(r"(?i)https?:|src=|href=|<script|@import|url\(", page)


def test_a_sheet_that_holds_no_words_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    for content in (b"", b"milk, eggs", bytes(range(256)), b"WORDS\n\nnone\n", b"x" * 100_000):
        path.write_bytes(content)
        with pytest.raises(KeyMismatchError, match=re.escape(str(path))):
            read_sheet(path)
    with pytest.raises(KeyUnavailableError, match="No such file"):
        read_sheet(tmp_path / "gone.txt")
    with pytest.raises(KeyUnavailableError, match="directory"):
        read_sheet(tmp_path)
    path.write_text(as_page(sheets_of(recovery())[0]))
    with pytest.raises(KeyMismatchError, match="page for printing"):
        read_sheet(path)


def test_a_typed_sheet_needs_its_words_in_any_layout_and_may_lack_the_block() -> None:
    key = recovery()
    one, other, _ = sheets_of(key)
    plain = "WORDS\n" + "\n".join(f"{n}. {w.upper()}" for n, w in enumerate(one.words.words(), 1))
    found = parse(plain, where="typed")
    assert found.block is None
    assert joined([found, *typed([other])]) == key
    with pytest.raises(KeyUnavailableError, match="key block is on none"):
        joined([replace(f, block=None) for f in typed([one, other])])
    with pytest.raises(KeyMismatchError, match="typed lacks word 5"):
        parse(re.sub(r"(?m)^5\. .*$", "", plain), where="typed")
    with pytest.raises(KeyMismatchError, match="two words with number 5"):
        parse(plain + "\n5 acid", where="typed")


def test_written_sheets_are_proven_private_and_in_a_new_folder(tmp_path: Path) -> None:
    key = recovery()
    made = write_sheets(tmp_path / "sheets", key, Division(need=2, of=4, made=MADE), QUIET)
    assert made.proven == 6
    assert sorted(p.name for p in (tmp_path / "sheets").iterdir()) == sorted(
        f"share-{n}-of-4.{e}" for n in range(1, 5) for e in ("txt", "html")
    )
    assert {stat.S_IMODE(p.stat().st_mode) for p in (*made.sheets, *made.pages)} == {0o600}
    assert stat.S_IMODE((tmp_path / "sheets").stat().st_mode) == 0o700
    for chosen in combinations(made.sheets, 2):
        assert joined([read_sheet(p) for p in chosen]) == key
    assert list(tmp_path.glob(".*")) == []


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    folder, division = tmp_path / "sheets", Division(need=2, of=3, made=MADE)
    first = write_sheets(folder, recovery(), division, QUIET)
    before = [p.read_bytes() for p in first.sheets]
    with pytest.raises(ConfigError, match="is there already: nothing was written"):
        write_sheets(folder, recovery(), division, QUIET)
    assert [p.read_bytes() for p in first.sheets] == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        write_sheets(tmp_path / "file", recovery(), division, QUIET)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is there already"):
        write_sheets(tmp_path / "link", recovery(), division, QUIET)
    (tmp_path / "new").mkdir()
    write_sheets(tmp_path / "new", recovery(), division, QUIET)


def test_sheets_that_do_not_give_the_key_again_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = recovery()

    def wrong(key: KeyFile, division: Division) -> tuple[Sheet, ...]:
        return shared_out(other, division)

    monkeypatch.setattr(shares, "shared_out", wrong)
    with pytest.raises(KeyMismatchError, match="none was kept"):
        write_sheets(tmp_path / "sheets", recovery(), Division(need=2, of=3, made=MADE), QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_died_leaves_nothing_that_looks_finished_and_the_next_clears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    division = Division(need=2, of=3, made=MADE)
    with monkeypatch.context() as patched:
        patched.setattr(shares, "prove", lambda *_: 1 // 0)
        patched.setattr(shares, "_wipe", lambda _: None)  # a process that is killed wipes nothing
        with pytest.raises(ZeroDivisionError):
            write_sheets(tmp_path / "sheets", recovery(), division, QUIET)
    assert not (tmp_path / "sheets").exists()
    (left,) = tmp_path.iterdir()
    write_sheets(tmp_path / "sheets", recovery(), division, QUIET)
    assert not left.exists()


def test_a_folder_of_the_unfinished_name_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / ".sheets.unfinished" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("precious")
    with pytest.raises(ConfigError, match="no share sheet"):
        write_sheets(tmp_path / "sheets", recovery(), Division(need=2, of=3, made=MADE), QUIET)
    assert mine.read_text() == "precious"


def test_no_repr_shows_a_share() -> None:
    sheet = sheets_of(recovery())[0]
    found = parse(as_text(sheet), where="paper")
    for shown in (repr(sheet), repr(found), repr(sheet.words)):
        assert "share=" not in shown
        assert not set(sheet.words.words()) & set(re.findall(r"\w+", shown)) - {"paper", "number"}

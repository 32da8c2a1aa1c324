"""keys shares from the command line: sheets alone list, restore and check; a file comes back; what lacks is typed."""

import os
import pty
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from support.cli import Site, fingerprint, site


@pytest.fixture
def centre(tmp_path: Path) -> Site:
    return site(tmp_path)


def sheets_of(centre: Site, *options: str) -> list[str]:
    made = centre.run("keys", "shares", "make", "keys/recovery.key", "--into", "sheets", "--json", *options)
    return list(made.worked().document["sheets"])


def stores(centre: Site) -> tuple[str, ...]:
    return (
        "--repository", f"file:{centre.root / 'repository'}",
        "--key-store", f"file:{centre.root / 'key-store-2'}",
    )  # fmt: skip


def test_any_two_sheets_alone_restore_and_no_key_file_is_left_behind(centre: Site, tmp_path: Path) -> None:
    sheets = [str(centre.root / s) for s in sheets_of(centre, "--destroy")]
    assert not (centre.root / "keys" / "recovery.key").exists()
    strange = Site(tmp_path / "strange")
    strange.root.mkdir()
    for lost in ("keys", "state", "tenure.yaml"):
        (centre.root / lost).rename(tmp_path / f"lost-{lost}")
    for number, chosen in enumerate(combinations(sheets, 2)):
        shares = [word for sheet in chosen for word in ("--recovery-share", sheet)]
        strange.run("restore", "crm", "--to", f"crm-{number}", *shares, *stores(centre)).worked()
        assert fingerprint(strange.root / f"crm-{number}") == fingerprint(centre.crm)
    listed = strange.run("snapshots", *shares, *stores(centre), "--json").worked().document["snapshots"]
    assert {s["source"] for s in listed} == {"crm", "calls"}
    assert {p.name for p in strange.root.iterdir()} == {"crm-0", "crm-1", "crm-2"}


def test_sheets_come_together_to_the_file_they_were_made_from(centre: Site) -> None:
    key = (centre.root / "keys" / "recovery.key").read_bytes()
    sheets = sheets_of(centre, "--of", "5", "--need", "3")
    centre.run("keys", "shares", "join", *sheets[1:4], "--into", "back.key").worked()
    assert (centre.root / "back.key").read_bytes() == key
    assert (centre.root / "back.key").stat().st_mode & 0o777 == 0o600
    centre.run("keys", "shares", "join", *sheets[:3], "--into", "back.key").refused(10, "exists already")


def test_it_says_what_is_proven_and_what_still_opens_everything(centre: Site) -> None:
    done = centre.run("keys", "shares", "make", "keys/recovery.key", "--into", "sheets").worked()
    text = " ".join(done.out.split())
    assert "any 2 open the recovery key: all 3 choices were tried" in text
    assert "keys/recovery.key still opens everything alone" in text
    centre.run("keys", "check-recovery", "keys/recovery.key").worked()


def test_what_cannot_be_shared_out_is_refused(centre: Site) -> None:
    make = ("keys", "shares", "make")
    assert centre.run(*make, "keys/recovery.key", "--of", "2", "--need", "3", "--into", "x").code == 2
    assert centre.run(*make, "keys/recovery.key", "--of", "17", "--into", "x").code == 2
    assert centre.run(*make, "keys/recovery.key", "--need", "1", "--into", "x").code == 2
    centre.run(*make, "keys/epoch-1.key", "--into", "x").refused(32, "holds a reader key")
    centre.run(*make, "nowhere.key", "--into", "x").refused(31, "is missing")
    centre.run(*make, "keys/recovery.key", "--into", "keys").refused(10, "nothing was written")
    assert not (centre.root / "x").exists()
    sheets_of(centre)
    centre.run(*make, "keys/recovery.key", "--into", "sheets", "--destroy").refused(10, "is there already")
    assert (centre.root / "keys" / "recovery.key").exists()


def test_too_few_wrong_and_foreign_sheets_are_told_apart(centre: Site) -> None:
    one, other, _ = sheets_of(centre)
    again = centre.run("keys", "shares", "make", "keys/recovery.key", "--into", "again", "--json").worked()
    foreign = again.document["sheets"][1]
    join = ("keys", "shares", "join", "--into", "back.key")
    centre.run(*join).refused(31, "no share was given")
    centre.run(*join, one).refused(31, "2 shares of set .* are needed", "name 1 more")
    centre.run(*join, one, one).refused(31, "2 shares of set")
    centre.run(*join, one, foreign).refused(32, "different sets", "made together")
    path = centre.root / other
    text = path.read_text()
    word = re.search(r" 7  (\w+)", text)
    assert word is not None
    path.write_text(text.replace(word[0], f" 7  {word[1][:4]}zzz"))
    centre.run(*join, one, other).refused(
        32, f"word 7 of .*share-2-of-3.txt is no word.*near it: .*{word[1]}"
    )
    path.write_text("\n".join(text.splitlines()[:-1]))
    centre.run(*join, one, other).refused(32, "key block of .*share-2-of-3.txt ends after line")
    centre.run(*join, one, "keys/recovery.key").refused(32, "no share sheet")
    assert not (centre.root / "back.key").exists()
    shares = ("--recovery-share", one, *stores(centre))
    centre.run("restore", "crm", "--to", "x", *shares).refused(31, "2 shares of set")
    both = centre.run("restore", "crm", "--to", "x", "--recovery-key", "keys/recovery.key", *shares)
    assert (both.code, "exclude each other" in both.err) == (2, True)
    alone = centre.run("restore", "crm", "--to", "x", "--recovery-share", one)
    assert (alone.code, "needs --repository" in alone.err) == (2, True)
    assert not (centre.root / "x").exists()


def at_terminal(centre: Site, args: list[str], lines: list[str]) -> tuple[int, str]:
    """Run a command at a terminal where somebody types these lines."""
    keyboard, screen = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
    program = [sys.executable, "-c", "from tenure.cli.main import run; run()", *args]
    with subprocess.Popen(
        program,
        cwd=centre.root,
        env=environment,
        stdin=screen,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        os.close(screen)
        for line in lines:
            os.write(keyboard, line.encode() + b"\n")
        assert process.stdout is not None
        out = process.stdout.read().decode()
        code = process.wait(60)
    os.close(keyboard)
    return code, out


def test_where_there_is_only_paper_it_is_typed_and_what_was_mistyped_is_asked_for_again(centre: Site) -> None:
    texts = [(centre.root / s).read_text() for s in sheets_of(centre)]
    typed = []
    for text in texts[:2]:
        pairs = re.findall(r"(\d+)  ([a-z]+)", text[text.index("WORDS") : text.index("KEY BLOCK")])
        typed.append([w for _, w in sorted(pairs, key=lambda pair: int(pair[0]))])
    block = text[text.index("KEY BLOCK") :].splitlines()[2:]
    first = [" ".join(typed[0][:10]), " ".join(typed[0][10:])]
    wrong = " ".join(["acadmic", *typed[1][1:]])
    lines = [*first, wrong, first[0] + " " + first[1], " ".join(typed[1]).upper()]
    lines += [block[0], block[2], *(line.lower()[4:] for line in block[1:])]
    code, out = at_terminal(centre, ["keys", "shares", "join", "--into", "back.key"], lines)
    assert code == 0, out
    assert "word 1 of share 2" in out
    assert "near it: academic" in out
    assert "share 1 is at hand already" in out
    assert "line 2" in out
    assert (centre.root / "back.key").read_bytes() == (centre.root / "keys" / "recovery.key").read_bytes()

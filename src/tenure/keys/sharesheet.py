"""A share on paper: what it is, what to do with it, its words, and the key block; as text and as a page to print."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from tenure.domain.errors import KeyMismatchError, KeyUnavailableError
from tenure.keys import sharewords
from tenure.keys.shareblock import block_of, lines_of, repository_of
from tenure.keys.sharewords import Words

_MOST_BYTES = 64 * 1024  # a sheet is far smaller; whatever is larger is another file
_COLUMNS = 3
_WORDS_HEADING = "WORDS"
_BLOCK_HEADING = "KEY BLOCK"
_NUMBERED = re.compile(r"(\d{1,2})[.:)]?\s+([A-Za-z]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A share to be printed. `of`: shares in the set; `key_name`: of the recovery key; `made`: when, UTC."""

    words: Words = field(repr=False)
    block: bytes = field(repr=False)
    of: int
    key_name: str
    made: datetime

    @property
    def name(self) -> str:
        """Return its file's name, without ending."""
        return f"share-{self.words.number}-of-{self.of}"

    @property
    def title(self) -> str:
        """Return what it is, in a line."""
        return f"Tenure recovery key: share {self.words.number} of {self.of}. Any {self.words.need} open it."

    def facts(self) -> list[tuple[str, str]]:
        """Return what a finder has to know first."""
        return [
            ("repository", repository_of(self.block)),
            ("key", self.key_name),
            ("set", f"{self.words.set_id:05}"),
            ("made", f"{self.made:%Y-%m-%d %H:%M} UTC"),
        ]

    def advice(self) -> list[str]:
        """Return what to do, in sentences."""
        more, set_id = self.words.need - 1, f"set {self.words.set_id:05}"
        whose = (
            f"With {more} more {'sheet' if more == 1 else 'sheets'} of {set_id} whoever holds this one reads every"
            " snapshot of this repository. Alone it opens nothing."
        )
        keep = (
            "Keep it on paper, locked away, in another place and with another person than the other sheets. Do not"
            " photograph it, mail it, or leave the file on a machine."
        )
        use = (
            f"To restore, put {self.words.need} sheets together on a machine with Tenure; nothing else is needed but"
            " the addresses of the object store and of one key store:"
        )
        command = (
            f"tenure restore SOURCE --to FOLDER --repository ADDRESS --key-store ADDRESS{self.options()}"
        )
        typing = "Where there is only paper, `tenure keys shares join --into FILE` asks for the words and the key block."
        end = "A rotation of keys makes a new recovery key; destroy this sheet then, and make new ones."
        return [whose, keep, use, command, typing, end]

    def options(self) -> str:
        """Return the options of a command that takes enough sheets."""
        numbers = [self.words.number, *(n for n in range(1, self.of + 1) if n != self.words.number)]
        return "".join(f" --recovery-share share-{n}-of-{self.of}.txt" for n in numbers[: self.words.need])


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A share somebody handed in. `block` is None where only words were given; `where`: on what."""

    words: Words = field(repr=False)
    block: bytes | None = field(repr=False)
    where: str


def as_text(sheet: Sheet) -> str:
    """Return a sheet as text of 78 columns."""
    words = sheet.words.words()
    rows = (len(words) + _COLUMNS - 1) // _COLUMNS
    lines = [sheet.title.upper(), ""]
    lines += [f"{name:<12}{value}" for name, value in sheet.facts()]
    for sentence in sheet.advice():
        lines += ["", *_wrapped(sentence)]
    lines += ["", "", f"{_WORDS_HEADING} (of this sheet alone; the last three check the others)", ""]
    for row in range(rows):
        numbers = range(row, len(words), rows)
        lines.append("".join(f"   {n + 1:2}  {words[n]:<16}" for n in numbers).rstrip())
        lines.append("")
    lines += ["", f"{_BLOCK_HEADING} (the same on all sheets of set {sheet.words.set_id:05})", ""]
    lines += lines_of(sheet.block)
    return "\n".join(lines) + "\n"


def as_page(sheet: Sheet) -> str:
    """Return a sheet as one HTML page that needs nothing else, for printing."""
    return _PAGE.substitute(
        title=escape(sheet.title),
        facts="".join(f"<tr><th>{escape(n)}<td>{escape(v)}" for n, v in sheet.facts()),
        advice="".join(f"<p>{_marked(s)}" for s in sheet.advice()),
        words="".join(f"<li>{escape(w)}" for w in sheet.words.words()),
        set=f"{sheet.words.set_id:05}",
        block=escape("\n".join(lines_of(sheet.block))),
    )


def read_sheet(path: Path) -> Found:
    """Read a sheet's text file, as it was written or typed off the paper.

    Raises:
        KeyUnavailableError: It is missing or unreadable.
        KeyMismatchError: It is no sheet, or something in it was copied wrongly; the message says what.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as e:
        raise KeyUnavailableError(
            f"share sheet {path} cannot be read: {e.strerror}", hint="check its path, or take another sheet"
        ) from e
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if len(content) > _MOST_BYTES:
        text = ""
    return parse(text, where=str(path))


def parse(text: str, *, where: str) -> Found:
    """Return the share in a sheet's text.

    Raises:
        KeyMismatchError: See `read_sheet`.
    """
    if text.lstrip().lower().startswith("<!doctype"):
        raise KeyMismatchError(f"{where} is the page for printing", hint="name the sheet's text file (.txt)")
    lines = text.splitlines()
    starts = {
        h: i for i, line in enumerate(lines) for h in (_WORDS_HEADING, _BLOCK_HEADING) if line.startswith(h)
    }
    if _WORDS_HEADING not in starts:
        raise KeyMismatchError(
            f"{where} is no share sheet: it has no line that begins with {_WORDS_HEADING}",
            hint="name the text files that `tenure keys shares make` wrote, or typed copies of them",
        )
    begin, end = starts[_WORDS_HEADING] + 1, starts.get(_BLOCK_HEADING, len(lines))
    words = sharewords.read(_in_order(lines[begin:end], where), where=where)
    left = [line for line in lines[end + 1 :] if line.strip()]
    return Found(words=words, block=block_of(left, where=where) if left else None, where=where)


def _in_order(lines: Sequence[str], where: str) -> list[str]:
    """Return words by the numbers that stand before them."""
    found: dict[int, str] = {}
    for number, word in _NUMBERED.findall("\n".join(lines)):
        if int(number) in found:
            raise KeyMismatchError(f"{where} has two words with number {number}")
        found[int(number)] = word
    if not found:
        raise KeyMismatchError(
            f"{where} holds no words", hint="words stand with their numbers: 1 academic  2 acid"
        )
    missing = [n for n in range(1, sharewords.WORDS + 1) if n not in found]
    if missing:
        raise KeyMismatchError(f"{where} lacks word {', '.join(map(str, missing[:5]))}")
    return [found[n] for n in sorted(found)]


def _wrapped(sentence: str, width: int = 78) -> list[str]:
    if sentence.startswith("tenure "):
        return ["    " + sentence]  # to be copied whole
    lines, line = list[str](), ""
    for word in sentence.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def _marked(sentence: str) -> str:
    return f"<code>{escape(sentence)}</code>" if sentence.startswith("tenure ") else escape(sentence)


_PAGE = Template("""\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>$title</title>
<style>
@page { size: A4; margin: 15mm }
body { font: 11pt/1.4 sans-serif; max-width: 180mm; margin: 0 auto; color: #000; background: #fff }
h1 { font-size: 17pt } h2 { font-size: 13pt; margin: 6mm 0 2mm }
th { text-align: left; padding-right: 6mm } td, code, pre, li { font-family: monospace }
ol { columns: 3; font-size: 15pt; line-height: 1.75; padding-left: 12mm; margin: 0 }
pre { font-size: 11pt; line-height: 1.6; margin: 0 } code { font-size: 9pt; overflow-wrap: anywhere }
p { margin: 2mm 0 }
</style>
<h1>$title</h1>
<table>$facts</table>
$advice
<h2>Words (of this sheet alone; the last three check the others)</h2>
<ol>$words</ol>
<h2>Key block (the same on all sheets of set $set)</h2>
<pre>$block</pre>
</html>
""")

"""Problems of rule files, gathered so that one run shows all of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from tenure.domain.errors import RuleError


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A line of a file, counted from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """What is wrong, and where."""

    place: Place
    what: str

    def __str__(self) -> str:
        """Return ``file:line: what is wrong``."""
        return f"{self.place.file}:{self.place.line}: {self.what}"


class Problems:
    """Gathers problems while files are read; nothing is decided as long as there is one."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def __len__(self) -> int:
        """Return how many were found."""
        return len(self._found)

    def add(self, place: Place, what: str) -> None:
        """Note a problem."""
        self._found.append(Problem(place=place, what=what))

    def found(self) -> tuple[Problem, ...]:
        """Return all of them by file and line, each once."""
        return tuple(sorted(set(self._found)))

    def stop_if_any(self) -> None:
        """Raise where something was found.

        Raises:
            RuleError: The message holds every problem, one a line.
        """
        if self._found:
            raise RuleError("\n".join(str(p) for p in self.found()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean `X`?`` for the nearest known word, else what can be said, else nothing."""
    words = sorted(set(known))
    folded = {w.casefold().replace("_", " "): w for w in reversed(words)}
    near = get_close_matches(word.casefold().replace("_", " "), list(folded), n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{folded[near[0]]}`?"
    if words and len(words) <= 12:
        return "; it can be " + ", ".join(f"`{w}`" for w in words)
    return ""

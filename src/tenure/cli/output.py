"""Standard output that says so when it cannot be written: a full disk behind it, perhaps."""

import os
from typing import Any, TextIO

import click

UNWRITTEN = 120
"""Exit code where what was printed could not be written; Python's own number for it."""


class UnwrittenError(click.ClickException):
    """What a command printed did not arrive."""

    exit_code = UNWRITTEN

    def __init__(self, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno else str(error)
        super().__init__(
            f"the output could not be written: {reason}. What the command had done by then stands; "
            "run `tenure status` to see where things are"
        )


class Told:
    """A text stream whose failures end the command with their reason, not as a bug.

    A reader that went away (`| head`) is no failure: that error goes on to whoever knows what to do.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text.

        Raises:
            UnwrittenError: It could not be written.
        """
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError as e:
            raise UnwrittenError(e) from e

    def flush(self) -> None:
        """Hand on what was written.

        Raises:
            UnwrittenError: It could not be written.
        """
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as e:
            raise UnwrittenError(e) from e

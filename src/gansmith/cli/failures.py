"""The one door for failures of the system: a full disk, a forbidden folder, no memory, a closed output."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gansmith.errors import GansmithError, explain

__all__ = ["one_line", "output_may_close"]

_WITH_FIELDS = ("data", "demo", "resume", "train")  # verbs whose options are fields of the configuration
_FIELD = re.compile(r"(?<![\w./\\])config\.(?!json\b|toml\b)([a-z_]\w*(?:\.\w+|\[\d+\])*)")


def one_line(error: Exception, verb: str = "") -> str | None:
    """Return the line that the command line prints of an error; None for an unexpected one, which is a bug.

    Args:
        error: what stopped the command.
        verb: of the command; where it takes the configuration's fields as options, they are named as they are typed.
    """
    text = str(error) if isinstance(error, GansmithError) else explain(error)
    if text is None:
        return None
    return _with_options(" ".join(text.split())) if verb in _WITH_FIELDS else " ".join(text.split())


def _with_options(line: str) -> str:
    """``config.penalties[0].gamma`` is typed as ``--penalties.0.gamma``."""
    return _FIELD.sub(lambda found: "--" + re.sub(r"\[(\d+)\]", r".\1", found[1]), line)


@contextmanager
def output_may_close() -> Iterator[None]:
    """Go on quietly when the reader of standard output has gone, as in ``gansmith train DATA | head -1``.

    Raises:
        OSError: the rest of the output cannot be written for another reason.
    """
    before = sys.stdout
    if before is None:  # closed from the start: print and rich write nowhere
        yield
        return
    sys.stdout = _Output(before)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = before


class _Output:
    """Standard output, of which a closed pipe is no failure."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text, or drop it once the pipe is closed."""
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it once the pipe is closed."""
        self._attempt(self.stream.flush)

    def _attempt(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BrokenPipeError:
            _discard(self.stream)
        except OSError as error:
            _discard(self.stream)  # or the interpreter fails once more when it ends
            raise OSError(error.errno, error.strerror, "standard output") from error


def _discard(stream: Any) -> None:
    """Send all that is still to be written to nowhere."""
    try:
        number = stream.fileno()
    except (io.UnsupportedOperation, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)

"""Formats errors for the command line, and handles a closed standard output."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gansmith.errors import GansmithError, explain

__all__ = ["allow_closed_output", "format_failure"]

_WITH_FIELDS = ("data", "demo", "resume", "train")  # commands whose options are fields of the configuration
_FIELD = re.compile(r"(?<![\w./\\])config\.(?!json\b|toml\b)([a-z_]\w*(?:\.\w+|\[\d+\])*)")


def format_failure(error: Exception, verb: str = "") -> str | None:
    """Return the line that the command line prints for an error; None for an unexpected one, which is a bug.

    Args:
        error: the exception that stopped the command.
        verb: the command's name. If its options are fields of the configuration, the line names them as options.
    """
    text = str(error) if isinstance(error, GansmithError) else explain(error)
    if text is None:
        return None
    return _with_options(" ".join(text.split())) if verb in _WITH_FIELDS else " ".join(text.split())


def _with_options(line: str) -> str:
    """Replace fields by options: ``config.penalties[0].gamma`` becomes ``--penalties.0.gamma``."""
    return _FIELD.sub(lambda found: "--" + re.sub(r"\[(\d+)\]", r".\1", found[1]), line)


@contextmanager
def allow_closed_output() -> Iterator[None]:
    """Ignore that the reader of standard output has closed it, as in ``gansmith train DATA | head -1``.

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
    """A wrapper of standard output that ignores a closed pipe."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text; drop it if the pipe is closed."""
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the buffer; drop it if the pipe is closed."""
        self._attempt(self.stream.flush)

    def _attempt(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BrokenPipeError:
            _discard(self.stream)
        except OSError as error:
            _discard(self.stream)  # otherwise the interpreter fails again at exit
            raise OSError(error.errno, error.strerror, "standard output") from error


def _discard(stream: Any) -> None:
    """Redirect everything still to be written to the null device."""
    try:
        number = stream.fileno()
    except (io.UnsupportedOperation, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)

"""The errors that gansmith raises.

    GansmithError            a problem that the user can fix; the command line prints it in one line and exits with 2
    ├── ConfigError          a value in the configuration is wrong
    ├── DataError            a data set cannot be used
    │   └── UnreadableImage  one image cannot be decoded; the store skips it and counts it
    ├── RunError             a run folder cannot be used
    │   └── DamagedCheckpoint  a checkpoint's files have changed since they were saved
    ├── MetricError          a metric cannot be computed from these images
    ├── ExportError          a generator cannot be exported
    ├── MissingExtra         an optional package is not installed
    └── TrainingDiverged     a loss or a weight is NaN or infinite

A message is one line: where, what was found, what was expected, what to do.
"""

from __future__ import annotations

import difflib
import errno
import functools
import logging
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "ConfigError",
    "DamagedCheckpoint",
    "DataError",
    "ExportError",
    "GansmithError",
    "MetricError",
    "MissingExtra",
    "RunError",
    "TrainingDiverged",
    "UnreadableImage",
    "command",
    "describe_failure",
    "did_you_mean",
    "explain",
    "tell",
]


class GansmithError(Exception):
    """A problem that the user can fix."""


class ConfigError(GansmithError):
    """A value in the configuration is wrong."""


class DataError(GansmithError):
    """A data set cannot be used."""


class UnreadableImage(DataError):
    """One image cannot be decoded."""


class RunError(GansmithError):
    """A run folder cannot be used."""


class DamagedCheckpoint(RunError):
    """The files of a checkpoint have changed since they were saved."""


class MetricError(GansmithError):
    """A metric cannot be computed from these images; it is reported as missing."""


class ExportError(GansmithError):
    """A generator cannot be exported."""


class TrainingDiverged(GansmithError):
    """A loss or a weight is NaN or infinite."""


class MissingExtra(GansmithError):
    """An optional package is not installed.

    Args:
        package: the name by which it is imported.
        extra: the extra of gansmith that installs it.
        purpose: what it is needed for, as in "to write MP4 files".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{package} is needed {purpose}; install it with: pip install 'gansmith[{extra}]'")


def command(*words: str | Path) -> str:
    """Return a command that can be pasted into a shell: ``gansmith resume 'my run'``.

    Args:
        words: the words after "gansmith". A path that begins with a dash is prefixed with ``./``.
    """
    return shlex.join(["gansmith", *(_as_word(word) for word in words)])


def _as_word(word: str | Path) -> str:
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the most similar known word, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"expected one of {', '.join(names)}" if names else "nothing is expected here"


# remedy by errno
_REMEDIES = {
    errno.ENOSPC: "free space on that disk, then repeat the command; a run continues with: gansmith resume RUN",
    errno.EDQUOT: "free space within your quota, then repeat the command; a run continues with: gansmith resume RUN",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or write to another disk",
    errno.EROFS: "choose a folder that can be written (--run, --out; GANSMITH_CACHE for the cache)",
    errno.EACCES: "change its permissions, or choose another folder (--run, --out; GANSMITH_CACHE for the cache)",
    errno.EPERM: "change its permissions, or choose another folder (--run, --out; GANSMITH_CACHE for the cache)",
    errno.ENOENT: "it may have been moved or removed; check the path, or put it back",
    errno.ENOTDIR: "a part of this path is a file; choose another path",
    errno.EISDIR: "expected a file; name a file in this folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the symbolic link",
    errno.EMFILE: "raise the limit of open files (ulimit -n 4096), then repeat the command",
    errno.ENFILE: "close other programs, then repeat the command",
    errno.ENOMEM: "close other programs, or choose a smaller batch, model or image size",
    errno.EIO: "check the disk, or choose a folder on another one",
    errno.ESTALE: "the network folder was replaced; open it again, then repeat the command",
}
_SMALLER = "close other programs, or choose a smaller batch, model or image size (--batch_size, --model.width, --size)"


def explain(error: BaseException, run: object = None) -> str | None:
    """Return one line about a system failure, with path and remedy; None if the error is not a system failure.

    Args:
        error: the exception.
        run: folder of the run that it ended, if any.
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        line = _explain_system(error.errno, error.strerror or text, error.filename or run)
        return line if run is None else line.replace("gansmith resume RUN", f"gansmith resume {run}")
    if type(error).__name__ == "SafetensorError":  # not imported here: its files carry the number of the system's error
        number = re.search(r"os error (\d+)", text)
        if number:
            return _explain_system(int(number[1]), os.strerror(int(number[1])), "a file of weights")
        return f"a file of weights: {text}; it is damaged or incomplete; use another checkpoint or a copy"
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search("out of memory|not enough memory|can't allocate memory", text)
    ):
        return f"not enough memory{f' ({text})' if text else ''}; {_SMALLER}"
    if isinstance(error, RecursionError):
        return f"the configuration or a file is nested too deeply ({text}); reduce the nesting"
    return None


def describe_failure(error: BaseException) -> str:
    """Return one line about any exception, for status.json."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    if isinstance(error, GansmithError):
        return str(error)
    return explain(error) or f"an error that gansmith did not expect ({type(error).__name__}: {error})"


def _explain_system(number: int | None, reason: str, path: object) -> str:
    where = os.fsdecode(path) if isinstance(path, bytes) else "a file" if path is None else str(path)
    remedy = _REMEDIES.get(number or 0, "check the path and its disk, then repeat the command")
    return f"{where}: {reason[:1].lower()}{reason[1:]}; {remedy}"


@functools.lru_cache(maxsize=1000)
def tell(sentence: str) -> None:
    """Print a note about a workaround to standard error, once per process, by the logger "gansmith"."""
    logging.getLogger("gansmith").warning("note: %s", sentence)

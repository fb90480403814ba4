"""Everything gansmith raises on purpose.

    GansmithError            a mistake that the user can mend; the command line prints it in one line, exit 2
    ├── ConfigError          a value in the configuration is wrong
    ├── DataError            a data set cannot be used
    │   └── UnreadableImage  one image cannot be decoded; the store skips it and counts it
    ├── RunError             a run folder cannot be used
    │   └── DamagedCheckpoint  a checkpoint's files are not those that were saved
    ├── MetricError          a figure cannot be had from these images
    ├── MissingExtra         an optional package is not installed
    └── TrainingDiverged     a loss or a weight is no longer a number

Every message says where, what, what was expected and what to do, in one line.
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
    "GansmithError",
    "MetricError",
    "MissingExtra",
    "RunError",
    "TrainingDiverged",
    "UnreadableImage",
    "command",
    "did_you_mean",
    "explain",
    "in_words",
    "tell",
]


class GansmithError(Exception):
    """A mistake that the user can mend."""


class ConfigError(GansmithError):
    """A value in the configuration is wrong."""


class DataError(GansmithError):
    """A data set cannot be used."""


class UnreadableImage(DataError):
    """One image cannot be decoded."""


class RunError(GansmithError):
    """A run folder cannot be used."""


class DamagedCheckpoint(RunError):
    """The files of a checkpoint are not those that were saved."""


class MetricError(GansmithError):
    """A figure cannot be had from these images; it is then reported as missing, never as a number."""


class TrainingDiverged(GansmithError):
    """A loss or a weight is no longer a number."""


class MissingExtra(GansmithError):
    """An optional package is not installed.

    Args:
        package: the name to import.
        extra: the extra of gansmith that brings it.
        purpose: what it is needed for, as in "to write MP4 files".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{package} is needed {purpose}; install it with: pip install 'gansmith[{extra}]'")


def command(*words: str | Path) -> str:
    """A command that can be pasted into a shell: ``gansmith resume 'my run'``.

    Args:
        words: what follows "gansmith". A path that begins with a dash is written so that it is no option.
    """
    return shlex.join(["gansmith", *(_as_word(word) for word in words)])


def _as_word(word: str | Path) -> str:
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"expected one of {', '.join(names)}" if names else "nothing is expected here"


# errno: what to do
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
    """One line for a failure of the system, with the path and the remedy; None if the error is none.

    Args:
        error: what was raised.
        run: the folder of the run that it ended, if there is one.
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        line = _explain_system(error.errno, error.strerror or text, error.filename or run)
        return line if run is None else line.replace("gansmith resume RUN", f"gansmith resume {run}")
    if type(error).__name__ == "SafetensorError":  # not imported here: its files carry the number of the system's error
        number = re.search(r"os error (\d+)", text)
        if number:
            return _explain_system(int(number[1]), os.strerror(int(number[1])), "a file of weights")
        return f"a file of weights: {text}; it is damaged or incomplete: use another checkpoint or a copy"
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search("out of memory|not enough memory|can't allocate memory", text)
    ):
        return f"not enough memory{f' ({text})' if text else ''}; {_SMALLER}"
    if isinstance(error, RecursionError):
        return f"something is nested too deeply ({text}); make the configuration or the file flatter"
    return None


def in_words(error: BaseException) -> str:
    """The reason of a failure for status.json, in one line, whatever it is."""
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
    """Print a note to standard error, once a process: something was worked around. It is logged as "gansmith"."""
    logging.getLogger("gansmith").warning("note: %s", sentence)

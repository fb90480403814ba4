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
import functools
import logging
from collections.abc import Iterable

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
    "did_you_mean",
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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"expected one of {', '.join(names)}" if names else "nothing is expected here"


@functools.lru_cache(maxsize=1000)
def tell(sentence: str) -> None:
    """Print a note to standard error, once a process: something was worked around. It is logged as "gansmith"."""
    logging.getLogger("gansmith").warning("note: %s", sentence)

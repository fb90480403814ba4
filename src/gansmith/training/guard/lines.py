"""The lines of statistics as the guard reads them: averaged over 5,000 images, where a short run writes more lines.

The thresholds of the detectors were measured on such lines; shorter intervals are noisier.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

__all__ = ["GUARD_NIMG", "average_lines", "group_lines", "is_guard_line"]

GUARD_NIMG = 5000


def is_guard_line(previous_nimg: int, nimg: int) -> bool:
    """Whether a line ends one of the guard's intervals, given the images seen at the line before."""
    return nimg // GUARD_NIMG > previous_nimg // GUARD_NIMG


def average_lines(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return one line for several: the progress of the last, and the mean of all else over the lines that have it."""
    keys = dict.fromkeys(key for line in lines for key in line)
    return {
        key: lines[-1][key]
        if key.startswith("progress/")
        else statistics.fmean(line[key] for line in lines if key in line)
        for key in keys
    }


def group_lines(
    lines: Sequence[Mapping[str, float]],
) -> tuple[list[Mapping[str, float]], list[Mapping[str, float]]]:
    """Return the guard's lines, and the lines since its last interval ended."""
    averaged: list[Mapping[str, float]] = []
    rest: list[Mapping[str, float]] = []
    previous = 0
    for line in lines:
        rest.append(line)
        nimg = int(line["progress/nimg"])
        if is_guard_line(previous, nimg):
            averaged.append(average_lines(rest))
            rest = []
        previous = nimg
    return averaged, rest

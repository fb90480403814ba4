"""Ways to compute the 95 % intervals of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gansmith.metrics.metric import Estimate

__all__ = ["CONFIDENCE", "average_shares", "bootstrap", "normal", "wilson"]

CONFIDENCE = 0.95


def bootstrap(
    statistic: Callable[..., ArrayLike], sizes: Sequence[int], *, seed: int, replicates: int
) -> NDArray[np.float64]:
    """Return the standard error of one or more values, by resampling images with replacement (Efron 1979).

    Args:
        statistic: takes the number of times that each image was drawn, one array int64 [size] for each of ``sizes``;
            returns a number or an array.
        sizes: number of images in each sample; the samples are drawn independently.
        seed: of the draws; the first replicates do not depend on their number.
        replicates: number of replicates, at least 2.

    Returns:
        float64, in the shape that ``statistic`` returns.
    """
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(replicates):
        counts = [np.bincount(draw.integers(size, size=size), minlength=size) for size in sizes]
        found.append(np.asarray(statistic(*counts), np.float64))
    return np.asarray(np.std(found, axis=0, ddof=1))


def normal(
    value: float,
    standard_error: float,
    interval: str,
    *,
    freedom: float = math.inf,
    within: tuple[float, float] = (-math.inf, math.inf),
    note: str = "",
) -> Estimate:
    """Return an estimate with a symmetric interval from Student's t distribution.

    Args:
        value: the estimated value.
        standard_error: of the value, at least 0.
        interval: the method of the standard error, for example "bootstrap of 100".
        freedom: degrees of freedom of the standard error; if infinite, the interval is 1.96 errors on both sides.
        within: smallest and largest possible value; the interval is clipped to them.
        note: see ``Estimate``.
    """
    from scipy import stats  # which takes most of a second to import, and sampling needs none of it

    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * standard_error
    low, high = max(within[0], value - reach), min(within[1], value + reach)
    return Estimate(value=value, low=low, high=high, interval=interval, note=note)


def wilson(successes: int, total: int, *, note: str = "") -> Estimate:
    """Return a share with Wilson's score interval (1927), which also holds for few images and for 0 and 1.

    Args:
        successes: from 0 to ``total``.
        total: at least 1.
        note: see ``Estimate``.
    """
    from scipy import stats

    found = stats.binomtest(successes, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(value=successes / total, low=float(found.low), high=float(found.high), interval="Wilson", note=note)


def average_shares(shares: Sequence[Estimate], *, note: str = "") -> Estimate:
    """Return the unweighted mean of independent shares, with the interval of Zou and Donner (2008).

    Args:
        shares: at least one, from ``wilson``.
        note: see ``Estimate``.
    """
    value = sum(share.value for share in shares) / len(shares)
    below = math.hypot(*(share.value - share.low for share in shares)) / len(shares)
    above = math.hypot(*(share.high - share.value for share in shares)) / len(shares)
    return Estimate(value=value, low=value - below, high=value + above, interval="Wilson, combined", note=note)

"""The few ways to a 95 % interval that all metrics share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gansmith.metrics.metric import Estimate

__all__ = ["CONFIDENCE", "average_shares", "bootstrap", "normal", "wilson"]

CONFIDENCE = 0.95


def bootstrap(
    statistic: Callable[..., ArrayLike], sizes: Sequence[int], *, seed: int, replicates: int
) -> NDArray[np.float64]:
    """The standard error of one or more figures, by drawing the images anew with replacement (Efron 1979).

    Args:
        statistic: of how often each image was drawn, one array int64 [size] for each of ``sizes``; it gives a
            number or several.
        sizes: how many images each sample has; the samples are drawn independently of each other.
        seed: of the draws; the first replicates are the same however many there are.
        replicates: how often, at least 2.

    Returns:
        float64, in the shape of what ``statistic`` gives.
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
    """A figure with as many standard errors on both sides as Student's t distribution asks for.

    Args:
        value: the figure.
        standard_error: at least 0.
        interval: how the standard error was found, as "bootstrap of 100".
        freedom: degrees of freedom that it was found with; without an end, 1.96 errors on both sides.
        within: the least and the largest number that the figure can be; the interval ends there.
        note: see ``Estimate``.
    """
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * standard_error
    low, high = max(within[0], value - reach), min(within[1], value + reach)
    return Estimate(value=value, low=low, high=high, interval=interval, note=note)


def wilson(successes: int, total: int, *, note: str = "") -> Estimate:
    """A share with Wilson's score interval (1927), which holds for shares of 0 and 1 and for few images too.

    Args:
        successes: from 0 to ``total``.
        total: at least 1.
        note: see ``Estimate``.
    """
    found = stats.binomtest(successes, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(value=successes / total, low=float(found.low), high=float(found.high), interval="Wilson", note=note)


def average_shares(shares: Sequence[Estimate], *, note: str = "") -> Estimate:
    """The unweighted mean of independent shares; their intervals' arms are added as squares (Zou and Donner 2008).

    Args:
        shares: at least one, as ``wilson`` gives them.
        note: see ``Estimate``.
    """
    value = sum(share.value for share in shares) / len(shares)
    below = math.hypot(*(share.value - share.low for share in shares)) / len(shares)
    above = math.hypot(*(share.high - share.value for share in shares)) / len(shares)
    return Estimate(value=value, low=value - below, high=value + above, interval="Wilson, combined", note=note)

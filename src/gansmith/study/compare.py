"""Statistics of variants over few seeds: means, paired tests, effect sizes, detectable differences."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from gansmith.study.results import Interval

__all__ = [
    "CONFIDENCE",
    "POWER",
    "SIGNIFICANT",
    "compare_paired",
    "detectable",
    "hedges_g",
    "holm",
    "least_p_of_signs",
    "mcnemar",
    "mean_interval",
    "share_interval",
    "sign_flips",
]

CONFIDENCE = 0.95
SIGNIFICANT = 0.05  # two-sided
POWER = 0.8
NODES = 400  # of the quadrature; six digits of a probability
EXACT = 2**16  # sign flips that are all tried; if there are more, this many are drawn


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean with Student's t interval; a single value has none."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(value=mean)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * _deviation(values) / math.sqrt(len(values))
    return Interval(value=mean, low=mean - half, high=mean + half)


def share_interval(count: int, of: int) -> Interval:
    """Return a share with its exact binomial interval (Clopper and Pearson 1934)."""
    found = stats.binomtest(count, of).proportion_ci(CONFIDENCE, method="exact")
    return Interval(value=count / of, low=float(found.low), high=float(found.high))


def compare_paired(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Compare the means of two variants, paired by seed.

    Args:
        first: of one variant.
        second: of the other, in the same order of seeds.

    Returns:
        Fields of a ``PairedComparison``, second minus first. Tests and effect are left out if the differences do not
        vary, or are fewer than 2 (for the effect: 3).
    """
    differences = np.subtract(second, first)
    found: dict[str, Any] = {"difference": mean_interval(differences.tolist())}
    if len(differences) < 2:
        return found
    found["p_permutation"] = sign_flips(differences)
    if not _varies(differences):
        return found if differences.any() else {**found, "p_t": 1.0}
    found["p_t"] = float(stats.ttest_rel(second, first).pvalue)
    found["detectable"] = detectable(len(differences)) * _deviation(differences)
    return {**found, "effect": hedges_g(differences)} if len(differences) >= 3 else found


def sign_flips(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p value of a mean difference by the exact sign-flip test.

    It assumes only that the differences are distributed symmetrically about 0 if the variants are alike. All signs are
    tried for up to 16 pairs, so that it is exact; it cannot be less than ``least_p_of_signs``.
    """
    result = stats.permutation_test(
        (differences,),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        n_resamples=EXACT,
        vectorized=True,
        random_state=0,
    )
    return float(result.pvalue)


def least_p_of_signs(pairs: int) -> float:
    """Return the p value of the exact tests if all pairs agree."""
    return min(1.0, 2.0 ** (1 - pairs))


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the exact p value of two shares from pairs of 0 and 1 (McNemar 1947); only pairs that differ count."""
    ups = sum(one < other for one, other in zip(first, second, strict=True))
    downs = sum(one > other for one, other in zip(first, second, strict=True))
    return float(stats.binomtest(ups, ups + downs).pvalue) if ups + downs else 1.0


def hedges_g(differences: NDArray[np.float64]) -> Interval:
    """Return Hedges' g of paired differences: their mean by their deviation (Cohen's d_z), corrected for small samples.

    The correction is the exact one (Hedges 1981); the interval is that of the noncentral t distribution.

    Args:
        differences: at least 3, which vary.
    """
    pairs, freedom = len(differences), len(differences) - 1
    d_z = float(np.mean(differences)) / _deviation(differences)
    log_factor = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2) - math.log(freedom / 2) / 2
    factor = math.exp(log_factor)
    observed = d_z * math.sqrt(pairs)
    low, high = (_noncentrality(observed, freedom, share) for share in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2))
    scale = factor / math.sqrt(pairs)
    return Interval(value=d_z * factor, low=low * scale, high=high * scale)


def detectable(pairs: int) -> float:
    """Return the true mean difference, in deviations of the differences, that a paired t-test detects.

    With a probability of ``POWER``, at the level ``SIGNIFICANT`` without correction.

    Args:
        pairs: at least 2.
    """
    freedom = pairs - 1
    critical = float(stats.t.ppf(1 - SIGNIFICANT / 2, freedom))

    def lacking(effect: float) -> float:
        centre = effect * math.sqrt(pairs)
        return 1 - _noncentral_t(critical, freedom, centre) + _noncentral_t(-critical, freedom, centre) - POWER

    return float(optimize.brentq(lacking, 0.0, 4 * critical))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _noncentrality(observed: float, freedom: int, share: float) -> float:
    """Return the noncentrality at which a share of t values lies below the observed one."""

    def excess(centre: float) -> float:
        return _noncentral_t(observed, freedom, centre) - share

    reach = 10.0 + 4 * abs(observed)
    return float(optimize.brentq(excess, observed - reach, observed + reach))


def _noncentral_t(value: float, freedom: int, centre: float) -> float:
    """Return P(T <= value) of the noncentral t distribution: the normal one, averaged over the sample deviation.

    SciPy's own (1.17) is NaN far from the centre, where the searches above begin.
    """
    scales, weights = _deviations(freedom)
    return float(weights @ special.ndtr(value * scales - centre))


@functools.cache
def _deviations(freedom: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sample deviations of a true deviation of 1 and their probabilities: the quadrature's nodes and weights."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom), weights / 2


def _deviation(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.std(values, ddof=1))


def _varies(differences: NDArray[np.float64]) -> bool:
    """Return whether they differ by more than rounding."""
    return float(np.ptp(differences)) > 1e-12 * float(np.abs(differences).max())

"""Intervals hold what they promise: known standard errors, Wilson's bounds, and the truth in 95 of 100 draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from gansmith.errors import MetricError
from gansmith.metrics.intervals import average_shares, bootstrap, normal, wilson
from gansmith.metrics.metric import Estimate


def test_the_bootstrap_finds_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=1000)

    def mean_and_constant(counts: NDArray[np.int64]) -> tuple[float, float]:
        return counts @ values / len(values), 1.0

    error, nothing = bootstrap(mean_and_constant, [1000], seed=1, replicates=400)
    assert error == pytest.approx(values.std() / math.sqrt(1000), rel=0.1)
    assert nothing == 0


def test_the_bootstrap_draws_each_sample_by_itself() -> None:
    seen: list[tuple[int, ...]] = []

    def sizes(*counts: NDArray[np.int64]) -> float:
        seen.append(tuple(int(count.sum()) for count in counts))
        return float(np.array_equal(counts[0], counts[1]))

    assert bootstrap(sizes, [50, 50, 7], seed=0, replicates=3).shape == ()
    assert seen == [(50, 50, 7)] * 3
    assert bootstrap(sizes, [50, 50], seed=0, replicates=20) == 0  # never the same draw twice


def test_two_replicates_differ_by_the_root_of_two_standard_errors() -> None:
    values, seen = np.arange(20.0), list[float]()

    def total(counts: NDArray[np.int64]) -> float:
        seen.append(float(counts @ values))
        return seen[-1]

    assert bootstrap(total, [20], seed=0, replicates=2) == pytest.approx(abs(seen[0] - seen[1]) / math.sqrt(2))


def test_the_bootstrap_is_a_function_of_its_seed() -> None:
    values = np.arange(20.0)
    one, same, other = (bootstrap(lambda counts: counts @ values, [20], seed=seed, replicates=9) for seed in (3, 3, 4))
    assert one == same != other


def test_a_normal_interval_widens_with_few_degrees_of_freedom_and_keeps_within_what_can_be() -> None:
    estimate = normal(1.0, 0.1, "told", note="so")
    assert (estimate.low, estimate.high) == pytest.approx((1 - 0.1959964, 1 + 0.1959964))
    assert (estimate.interval, estimate.note) == ("told", "so")
    assert normal(1.0, 0.1, "told", freedom=9).high == pytest.approx(1.2262157)
    assert normal(0.9, 1.0, "told", within=(0, 1)).low == 0
    assert normal(0.9, 1.0, "told", within=(0, 1)).high == 1
    with pytest.raises(MetricError, match="expected finite numbers"):
        normal(1.0, math.nan, "told")


def test_wilson_at_the_ends() -> None:
    z = stats.norm.ppf(0.975)
    assert wilson(0, 10).low == 0
    assert wilson(0, 10).high == pytest.approx(z**2 / (10 + z**2))
    assert wilson(10, 10).low == pytest.approx(10 / (10 + z**2))
    assert wilson(10, 10).high == 1
    assert wilson(3, 10).value == pytest.approx(0.3)


def test_the_truth_lies_in_about_95_of_100_intervals() -> None:
    draw = np.random.default_rng(0)
    truth, classes = (0.9, 0.7, 0.99), 3
    single = joint = 0
    for _ in range(400):
        shares = [wilson(int(draw.binomial(60, share)), 60) for share in truth]
        single += shares[0].low <= truth[0] <= shares[0].high
        mean = average_shares(shares)
        joint += mean.low <= sum(truth) / classes <= mean.high
    assert 0.92 <= single / 400 <= 0.98
    assert 0.92 <= joint / 400 <= 0.985


def test_the_mean_of_four_equal_shares_is_twice_as_sure() -> None:
    share, mean = wilson(3, 10), average_shares([wilson(3, 10)] * 4)
    assert mean.value == pytest.approx(share.value)
    assert mean.value - mean.low == pytest.approx((share.value - share.low) / 2)
    assert mean.high - mean.value == pytest.approx((share.high - share.value) / 2)


def test_the_mean_of_one_share_is_that_share() -> None:
    share, mean = wilson(3, 10), average_shares([wilson(3, 10)])
    assert (mean.value, mean.low, mean.high) == pytest.approx((share.value, share.low, share.high))


def test_an_estimate_prints_its_interval() -> None:
    assert str(Estimate(value=0.2681, low=0.23649, high=0.299, interval="Wilson")) == "0.2681 (0.2365 to 0.299)"

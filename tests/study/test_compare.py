"""The statistics, against SciPy, closed forms and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from gansmith.study.compare import (
    compare_paired,
    detectable,
    hedges_g,
    holm,
    least_p_of_signs,
    mcnemar,
    mean_interval,
    share_interval,
    sign_flips,
)

FIRST, SECOND = [30.1, 28.4, 33.0, 29.9, 31.2], [27.0, 28.0, 29.5, 27.1, 30.2]
DIFFERENCES = np.subtract(SECOND, FIRST)


def test_the_mean_has_students_interval() -> None:
    found = mean_interval(FIRST)
    low, high = stats.t.interval(0.95, 4, np.mean(FIRST), stats.sem(FIRST))
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(FIRST), low, high))
    assert mean_interval([3.0]).low is None


def test_a_share_of_none_leaves_room() -> None:
    found = share_interval(0, 5)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025**0.2)


def test_a_paired_comparison() -> None:
    found = compare_paired(FIRST, SECOND)
    assert found["difference"] == mean_interval(DIFFERENCES.tolist())
    assert found["p_t"] == pytest.approx(stats.ttest_rel(SECOND, FIRST).pvalue)
    assert found["p_permutation"] == 0.0625
    assert found["detectable"] == pytest.approx(detectable(5) * DIFFERENCES.std(ddof=1))


def test_sign_flips_try_all_signs() -> None:
    values = np.array([1.0, -2.0, 4.0, 0.5])
    means = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=4)]
    assert sign_flips(values) == pytest.approx(np.mean(np.array(means) >= abs(values.sum())))
    assert sign_flips(np.arange(1.0, 6.0)) == least_p_of_signs(5) == 0.0625
    assert sign_flips(np.zeros(3)) == 1


@pytest.mark.parametrize(
    ("first", "second", "p_t"),
    [([1, 2, 3], [2, 3, 4], None), ([1, 2], [1, 2], 1.0), ([1], [2], None)],
)
def test_differences_that_do_not_vary_have_no_test(first: list[float], second: list[float], p_t: float | None) -> None:
    found = compare_paired(first, second)
    assert found.get("p_t") == p_t
    assert "effect" not in found and "detectable" not in found


def test_hedges_g_is_the_corrected_mean_by_deviation() -> None:
    found = hedges_g(DIFFERENCES)
    d_z = DIFFERENCES.mean() / DIFFERENCES.std(ddof=1)
    factor = special.gamma(2) / (math.sqrt(2) * special.gamma(1.5))
    assert found.value == pytest.approx(d_z * factor)
    assert found.value == pytest.approx(d_z * (1 - 3 / (4 * 4 - 1)), rel=0.01)  # the usual approximation
    assert found.low is not None and found.high is not None
    observed = d_z * math.sqrt(5)
    ends = [end / factor * math.sqrt(5) for end in (found.low, found.high)]
    assert [stats.nct.cdf(observed, 4, end) for end in ends] == pytest.approx([0.975, 0.025], abs=1e-5)


def test_the_effects_interval_is_of_one_sign_where_the_t_test_is_significant() -> None:
    for second in (SECOND, [29.0, 29.5, 32.0, 31.0, 30.0]):
        effect, p = (compare_paired(FIRST, second)[key] for key in ("effect", "p_t"))
        assert effect is not None and effect.low is not None and effect.high is not None and p is not None
        assert (p < 0.05) == (effect.low * effect.high > 0)


@pytest.mark.parametrize(("pairs", "published"), [(3, 3.26), (5, 1.68), (10, 0.996), (20, 0.66)])
def test_what_could_have_been_seen_is_what_power_tables_say(pairs: int, published: float) -> None:
    assert detectable(pairs) == pytest.approx(published, rel=0.003)


def test_what_could_have_been_seen_is_seen_four_times_in_five() -> None:
    draws = np.random.default_rng(0).normal(loc=detectable(5), size=(20_000, 5))
    shown = stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert shown.mean() == pytest.approx(0.8, abs=0.01)


def test_mcnemar_counts_the_pairs_that_differ() -> None:
    assert mcnemar([0, 0, 0, 0, 0], [1, 1, 1, 1, 1]) == 0.0625
    assert mcnemar([0, 1, 1, 0], [1, 0, 1, 0]) == 1
    assert mcnemar([1, 1], [1, 1]) == 1


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []

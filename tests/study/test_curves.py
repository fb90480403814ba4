"""Curves of a tracked figure, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from gansmith.metrics.measurement import Measurement
from gansmith.study.curves import (
    Better,
    Curve,
    best_value,
    choose_thresholds,
    decline,
    log_cost,
    mean_over_way,
    oscillation,
    read_curve,
    time_to,
)


def curve(*values: float, step: int = 1000, seconds: float = 2.0) -> Curve:
    """A figure every ``step`` images."""
    return [((i + 1) * step, (i + 1) * seconds, value) for i, value in enumerate(values)]


def test_the_curve_is_what_was_tracked_in_the_order_of_images(measurement: Callable[..., Measurement]) -> None:
    tracked = [measurement(200, {"fid": 3.0}), measurement(100, {"fid": 4.0}), measurement(300, {"kid": 1.0})]
    assert read_curve([*tracked, measurement(200, {"fid": 9.0}, "last")], "fid") == [(100, 1.0, 4.0), (200, 2.0, 3.0)]


def test_a_lower_cost_is_better_whichever_way_the_figure_is() -> None:
    assert log_cost(2, "lower") < log_cost(4, "lower")
    assert log_cost(4, "higher") < log_cost(2, "higher")
    assert log_cost(0.5, "nearer 1") == pytest.approx(log_cost(2, "nearer 1"))
    with pytest.raises(ValueError, match="no logarithm"):
        log_cost(0, "lower")


@pytest.mark.parametrize(("better", "best"), [("lower", -0.1), ("higher", 3), ("nearer 1", 0.8)])
def test_the_best_of_a_curve(better: Better, best: float) -> None:
    values = (3, 0.8, 2) if better == "nearer 1" else (3, -0.1, 2)
    assert best_value(curve(*values), better) == best


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_mean_over_the_way_is_the_geometric_one(better: Better) -> None:
    assert mean_over_way(curve(8, 8, 8), better) == pytest.approx(8)
    assert mean_over_way(curve(4, 16), better) == pytest.approx(8)  # log-linear: its middle
    unevenly = [(0, 0.0, 4.0), (1000, 1.0, 4.0), (4000, 4.0, 4.0), (4001, 4.001, 4.0)]
    assert mean_over_way(unevenly, better) == pytest.approx(4)


def test_the_mean_over_the_way_weighs_by_images() -> None:
    points = [(0, 0.0, 1.0), (1000, 1.0, math.e), (4000, 4.0, math.e)]
    assert math.log(mean_over_way(points, "lower")) == pytest.approx((0.5 + 3) / 4)


def test_a_threshold_is_reached_between_two_measurements() -> None:
    falling = curve(64, 16, 4)
    assert time_to(falling, 16, "lower") == pytest.approx((2000, 4))
    assert time_to(falling, 10, "lower") == pytest.approx((2500, 5))
    assert time_to(falling, 100, "lower") == pytest.approx((1000, 2))  # at the first measurement at the latest
    assert time_to(falling, 3, "lower") is None
    assert time_to(curve(2, 8), 5, "higher") == pytest.approx((1500, 3))
    assert time_to(curve(0.5, -0.1), 0.2, "lower") == pytest.approx((1500, 3))  # a KID may come out below 0


def test_a_threshold_once_reached_counts_whatever_comes_after() -> None:
    assert time_to(curve(16, 4, 16, 2), 4, "lower") == pytest.approx((2000, 4))


def test_oscillation_is_nothing_for_a_line_and_the_swing_of_a_zigzag() -> None:
    assert oscillation([5, 4, 3, 2]) == pytest.approx(0)
    assert oscillation([1, -1, 1, -1, 1]) == pytest.approx(2)
    with pytest.raises(ValueError, match="fewer than three"):
        oscillation([1, 2])


def test_oscillation_of_noise_is_what_the_docstring_says() -> None:
    noise = np.random.default_rng(0).normal(scale=0.3, size=100_000) + np.linspace(0, 5, 100_000)
    assert oscillation(noise.tolist()) == pytest.approx(0.3 * math.sqrt(3 / math.pi), rel=0.01)


@pytest.mark.parametrize(("values", "better", "times"), [((8, 2, 6), "lower", 3), ((2, 8, 4), "higher", 2)])
def test_decline_is_how_many_times_worse_the_end_is(values: tuple[float, ...], better: Better, times: float) -> None:
    assert decline(curve(*values), better) == pytest.approx(times)
    assert decline(curve(*sorted(values, reverse=better == "lower")), better) == pytest.approx(1)


def test_thresholds_are_what_half_the_runs_of_every_variant_reach() -> None:
    curves = {
        "good": [curve(64, 8), curve(64, 4), curve(64, 2)],
        "bad": [curve(64, 32), curve(64, 16), curve(64, 20)],
    }
    near, far = choose_thresholds(curves, "lower")
    assert far == 20  # the median of 32, 16 and 20
    assert near == pytest.approx(math.sqrt(64 * 20), abs=0.1)
    for runs in curves.values():
        assert sum(time_to(run, far, "lower") is not None for run in runs) >= 2


def test_thresholds_of_a_figure_that_is_to_rise() -> None:
    near, far = choose_thresholds({"a": [curve(1, 4)], "b": [curve(1, 2.0004)]}, "higher")
    assert far == 2.0  # rounded to the side from which it is reached
    assert near == pytest.approx(1.41)


def test_no_thresholds_where_nothing_becomes_better() -> None:
    with pytest.raises(ValueError, match="no run becomes better"):
        choose_thresholds({"a": [curve(1, 2, 3)]}, "lower")
    with pytest.raises(ValueError, match="has no curve"):
        choose_thresholds({"a": [curve(3, 2)], "b": [[]]}, "lower")

"""Measure the curve of a tracked metric: how good during training, how soon, how unsteady.

Metrics like the FID are on a ratio scale: from 40 to 20 is as far as from 20 to 10. So averages along a curve and
comparisons of its points use the logarithm, with the sign that makes lower better (``log_cost``).
All functions raise a ValueError that says in a few words why there is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from scipy import integrate

from gansmith.metrics.measurement import Measurement
from gansmith.metrics.metric import Better

__all__ = [
    "Better",
    "Curve",
    "best_value",
    "choose_thresholds",
    "decline",
    "log_cost",
    "log_costs",
    "mean_over_way",
    "oscillation",
    "read_curve",
    "time_to",
]

Curve: TypeAlias = Sequence[tuple[int, float, float]]  # real images seen, seconds of training, the tracked metric


def read_curve(measurements: Sequence[Measurement], metric: str) -> list[tuple[int, float, float]]:
    """Return the curve of a tracked metric by images seen, without the times at which it could not be measured."""
    points = [
        (line.generated.nimg, line.generated.seconds, line.values[metric].value)
        for line in measurements
        if line.kind == "tracking" and metric in line.values
    ]
    return sorted((nimg, seconds, value) for nimg, seconds, value in points if nimg is not None and seconds is not None)


def best_value(curve: Curve, better: Better) -> float:
    """Return the best value of a metric during training."""
    if not curve:
        raise ValueError("no metric was tracked")
    return min((value for _, _, value in curve), key=lambda value: _cost(value, better))


def log_cost(value: float, better: Better) -> float:
    """Return the logarithm of a value, with the sign that makes lower better."""
    if value <= 0:
        raise ValueError(f"the value falls to {value:.3g}, which has no logarithm")
    if better.startswith("nearer "):
        return abs(math.log(value / float(better.removeprefix("nearer "))))
    return math.log(value) if better == "lower" else -math.log(value)


def log_costs(curve: Curve, better: Better) -> list[float]:
    """Return ``log_cost`` of each point; at least one."""
    if not curve:
        raise ValueError("no metric was tracked")
    return [log_cost(value, better) for _, _, value in curve]


def decline(curve: Curve, better: Better) -> float:
    """Return how many times worse the last point is than the best; 1 if it is the best itself."""
    costs = log_costs(curve, better)
    return math.exp(costs[-1] - min(costs))


def mean_over_way(curve: Curve, better: Better) -> float:
    """Return the geometric mean of a metric over the images seen, from the first measurement to the last.

    It is the area under the logarithm over kimg (trapezoids) divided by the length: a run that is good early has a
    better mean than one that reaches the same end late.
    """
    if len(curve) < 2:
        raise ValueError("measured fewer than two times")
    nimg = [float(point[0]) for point in curve]
    mean = float(integrate.trapezoid(log_costs(curve, better), nimg)) / (nimg[-1] - nimg[0])
    return math.exp(-mean if better == "higher" else mean)


def time_to(curve: Curve, threshold: float, better: Better) -> tuple[float, float] | None:
    """Return images seen and seconds until a threshold is first reached, or None if it never is.

    Between two measurements, values are interpolated linearly.
    """
    goal = _cost(threshold, better)
    before: tuple[float, float, float] | None = None
    for nimg, seconds, value in curve:
        now = (float(nimg), seconds, _cost(value, better))
        if now[2] <= goal:
            share = 1.0 if before is None else (before[2] - goal) / (before[2] - now[2])
            start = before or now
            return start[0] + share * (now[0] - start[0]), start[1] + share * (now[1] - start[1])
        before = now
    return None


def oscillation(values: Sequence[float]) -> float:
    """Return the mean distance of a point from the middle of its two neighbours: 0 for any straight line.

    Independent noise of deviation s about a straight line gives s sqrt(3 / pi), about s.
    """
    if len(values) < 3:
        raise ValueError("measured fewer than three times")
    points = np.asarray(values, np.float64)
    return float(np.abs(points[1:-1] - (points[:-2] + points[2:]) / 2).mean())


def choose_thresholds(curves: Mapping[str, Sequence[Curve]], better: Better) -> tuple[float, ...]:
    """Choose two values of the tracked metric to reach, from the curves of all variants.

    The second is the best value of the median run of the worst variant, so that half the runs of every variant reach
    it. The first is halfway to it, in the logarithm, from the first value of the median of all runs.

    Args:
        curves: of the runs of each variant; those without a point are left out.
        better: which way is better.
    """
    there = {variant: [curve for curve in runs if curve] for variant, runs in curves.items()}
    if not there or not all(there.values()):
        raise ValueError("a variant has no curve")
    costs = {variant: [log_costs(curve, better) for curve in runs] for variant, runs in there.items()}
    far = max(float(np.median([min(curve) for curve in runs])) for runs in costs.values())
    start = float(np.median([curve[0] for runs in costs.values() for curve in runs]))
    if far >= start or better.startswith("nearer "):
        raise ValueError("no run becomes better than all are at the first measurement")
    return _easier((start + far) / 2, better), _easier(far, better)


def _cost(value: float, better: Better) -> float:
    """Return a value with the sign that makes lower better, on its own scale if it has a direction."""
    if better == "nearer 0.5":  # a chance, which may be 0
        return abs(value - 0.5)
    if better == "nearer 1":
        return log_cost(value, better)
    return value if better == "lower" else -value


def _easier(cost: float, better: Better) -> float:
    """Return the value of a cost in three digits, rounded to the side from which it is reached."""
    value = math.exp(-cost if better == "higher" else cost)
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    steps = math.floor(value / unit + 1e-9) if better == "higher" else math.ceil(value / unit - 1e-9)
    return float(f"{steps * unit:.6g}")

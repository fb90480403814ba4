"""The measures of each run of a study: quality, convergence speed, stability."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from gansmith.metrics.measurement import Measurement
from gansmith.metrics.metric import Quantity
from gansmith.study.curves import Better, Curve, best_value, decline, log_cost, mean_over_way, oscillation, time_to
from gansmith.study.results import Measure, Measured, State

__all__ = ["COLLAPSE", "Evidence", "Yardstick", "has_collapsed", "list_measures", "measure_run"]

COLLAPSE = 2.0  # a run has collapsed if it ends this many times worse than its best
RATIOS = ("class_entropy", "diversity")  # of generated to real images; a collapse lowers them


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The contents of a run's folder.

    Args:
        state: of the cell; only finished and diverged ones are measured.
        curve: the tracked metric.
        stats: the lines of stats.jsonl.
        best: the evaluation of the best generator, or None.
        last: that of the last one, or None.
    """

    state: State
    curve: Curve = ()
    stats: Sequence[Mapping[str, Any]] = ()
    best: Measurement | None = None
    last: Measurement | None = None


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What all runs of one data setting are measured by.

    Args:
        tracked: the name of the tracked metric, or empty if none was.
        quantity: its quantity, or None.
        thresholds: values of it to reach, worst first.
        nimg: real images that every finished run has seen; waiting for a threshold ends there.
        seconds: training time that every finished run has had; None if their machines differ, so that seconds
            cannot be compared.
        evaluated: the quantities of the evaluations, by name.
    """

    tracked: str = ""
    quantity: Quantity | None = None
    thresholds: tuple[float, ...] = ()
    nimg: int = 0
    seconds: float | None = None
    evaluated: Mapping[str, Quantity] = field(default_factory=dict)


Answer = Callable[[Evidence], "float | tuple[float, str]"]  # with a note; a ValueError says why there is none


def list_measures(yardstick: Yardstick) -> tuple[Measure, ...]:
    """Return the measures of each run, in the order of tables."""
    return tuple(measure for measure, _ in _table(yardstick))


def measure_run(evidence: Evidence, yardstick: Yardstick) -> tuple[Measured, ...]:
    """Return all measures of a run; none if it has not ended."""
    if evidence.state not in ("finished", "diverged"):
        return ()
    return tuple(_measure(measure.key, answer, evidence) for measure, answer in _table(yardstick))


def has_collapsed(evidence: Evidence, better: Better) -> bool:
    """Return whether a run ends far worse than its best.

    That is, its tracked metric ends ``COLLAPSE`` times worse than its best, or the diversity of its images or the
    entropy of their classes falls from the best generator to the last below 1 / ``COLLAPSE`` of what it was.
    """
    if decline(evidence.curve, better) > COLLAPSE:
        return True
    if evidence.best is None or evidence.last is None:
        return False
    best, last = evidence.best.values, evidence.last.values
    return any(last[name].value * COLLAPSE < best[name].value for name in RATIOS if name in best and name in last)


def _measure(key: str, answer: Answer, evidence: Evidence) -> Measured:
    try:
        found = answer(evidence)
    except ValueError as error:
        return Measured(measure=key, value=None, note=str(error))
    value, note = found if isinstance(found, tuple) else (found, "")
    return Measured(measure=key, value=value, note=note)


# --- the table of measures ---------------------------------------------------------------------------------


def _table(yardstick: Yardstick) -> Iterator[tuple[Measure, Answer]]:
    quantity = yardstick.quantity
    if quantity is not None:
        yield from _tracked(quantity, headline=yardstick.tracked not in yardstick.evaluated)
    for which in ("best", "last"):
        for name, evaluated in yardstick.evaluated.items():
            yield _evaluated(which, name, evaluated, headline=name == yardstick.tracked)
    if quantity is not None:
        yield from _convergence(quantity, yardstick)
        yield from _steadiness(quantity)
    definition = "A loss or a weight became NaN or infinite, which ended the run."
    yield _share("diverged", definition), lambda run: float(run.state == "diverged")
    for key, title, stat, reduce, definition in _STATISTICS:
        measure = Measure(key=key, title=title, better="neither", group="stability", definition=definition)
        yield measure, _reduce_statistic(stat, reduce)


def _tracked(quantity: Quantity, headline: bool) -> Iterator[tuple[Measure, Answer]]:
    make = partial(Measure, better=quantity.better, group="quality", headline=headline)
    title, definition = f"tracked {quantity.title}", "value of the tracked metric during training."
    best = make(key="tracked/best", title=f"{title} at best", definition=f"The best {definition}")
    yield best, lambda run: best_value(run.curve, quantity.better)
    last = make(key="tracked/last", title=f"{title} at the end", definition=f"The last {definition}")
    yield last, lambda run: _finished(run).curve[-1][2]


def _evaluated(which: str, name: str, quantity: Quantity, headline: bool) -> tuple[Measure, Answer]:
    def answer(run: Evidence) -> float:
        measurement = run.best if which == "best" else run.last
        if measurement is None:
            raise ValueError(f"the {which} generator was not evaluated")
        if name not in measurement.values:
            raise ValueError("; ".join(measurement.failures.values()) or "not measured")
        return measurement.values[name].value

    measure = Measure(
        key=f"{which}/{name}",
        title=f"{quantity.title}, {which} generator",
        better=quantity.better,
        group="quality",
        headline=headline,
        definition=f"Measured on images of the {which} generator after training.",
    )
    return measure, answer


def _convergence(quantity: Quantity, yardstick: Yardstick) -> Iterator[tuple[Measure, Answer]]:
    mean = Measure(
        key="tracked/way",
        title=f"mean tracked {quantity.title} during training",
        better=quantity.better,
        group="convergence",
        headline=True,
        definition="The geometric mean of the tracked metric over the images seen: the area under its logarithm.",
    )
    yield mean, lambda run: mean_over_way(_finished(run).curve, quantity.better)
    for threshold in yardstick.thresholds:
        headline = threshold == yardstick.thresholds[-1]
        yield _time_to(quantity, threshold, "kimg", yardstick.nimg / 1000, headline)
    for threshold in yardstick.thresholds:
        yield _time_to(quantity, threshold, "seconds", yardstick.seconds, False)


def _time_to(
    quantity: Quantity, threshold: float, unit: Literal["kimg", "seconds"], horizon: float | None, headline: bool
) -> tuple[Measure, Answer]:
    def answer(run: Evidence) -> tuple[float, str]:
        if horizon is None:
            raise ValueError("the runs' machines differ, so their seconds cannot be compared")
        found = time_to(run.curve, threshold, quantity.better)
        spent = math.inf if found is None else found[0] / 1000 if unit == "kimg" else found[1]
        return (spent, "") if spent <= horizon else (horizon, "not reached")

    what, short = ("Thousands of images", "kimg") if unit == "kimg" else ("Seconds of training", "s")
    whole = "" if horizon is None else f" A run that does not reach it counts as {horizon:,.4g} {short}."
    measure = Measure(
        key=f"{unit}/{threshold:g}",
        title=f"{unit} to tracked {quantity.title} {threshold:g}",
        unit=short,
        better="lower",
        group="convergence",
        headline=headline,
        definition=f"{what} until the tracked metric first reaches {threshold:g}.{whole}",
    )
    return measure, answer


def _steadiness(quantity: Quantity) -> Iterator[tuple[Measure, Answer]]:
    make, better = partial(Measure, better="lower", group="stability", headline=True), quantity.better
    title = f"tracked {quantity.title}"
    definition = "How many times worse the tracked metric is at the end than at its best; at least 1."
    ratio = make(key="tracked/decline", title=f"{title}, end to best", definition=definition)
    yield ratio, lambda run: decline(_finished(run).curve, better)
    definition = (
        "Mean distance of a point of the tracked curve from the middle of its neighbours, in hundredths of the natural "
        "logarithm; a straight trend adds nothing."
    )
    swing = make(key="tracked/oscillation", title=f"oscillation of {title}", unit="%", definition=definition)
    yield swing, lambda run: 100 * oscillation([log_cost(value, better) for _, _, value in _finished(run).curve])
    lost = _share("lost", "Either of the two below.", "diverged or collapsed")
    yield lost, lambda run: float(run.state == "diverged" or has_collapsed(run, better))
    collapsed = _share(
        "collapsed",
        f"The tracked metric ends more than {COLLAPSE:g} times worse than its best, or the images' diversity or the "
        "entropy of their classes falls below half from the best generator to the last.",
    )
    yield collapsed, lambda run: float(has_collapsed(_finished(run), better))


def _share(key: str, definition: str, title: str = "") -> Measure:
    return Measure(key=key, title=title or key, better="lower", group="stability", share=True, definition=definition)


def _finished(run: Evidence) -> Evidence:
    if run.state == "diverged":
        raise ValueError("it diverged")
    if not run.curve:
        raise ValueError("no metric was tracked")
    return run


# --- statistics of training --------------------------------------------------------------------------------


def _reduce_statistic(stat: str, reduce: Callable[[Sequence[float]], Any]) -> Answer:
    def answer(run: Evidence) -> tuple[float, str]:
        values = [float(line[stat]) for line in run.stats if stat in line]
        if not values:
            raise ValueError(f"stats.jsonl has no {stat}")
        return float(reduce(values)), "until it diverged" if run.state == "diverged" else ""

    return answer


def _peak(values: Sequence[float]) -> float:
    median = float(np.median(values))
    if median == 0:
        raise ValueError("the median is 0")
    return max(values) / median


_SWING = "Mean distance of a line of statistics from the middle of its neighbours."
_NORM = "Of the norm of the whole gradient, over the lines of statistics of the run."
_RIGHT = "The mean over the run; at 1, G learns nothing."
_PERCENTILE = partial(np.percentile, q=95)
_Reduce = Callable[[Sequence[float]], Any]
# Key, title, key in stats.jsonl, what is computed from its values, and definition.
_STATISTICS: tuple[tuple[str, str, str, _Reduce, str], ...] = (
    ("loss/generator/oscillation", "oscillation of G's loss", "loss/generator", oscillation, _SWING),
    ("gradient/generator/median", "G's gradient, median", "gradient/generator", np.median, _NORM),
    ("gradient/generator/95", "G's gradient, 95th percentile", "gradient/generator", _PERCENTILE, _NORM),
    ("gradient/generator/peak", "G's gradient, largest to median", "gradient/generator", _peak, _NORM),
    ("loss/discriminator/oscillation", "oscillation of D's loss", "loss/discriminator", oscillation, _SWING),
    ("gradient/discriminator/median", "D's gradient, median", "gradient/discriminator", np.median, _NORM),
    ("gradient/discriminator/95", "D's gradient, 95th percentile", "gradient/discriminator", _PERCENTILE, _NORM),
    ("gradient/discriminator/peak", "D's gradient, largest to median", "gradient/discriminator", _peak, _NORM),
    ("accuracy/real", "D's accuracy on real images", "accuracy/real", np.mean, _RIGHT),
    ("accuracy/fake", "D's accuracy on generated images", "accuracy/fake", np.mean, _RIGHT),
)

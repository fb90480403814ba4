"""What is measured of each run, and how: quality, convergence, stability."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gansmith.metrics.measurement import Measurement
from gansmith.metrics.metric import Quantity
from gansmith.study.curves import Better, Curve, best_value, decline, log_cost, mean_over_way, oscillation, time_to
from gansmith.study.results import Measure, Measured, State

__all__ = ["COLLAPSE", "Evidence", "Yardstick", "has_collapsed", "measure_run", "measures_of"]

COLLAPSE = 2.0  # how many times as bad as its best a run has to end to count as collapsed
RATIOS = ("class_entropy", "diversity")  # figures of generated images to real ones that a collapse takes down


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a run's folder holds.

    Args:
        state: of the cell; only what is finished or diverged is measured.
        curve: the tracked figure.
        stats: the lines of stats.jsonl.
        best: the measurement of the best generator, or None.
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
        tracked: the name of the tracked figure, or empty where none was.
        quantity: what that is, or None.
        thresholds: its values that are to be reached, worst first.
        nimg: where waiting for them ends: what every finished run has seen.
        seconds: the training that every finished run has had; None where their machines differ, so that seconds
            cannot be compared.
        figures: those of the measurements, by name.
    """

    tracked: str = ""
    quantity: Quantity | None = None
    thresholds: tuple[float, ...] = ()
    nimg: int = 0
    seconds: float | None = None
    figures: Mapping[str, Quantity] = field(default_factory=dict)


Answer = Callable[[Evidence], "float | tuple[float, str]"]  # with a note; a ValueError says why there is none


def measures_of(yardstick: Yardstick) -> tuple[Measure, ...]:
    """What is measured of each run, in the order of tables."""
    return tuple(measure for measure, _ in _asked(yardstick))


def measure_run(evidence: Evidence, yardstick: Yardstick) -> tuple[Measured, ...]:
    """All measures of one run; none of one that has not come to its end."""
    if evidence.state not in ("finished", "diverged"):
        return ()
    return tuple(_measured(measure.key, answer, evidence) for measure, answer in _asked(yardstick))


def has_collapsed(evidence: Evidence, better: Better) -> bool:
    """Whether a run ends far worse than it once was.

    That is, its tracked figure ends ``COLLAPSE`` times as bad as its best, or the diversity of its images or the
    entropy of their classes falls from the best generator to the last below 1 / ``COLLAPSE`` of what it was.
    """
    if decline(evidence.curve, better) > COLLAPSE:
        return True
    if evidence.best is None or evidence.last is None:
        return False
    best, last = evidence.best.values, evidence.last.values
    shared = [name for name in RATIOS if name in best and name in last]
    return any(last[name].value * COLLAPSE < best[name].value for name in shared)


def _measured(key: str, answer: Answer, evidence: Evidence) -> Measured:
    try:
        found = answer(evidence)
    except ValueError as error:
        return Measured(measure=key, value=None, note=str(error))
    value, note = found if isinstance(found, tuple) else (found, "")
    return Measured(measure=key, value=value, note=note)


# --- what is asked of a run --------------------------------------------------------------------------------


def _asked(yardstick: Yardstick) -> list[tuple[Measure, Answer]]:
    quantity = yardstick.quantity
    tracked = [] if quantity is None else [*_tracked_quality(quantity, yardstick), *_convergence(quantity, yardstick)]
    of_curve = [] if quantity is None else _steadiness(quantity)
    judged = [asked for which in ("best", "last") for asked in _judged(which, yardstick)]
    asked = [*tracked, *judged, *of_curve, _diverged(), *_of_statistics()]
    order = ("quality", "convergence", "stability")
    return sorted(asked, key=lambda pair: order.index(pair[0].group))


def _tracked_quality(quantity: Quantity, yardstick: Yardstick) -> list[tuple[Measure, Answer]]:
    def best(evidence: Evidence) -> float:
        return best_value(evidence.curve, quantity.better)

    def last(evidence: Evidence) -> float:
        return _to_its_end(evidence).curve[-1][2]

    described: list[tuple[str, str, str, Answer]] = [
        ("tracked/best", "at best", "The best value of the tracked figure during training.", best),
        ("tracked/last", "at the end", "The last value of the tracked figure.", last),
    ]
    return [
        (
            Measure(
                key=key,
                title=f"tracked {quantity.title} {when}",
                better=quantity.better,
                group="quality",
                headline=yardstick.tracked not in yardstick.figures,  # else the measurement of more images is
                definition=definition,
            ),
            answer,
        )
        for key, when, definition, answer in described
    ]


def _judged(which: str, yardstick: Yardstick) -> list[tuple[Measure, Answer]]:
    def figure_of(name: str) -> Answer:
        def answer(evidence: Evidence) -> float:
            measurement = evidence.best if which == "best" else evidence.last
            if measurement is None:
                raise ValueError(f"the {which} generator was not judged")
            if name not in measurement.values:
                raise ValueError("; ".join(measurement.failures.values()) or "not measured")
            return measurement.values[name].value

        return answer

    return [
        (
            Measure(
                key=f"{which}/{name}",
                title=f"{quantity.title}, {which} generator",
                better=quantity.better,
                group="quality",
                headline=name == yardstick.tracked,
                definition=f"Measured of the {which} generator's images after training.",
            ),
            figure_of(name),
        )
        for name, quantity in yardstick.figures.items()
    ]


def _convergence(quantity: Quantity, yardstick: Yardstick) -> list[tuple[Measure, Answer]]:
    mean = Measure(
        key="tracked/way",
        title=f"mean tracked {quantity.title} on the way",
        better=quantity.better,
        group="convergence",
        headline=True,
        definition="The geometric mean of the tracked figure over the images seen: the area under its logarithm.",
    )
    asked: list[tuple[Measure, Answer]] = [
        (mean, lambda evidence: mean_over_way(_to_its_end(evidence).curve, quantity.better))
    ]
    for threshold in yardstick.thresholds:
        headline = threshold == yardstick.thresholds[-1]
        asked.append(_time_to(quantity, threshold, "kimg", yardstick.nimg / 1000, headline))
    for threshold in yardstick.thresholds:
        asked.append(_time_to(quantity, threshold, "seconds", yardstick.seconds, False))
    return asked


def _time_to(
    quantity: Quantity, threshold: float, unit: str, horizon: float | None, headline: bool
) -> tuple[Measure, Answer]:
    def answer(evidence: Evidence) -> tuple[float, str]:
        if horizon is None:
            raise ValueError("the runs' machines differ, so their seconds cannot be compared")
        found = time_to(evidence.curve, threshold, quantity.better)
        spent = math.inf if found is None else found[0] / 1000 if unit == "kimg" else found[1]
        return (spent, "") if spent <= horizon else (horizon, "not reached")

    measure = Measure(
        key=f"{unit}/{threshold:g}",
        title=f"{unit} to tracked {quantity.title} {threshold:g}",
        unit=unit if unit == "kimg" else "s",
        better="lower",
        group="convergence",
        headline=headline,
        definition=(
            f"{'Thousands of images' if unit == 'kimg' else 'Seconds of training'} until the tracked figure first "
            f"reaches {threshold:g}. A run that does not counts with "
            f"{'no time at all' if horizon is None else f'all of {horizon:,.4g}'}: its mean is the restricted mean."
        ),
    )
    return measure, answer


def _steadiness(quantity: Quantity) -> list[tuple[Measure, Answer]]:
    better = quantity.better

    def swing(evidence: Evidence) -> float:
        return 100 * oscillation([log_cost(value, better) for _, _, value in _to_its_end(evidence).curve])

    def collapsed(evidence: Evidence) -> float:
        return float(has_collapsed(_to_its_end(evidence), better))

    def lost(evidence: Evidence) -> float:
        return float(evidence.state == "diverged" or has_collapsed(evidence, better))

    ratio = Measure(
        key="tracked/decline",
        title=f"tracked {quantity.title}, end to best",
        better="lower",
        group="stability",
        headline=True,
        definition="How many times as bad the tracked figure is at the end as at its best; 1 is the best itself.",
    )
    swinging = Measure(
        key="tracked/oscillation",
        title=f"oscillation of tracked {quantity.title}",
        unit="%",
        better="lower",
        group="stability",
        headline=True,
        definition="How far a point of the tracked curve lies from the middle of its neighbours, on average, "
        "in hundredths of the natural logarithm; no trend adds to it that is straight over three points.",
    )
    return [
        (ratio, lambda evidence: decline(_to_its_end(evidence).curve, better)),
        (swinging, swing),
        (_share("lost", "diverged or collapsed", "Either of the two below."), lost),
        (
            _share(
                "collapsed",
                "collapsed",
                f"The tracked figure ends more than {COLLAPSE:g} times as bad as its best, or the images' diversity "
                "or the entropy of their classes falls below half from the best generator to the last.",
            ),
            collapsed,
        ),
    ]


def _diverged() -> tuple[Measure, Answer]:
    measure = _share("diverged", "diverged", "A loss or a weight was no number any more, which ended the run.")
    return measure, lambda evidence: float(evidence.state == "diverged")


def _share(key: str, title: str, definition: str) -> Measure:
    return Measure(key=key, title=title, better="lower", group="stability", share=True, definition=definition)


def _of_statistics() -> list[tuple[Measure, Answer]]:
    asked: list[tuple[Measure, Answer]] = []
    for network, letter in (("generator", "G"), ("discriminator", "D")):
        loss, gradient = f"loss/{network}", f"gradient/{network}"
        asked += [
            _described(
                f"{loss}/oscillation",
                f"oscillation of {letter}'s loss",
                loss,
                oscillation,
                "How far a line of statistics lies from the middle of its neighbours, on average.",
            ),
            _described(f"{gradient}/median", f"{letter}'s gradient, median", gradient, _median, _NORM),
            _described(f"{gradient}/95", f"{letter}'s gradient, 95th percentile", gradient, _high, _NORM),
            _described(f"{gradient}/peak", f"{letter}'s gradient, largest to median", gradient, _peak, _NORM),
        ]
    for kind in ("real", "fake"):
        key = f"accuracy/{kind}"
        title = f"D's accuracy on {'real' if kind == 'real' else 'generated'} images"
        asked.append(_described(key, title, key, _mean, "The mean over the run; 1 leaves G nothing to learn from."))
    return asked


_NORM = "Of the length of the whole gradient, over the lines of statistics of the run."


def _described(
    key: str, title: str, stat: str, of: Callable[[Sequence[float]], float], definition: str
) -> tuple[Measure, Answer]:
    def answer(evidence: Evidence) -> tuple[float, str]:
        values = [float(line[stat]) for line in evidence.stats if stat in line]
        if not values:
            raise ValueError(f"stats.jsonl has no {stat}")
        return of(values), "until it diverged" if evidence.state == "diverged" else ""

    return Measure(key=key, title=title, better="neither", group="stability", definition=definition), answer


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _high(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _peak(values: Sequence[float]) -> float:
    median = _median(values)
    if median == 0:
        raise ValueError("the median is 0")
    return max(values) / median


def _to_its_end(evidence: Evidence) -> Evidence:
    if evidence.state == "diverged":
        raise ValueError("it diverged")
    if not evidence.curve:
        raise ValueError("no figure was tracked")
    return evidence

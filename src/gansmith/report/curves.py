"""The charts of a run's page: the tracked metric, and the statistics of stats.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gansmith.errors import RunError
from gansmith.metrics.measurement import Measurement, list_differences
from gansmith.numerals import between, kimg, number, precise
from gansmith.report.charts import TALL, WIDE, Chart, Frame, Line, draw_chart, to_numbers
from gansmith.report.metric_table import find_quantity, find_title

__all__ = ["best_measurement", "draw_statistics", "draw_tracked", "select_tracked"]

Records = Sequence[Mapping[str, Any]]

DISCRIMINATOR, GENERATOR = 0, 1  # colours; also of real and generated images
# name: title; and key, label and colour of each curve
CHARTS: dict[str, tuple[str, tuple[tuple[str, str, int], ...]]] = {
    "losses": (
        "Losses",
        (("loss/generator", "generator", GENERATOR), ("loss/discriminator", "discriminator", DISCRIMINATOR)),
    ),
    "logits": (
        "Discriminator's logits",
        (("logits/fake", "generated", GENERATOR), ("logits/real", "real", DISCRIMINATOR)),
    ),
    "accuracy": (
        "Discriminator's accuracy",
        (("accuracy/fake", "generated", GENERATOR), ("accuracy/real", "real", DISCRIMINATOR)),
    ),
    "gradients": (
        "Gradient norms",
        (("gradient/generator", "generator", GENERATOR), ("gradient/discriminator", "discriminator", DISCRIMINATOR)),
    ),
    "speed": ("Images per second", (("speed/images_per_second", "", DISCRIMINATOR),)),
}

FRAMES = {"accuracy": Frame(bottom=0, top=1), "speed": Frame(bottom=0), "gradients": Frame(log=True)}


def select_tracked(measurements: Sequence[Measurement]) -> tuple[str, list[Measurement]]:
    """Return the name of the tracked metric, and all measurements of it that are comparable with the newest.

    Raises:
        RunError: nothing was tracked.
    """
    tracking = [measurement for measurement in measurements if measurement.kind == "tracking"]
    found = [measurement for measurement in tracking if measurement.values]
    if not found:
        failed = [reason for measurement in tracking for reason in measurement.failures.values()]
        raise RunError(f"No metric was tracked during training{': ' + failed[-1] if failed else ''}.")
    name = next(iter(found[-1].values))
    return name, [one for one in found if name in one.values and not list_differences(one, found[-1])]


def best_measurement(name: str, measurements: Sequence[Measurement]) -> Measurement | None:
    """Return the best measurement; None if it is unknown which way is better."""
    known = find_quantity(name)
    if known is None:
        return None
    return min(measurements, key=lambda one: known.cost(one.values[name].value))


def draw_tracked(measurements: Sequence[Measurement]) -> Chart:
    """Draw the tracked metric over images, with its interval, and mark the best value.

    Raises:
        RunError: nothing was tracked.
    """
    name, found = select_tracked(measurements)
    best = best_measurement(name, found)
    estimates = [measurement.values[name] for measurement in found]
    x = [(measurement.generated.nimg or 0) / 1000 for measurement in found]
    value, low, high = (to_numbers([getattr(each, part) for each in estimates]) for part in ("value", "low", "high"))
    marks = [] if best is None else [((best.generated.nimg or 0) / 1000, best.values[name].value)]
    line = Line(x=x, y=value, low=low, high=high, marks=marks)
    alt = f"{find_title(name)}: {number(value[0])} first, {number(value[-1])} last"
    wide = draw_chart([line], name="tracked", alt=alt, frame=Frame(size=WIDE, log=True))
    narrow = draw_chart([line], name="tracked-narrow", alt=alt, frame=Frame(size=TALL, log=True))
    return Chart(title=f"{find_title(name)} during training", svg=wide, narrow=narrow, note=_about(name, found, best))


def _about(name: str, found: Sequence[Measurement], best: Measurement | None) -> str:
    last, which = found[-1], ""
    if best is not None:
        estimate = best.values[name]
        value = precise(estimate.value, estimate.low, estimate.high)
        ends = between(estimate.low, estimate.high)
        which = f"Best (circle): {value} (95 % interval {ends}) at {kimg(best.generated.nimg or 0)}. "
    note = f" ({last.extractor.note})" if last.extractor.note else ""
    return (
        f"{which}Measured {len(found)} times during training, on {last.generated.num:,} images of fixed seeds against "
        f"{last.reference.num:,} real ones. Feature extractor: {last.extractor.name}{note}. Band: 95 % interval. "
        "These values are for following one training; do not quote them."
    )


def draw_statistics(records: Records) -> list[Chart]:
    """Draw the charts of stats.jsonl, without those that have no values."""
    kimg_seen = [value / 1000 for value in to_numbers(record.get("progress/nimg") for record in records)]
    charts = []
    for name, (title, curves) in CHARTS.items():
        lines = [(label, _line(records, kimg_seen, key, colour)) for key, label, colour in curves]
        lines = [(label, line) for label, line in lines if any(map(math.isfinite, line.y))]
        if lines:
            charts.append(_chart(name, title, lines))
    return charts


def _line(records: Records, x: Sequence[float], key: str, colour: int) -> Line:
    mean = to_numbers(record.get(key) for record in records)
    if key.startswith(("accuracy/", "speed/")):  # the mean determines the deviation of a yes or no
        return Line(x=x, y=mean, colour=colour)
    deviation = to_numbers(record.get(f"{key}.std") for record in records)
    low = [value - spread for value, spread in zip(mean, deviation, strict=True)]
    high = [value + spread for value, spread in zip(mean, deviation, strict=True)]
    return Line(x=x, y=mean, colour=colour, low=low, high=high)


def _chart(name: str, title: str, lines: Sequence[tuple[str, Line]]) -> Chart:
    last = [f"{label} {number(line.y[-1])}".strip() for label, line in lines]
    alt = f"{title} over thousands of images; last: {', '.join(last)}"
    svg = draw_chart([line for _, line in lines], name=name, alt=alt, frame=FRAMES.get(name, Frame()))
    return Chart(title=title, svg=svg, legend=tuple((line.colour, label) for label, line in lines if label))

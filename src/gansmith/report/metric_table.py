"""The metrics of a run's page: values, their origin, and the evaluations they are comparable with."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gansmith.component import member, members
from gansmith.errors import RunError, command
from gansmith.metrics.measurement import (
    PUBLISHED_EXTRACTOR,
    ExtractorFacts,
    Measurement,
    describe_seed_effect,
    describe_unpublished,
    list_differences,
)
from gansmith.metrics.metric import Estimate, Metric, Quantity
from gansmith.numerals import between, count, kimg, plural, precise

__all__ = [
    "EvaluationTable",
    "MetricRow",
    "describe_estimate",
    "describe_main_value",
    "describe_origin",
    "find_quantity",
    "find_title",
    "make_evaluation_table",
]

MOST_OLDER = 4  # evaluations beside the newest


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """A row of the table.

    Args:
        title: of the metric.
        values: the newest first; a dash if an older evaluation lacks it.
        interval: of the newest.
        better: "lower", "higher" or "nearer X".
        notes: what a reader must know, and the method of the interval if it is not the usual one.
    """

    title: str
    values: tuple[str, ...]
    interval: str
    better: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EvaluationTable:
    """The newest evaluation, with those that are comparable.

    Args:
        columns: which generator and when, for each column of values, the newest first.
        rows: one per metric.
        failures: metric and reason.
        provenance: sentences.
        incomparable: older evaluations that are not, with the reason.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[MetricRow, ...]
    failures: tuple[tuple[str, str], ...]
    provenance: tuple[str, ...]
    incomparable: tuple[str, ...]


@functools.cache
def _quantities() -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    family: type[Metric] = Metric  # type: ignore[type-abstract]
    for name in members(family):
        found |= member(family, name, "metrics").quantities
    return found


def find_quantity(name: str) -> Quantity | None:
    """Return the quantity behind a name; None for that of a metric from outside."""
    return _quantities().get(name)


def find_title(name: str) -> str:
    """Return a metric's name as tables show it."""
    known = find_quantity(name)
    return known.title if known else name


def _title_in(name: str, extractor: ExtractorFacts) -> str:
    """Return the title, with the feature extractor if published values use another."""
    known = find_quantity(name)
    return known.titled(extractor.name_for(known)) if known else name


def _better(name: str) -> str:
    """Return which way a metric is better, or empty if unknown."""
    known = find_quantity(name)
    return known.better if known else ""


def describe_estimate(name: str, estimate: Estimate) -> str:
    """Return name, value and interval: "FID 12.3 (95 % interval 11.9 to 12.8)"."""
    value = precise(estimate.value, estimate.low, estimate.high)
    return f"{find_title(name)} {value} (95 % interval {between(estimate.low, estimate.high)})"


def describe_main_value(measurement: Measurement) -> str:
    """Return the first value of a measurement in a sentence."""
    name = _in_order(measurement.values)[0]
    generated = measurement.generated
    at = "" if generated.nimg is None else f" at {kimg(generated.nimg)}"
    source = f"the {generated.snapshot} generator{at}" if generated.snapshot else generated.path
    return f"{describe_estimate(name, measurement.values[name])} on {plural(generated.num, 'image')} of {source}."


def make_evaluation_table(measurements: Sequence[Measurement], path: str) -> EvaluationTable:
    """Return the table of metrics.

    Args:
        measurements: of the run, oldest first.
        path: of the run.

    Raises:
        RunError: it was never evaluated.
    """
    found = [measurement for measurement in measurements if measurement.kind == "evaluation"][::-1]
    if not found:
        raise RunError(f"This run was not evaluated yet; to evaluate it: {command('evaluate', path)}")
    newest, older = found[0], found[1:]
    beside = [measurement for measurement in older if not list_differences(newest, measurement)][:MOST_OLDER]
    apart = [
        f"{', '.join(_moment(other))}: {'; '.join(why)}" for other in older if (why := list_differences(newest, other))
    ]
    method = _usual_method(newest)
    return EvaluationTable(
        columns=tuple(_moment(measurement) for measurement in (newest, *beside)),
        rows=tuple(_row(name, [newest, *beside], method) for name in _in_order(newest.values)),
        failures=tuple((name, reason) for name, reason in newest.failures.items()),
        provenance=(
            *describe_origin(newest),
            *_not_published(newest),
            *([f"Method of the intervals: {method}, unless a note says otherwise."] if method else []),
        ),
        incomparable=tuple(apart),
    )


def _not_published(measurement: Measurement) -> list[str]:
    known = filter(None, map(find_quantity, measurement.values))
    if measurement.extractor.name == PUBLISHED_EXTRACTOR or not any(one.published for one in known):
        return []
    said = filter(None, (each(measurement.extractor.name) for each in (describe_unpublished, describe_seed_effect)))
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in said]


def _in_order(values: Mapping[str, Estimate]) -> list[str]:
    order = list(_quantities())
    return sorted(values, key=lambda name: order.index(name) if name in order else len(order))


def _usual_method(measurement: Measurement) -> str:
    """Return the method of most intervals."""
    methods = [estimate.interval for estimate in measurement.values.values()]
    return max(methods, key=methods.count, default="")


def _row(name: str, measurements: Sequence[Measurement], method: str) -> MetricRow:
    estimates = [measurement.values.get(name) for measurement in measurements]
    newest = measurements[0].values[name]
    values = [
        "\N{EN DASH}" if estimate is None else precise(estimate.value, estimate.low, estimate.high)
        for estimate in estimates
    ]
    return MetricRow(
        title=_title_in(name, measurements[0].extractor),
        values=tuple(values),
        interval=between(newest.low, newest.high),
        better=_better(name),
        notes=tuple(note for note in (newest.note, newest.interval) if note not in ("", method)),
    )


def _moment(measurement: Measurement) -> tuple[str, str]:
    at = "" if measurement.generated.nimg is None else f" at {kimg(measurement.generated.nimg)}"
    return f"{measurement.generated.snapshot or 'images'}{at}", measurement.when[:10]


def describe_origin(measurement: Measurement) -> list[str]:
    """Return the origin of a measurement's values, in sentences."""
    made, real, extractor = measurement.generated, measurement.reference, measurement.extractor
    weights = {True: ", averaged weights", False: ", last weights", None: ""}[made.ema]
    source = {"now": "the generator during training", None: made.path}.get(
        made.snapshot, f"the {made.snapshot} generator"
    )
    at = "" if made.nimg is None else f" at {kimg(made.nimg)}"
    seeds = "" if made.seed is None else f", seeds {count(made.seed)} to {count(made.seed + made.num - 1)}"
    note = f": {extractor.note}" if extractor.note else ""
    splits = {"training": "training images", "held-out": "held-out images", "all": "all images"}
    return [
        f"Generated: {plural(made.num, 'image')} of {source}{at}{weights}{seeds}.",
        f"Real: {plural(real.num, 'real image')} of {real.title}, {real.part or splits[real.split]} "
        f"(data {real.digest[:12]}, selection {real.selection[:12]}).",
        f"Feature extractor: {extractor.name}{note} (weights {extractor.digest[:12]}).",
        f"Date: {measurement.when[:10]}, with gansmith {measurement.gansmith}.",
    ]

"""Prints measurements: where the values come from, the values, and which ones are not comparable."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gansmith.component import member_name
from gansmith.metrics.measurement import (
    PUBLISHED_EXTRACTOR,
    ExtractorFacts,
    Generated,
    Measurement,
    Reference,
    describe_seed_effect,
    describe_unpublished,
    list_differences,
)
from gansmith.metrics.metric import Estimate, Metric

__all__ = ["show_measurements"]

SPLITS = {"training": "the training part", "held-out": "the part held out", "all": "the whole set"}
NEEDS = "needs "  # start of a metric's error if it does not apply, as "needs labels: the real images have none"


def show_measurements(
    measurements: Sequence[Measurement], metrics: Sequence[Metric], console: Console, took: str = ""
) -> None:
    """Print measurements of the same metrics: one with intervals and notes, several side by side.

    Args:
        measurements: at least one.
        metrics: the metrics that were measured.
        console: where to print.
        took: duration, for the last line of the origins; or "".
    """
    numbered = len(measurements) > 1
    called = {f"#{number}" if numbered else "": each for number, each in enumerate(measurements, start=1)}
    origins = Table.grid(padding=(0, 2))
    for what, said in (*_origins(called), *([("measured", took)] if took else [])):
        origins.add_row(what, Text(said))
    console.print(origins)
    console.print(_side_by_side(called, metrics) if numbered else _single(measurements[0], metrics))
    for line in (*_failures(called), *_warnings(called), *_skipped(called), *_unpublished(called, metrics)):
        console.print(Text(line))


def _by(name: str) -> str:
    """Return a prefix with the name of one of several measurements; "" for a single one."""
    return f"{name}: " if name else ""


# --- origins -----------------------------------------------------------------------------------------------


def _origins(called: Mapping[str, Measurement]) -> Iterator[tuple[str, str]]:
    yield from _line("generated", {name: _generated(each.generated) for name, each in called.items()})
    yield from _line("reference", {name: _reference(each.reference) for name, each in called.items()})
    yield from _line("extractor", {name: _extractor(each.extractor) for name, each in called.items()})


def _line(what: str, said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield one line if all measurements have the same text, else one for each."""
    if len(set(said.values())) == 1:
        said = {"": next(iter(said.values()))}
    for name, text in said.items():
        yield what, _by(name) + text


def _generated(generated: Generated) -> str:
    if generated.seed is None:
        return f"{generated.path}: {generated.num:,} images"
    weights = "averaged weights" if generated.ema else "weights of the last step"
    moment = f"{generated.snapshot} generator, at {(generated.nimg or 0) / 1000:,.0f} kimg, {weights}"
    seeds = f"seeds {generated.seed:,} to {generated.seed + generated.num - 1:,}"
    return f"{generated.path}: {moment}; {generated.num:,} images, {seeds}"


def _reference(reference: Reference) -> str:
    part = reference.part or SPLITS[reference.split]
    return f"{reference.title}: {reference.num:,} images of {part}; digest {reference.digest[:8]}"


def _extractor(extractor: ExtractorFacts) -> str:
    note = f", {extractor.note}" if extractor.note else ""
    return f"{extractor.name}{note}; digest {extractor.digest[:8]}"


# --- values ------------------------------------------------------------------------------------------------


def _single(measurement: Measurement, metrics: Sequence[Metric]) -> Table:
    table = _table("metric")
    for heading in ("value", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("better", no_wrap=True)
    table.add_column("note")
    for metric in metrics:
        for name, quantity in metric.quantities.items():
            estimate = measurement.values.get(name)
            if estimate is not None:
                interval = f"{_number(estimate.low)} to {_number(estimate.high)}"
                title = Text(quantity.titled(measurement.extractor.name_for(quantity)))
                table.add_row(title, _number(estimate.value), interval, quantity.better, Text(estimate.note))
            elif not measurement.failures.get(member_name(metric), NEEDS).startswith(NEEDS):
                table.add_row(quantity.title, "", "not computed", "", "")
    return table


def _side_by_side(called: Mapping[str, Measurement], metrics: Sequence[Metric]) -> Table:
    table = _table("metric")
    table.add_column("better", no_wrap=True)
    for name in called:
        table.add_column(name, justify="right")
    for metric in metrics:
        for name, quantity in metric.quantities.items():
            extractors = " / ".join(dict.fromkeys(each.extractor.name_for(quantity) for each in called.values()))
            estimates = [each.values.get(name) for each in called.values()]
            if any(estimates):
                table.add_row(Text(quantity.titled(extractors)), quantity.better, *map(_cell, estimates))
    return table


def _table(first: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")
    return table


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not computed"
    return f"{_number(estimate.value)}\n{_number(estimate.low, 3)} to {_number(estimate.high, 3)}"


def _number(value: float, digits: int = 4) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


# --- remarks -----------------------------------------------------------------------------------------------


def _failures(called: Mapping[str, Measurement]) -> Iterator[str]:
    """Yield each reason once, with the names of all measurements that it holds for."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, measurement in called.items():
        for metric, why in measurement.failures.items():
            if not why.startswith(NEEDS):
                found.setdefault((metric, why), []).append(name)
    for (metric, why), concerned in found.items():
        yield f"{_by(', '.join(concerned))}{metric} not computed: {why}"


def _skipped(called: Mapping[str, Measurement]) -> Iterator[str]:
    """Yield lines such as "skipped: 2 metrics need labels (intra-fid, label-fidelity): why"."""
    found: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for name, measurement in called.items():
        for what, (metrics, why) in _needs(measurement).items():
            found.setdefault((what, tuple(metrics), "; ".join(why)), []).append(name)
    for (what, named, reasons), concerned in found.items():
        need = f"{len(named)} metrics need" if len(named) > 1 else "1 metric needs"
        which = f"({', '.join(named)})" + (f": {reasons}" if reasons else "")
        yield f"{_by(', '.join(concerned))}skipped: {need} {what} {which}"


def _needs(measurement: Measurement) -> dict[str, tuple[list[str], dict[str, None]]]:
    """Return what is missing, with the metrics that need it and the reasons."""
    found: dict[str, tuple[list[str], dict[str, None]]] = {}
    for metric, failure in measurement.failures.items():
        if failure.startswith(NEEDS):
            what, _, why = failure.removeprefix(NEEDS).partition(": ")
            metrics, reasons = found.setdefault(what, ([], {}))
            metrics.append(metric)
            reasons |= {why: None} if why else {}
    return found


def _unpublished(called: Mapping[str, Measurement], metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield a warning if papers report one of the values with another feature extractor."""
    published = {name for metric in metrics for name, quantity in metric.quantities.items() if quantity.published}
    own = [each for each in called.values() if each.extractor.name != PUBLISHED_EXTRACTOR]
    if any(published & each.values.keys() for each in own):
        yield describe_unpublished(own[0].extractor.name)
        yield from filter(None, dict.fromkeys(describe_seed_effect(each.extractor.name) for each in own))


def _warnings(called: Mapping[str, Measurement]) -> Iterator[str]:
    for (one, first), (other, second) in itertools.combinations(called.items(), 2):
        reasons = list_differences(first, second)
        if reasons:
            yield f"{one} and {other} are not comparable: {'; '.join(reasons)}"

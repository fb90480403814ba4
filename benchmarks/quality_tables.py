"""Tables and curves of benchmarks/quality.py."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

__all__ = ["MACHINE", "overtaken", "plot", "tables", "value_at"]

Result = dict[str, Any]

MACHINE = ("processor", "cores", "threads", "device_name", "precision", "torch")
MOMENTS = (2, 4, 8, 15, 30, 60, 120, 300, 600, 1200, 4200)  # seconds
COLOURS = ("#2e6f95", "#d1495b", "#edae49", "#66a182", "#8d6a9f")


def tables(results: Sequence[Result], ours: str) -> str:
    """Markdown: how good at the end, over time, and how soon the others' best is passed.

    Args:
        results: of trials and seeds, sorted by trial.
        ours: the contender that the others are compared with.
    """
    machine = ", ".join(f"{name} {results[-1][name]}" for name in MACHINE)
    seeds = sorted({each["seed"] for each in results})
    head = f"Quality, {machine}, seeds {', '.join(map(str, seeds))}: medians over the seeds (lowest to highest)."
    ends = "FID of so many images as stated against as many of the data set, or all of it; the lower the better."
    moments = (
        "FID on the way, medians: of 1,000 images against the training part, so not to be compared with those above; "
        "TensorFlow's as above."
    )
    passing = (
        f"When `{ours}` passed the others' best: on the way where both were tracked alike, else at the end of a "
        "training of that length. The last column compares the best generators at equal length, as in the first table."
    )
    parts = [head, ends, final(results), alarms(results), moments, on_the_way(results)]
    rivals = overtakings(results, ours)
    return "\n\n".join([*parts, passing, rivals] if rivals else parts)


def final(results: Sequence[Result]) -> str:
    """A line a trial: the figures of the best generator and of the end."""
    columns = ("data", "contender", "length", "seeds", "images judged", "FID of the best", "FID of the end")
    columns += ("label fidelity", "classes covered", "kimg", "images/s", "commit")
    lines = []
    for trial in trials(results):
        first = trial[0]
        covered = first["best"].get("classes", "").partition(";")[0]
        cells = [*named(first), str(len(trial)), f"{first['num']:,}"]
        cells += [
            ranged(trial, lambda each: each["best"].get("fid")),
            ranged(trial, lambda each: each["last"].get("fid")),
        ]
        cells += [ranged(trial, lambda each: each["best"].get("label_fidelity"), "{:.1%}")]
        cells += [f"{ranged(trial, lambda each: each['best'].get('classes_covered'), '{:.0f}')} {covered}"]
        cells += [ranged(trial, lambda each: each["kimg"], "{:,.0f}")]
        cells += [ranged(trial, lambda each: 1000 * each["kimg"] / max(each["seconds"], 1e-9), "{:,.0f}")]
        lines.append([*cells, ", ".join(sorted({each["commit"] for each in trial}))])
    return markdown(columns, lines)


def alarms(results: Sequence[Result]) -> str:
    """What the guard said of the trainings that it watched, which are all but those of other programs."""
    watched = [each for each in results if "alarms" in each]
    kimg = sum(each["kimg"] for each in watched)
    head = f"The guard watched {len(watched)} of these trainings, {kimg:,.0f} kimg in all, and said"
    said = [f"- {' '.join(named(each))}, seed {each['seed']}: {words}" for each in watched for words in each["alarms"]]
    return "\n".join([f"{head}:", *said]) if said else f"{head} nothing."


def on_the_way(results: Sequence[Result]) -> str:
    """A line a trial: the last figure at some moments."""
    last = max(each["seconds"] for each in results)
    moments = [moment for moment in MOMENTS if moment <= last]
    lines = []
    for trial in trials(results):
        curves = [each["curve"] for each in trial]
        found = [[value for curve in curves if (value := value_at(curve, moment)) is not None] for moment in moments]
        longest = max(each["seconds"] for each in trial)
        whole = [
            len(values) == len(curves) and moment <= 1.05 * longest
            for values, moment in zip(found, moments, strict=True)
        ]
        values = [f"{statistics.median(each):.3g}" if there else "" for each, there in zip(found, whole, strict=True)]
        lines.append([*named(trial[0]), *values])
    return markdown(("data", "contender", "length", *(f"{moment} s" for moment in moments)), lines)


def value_at(curve: Sequence[Sequence[float]], seconds: float) -> float | None:
    """The last figure of a curve up to a moment."""
    before = [value for moment, _, value in curve if moment <= seconds]
    return before[-1] if before else None


def overtakings(results: Sequence[Result], ours: str) -> str:
    """A line for each trial of others: when it was best, and how soon ours was as good."""
    columns = (
        "data",
        "contender",
        "length",
        "best FID",
        "after s",
        f"{ours} after s",
        "of the time",
        "FID at equal length",
    )
    lines = []
    for trial in trials(results):
        own = [each for each in results if place(each) == place(trial[0]) and each["contender"] == ours]
        if trial[0]["contender"] == ours or not own:
            continue
        best, after = (statistics.median(values) for values in zip(*map(best_point, trial), strict=True))
        passed = overtaken(own, best, trial[0]["curve_seen"])
        equal = [each["best"]["fid"] for each in own if each["length"] == trial[0]["length"]]
        ratio = f"1/{after / passed:.3g}" if math.isfinite(passed) else ""
        theirs = statistics.median(each["best"]["fid"] for each in trial)
        share = f"1/{theirs / statistics.median(equal):.3g} of it" if equal else ""
        soon = f"{passed:.3g}" if math.isfinite(passed) else "not yet"
        lines.append([*named(trial[0]), f"{best:.4g}", f"{after:.4g}", soon, ratio, share])
    return markdown(columns, lines) if lines else ""


def best_point(result: Result) -> tuple[float, float]:
    """The lowest FID of a curve and its second."""
    seconds, _, value = min(result["curve"], key=lambda each: each[2])
    return value, seconds


def overtaken(own: Iterable[Result], value: float, seen: str) -> float:
    """Seconds after which our FID was that good: the median over the seeds, infinite if it never was.

    Args:
        own: our results, of any length.
        value: the FID to reach.
        seen: digest of the feature network that it was seen through; figures of other networks do not count.
    """
    moments: dict[int, float] = {}
    for each in own:
        points = each["curve"] if each["curve_seen"] == seen else []
        if each["seen"] == seen:
            points = [*points, [each["seconds"], each["kimg"], each["last"]["fid"]]]
        reached = [moment for moment, _, figure in points if figure <= value]
        moments[each["seed"]] = min([moments.get(each["seed"], math.inf), *reached])
    return statistics.median(moments.values())


# --- curves ------------------------------------------------------------------------------------------------


def plot(results: Sequence[Result], path: Path) -> Path:
    """FID over seconds and over images, a row for each data set and size; both axes logarithmic.

    Args:
        results: as for ``tables``.
        path: x.png.
    """
    places = list(dict.fromkeys(map(place, results)))
    contenders = list(dict.fromkeys(each["contender"] for each in results))
    figure = Figure(figsize=(10, 3.4 * len(places)), layout="constrained")
    rows = figure.subplots(len(places), 2, squeeze=False, sharey="row")
    for (data, size), row in zip(places, rows, strict=True):
        for each in results:
            if place(each) == (data, size):
                colour = COLOURS[contenders.index(each["contender"]) % len(COLOURS)]
                for axes, axis in zip(row, (0, 1), strict=True):
                    draw(axes, each, axis, colour)
        for axes, label in zip(row, ("seconds of training", "thousand images"), strict=True):
            axes.set(xscale="log", yscale="log", xlabel=label, title=f"{data}, {size} px")
            axes.spines[["top", "right"]].set_visible(False)
            for scale in (axes.xaxis, axes.yaxis):
                scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
                scale.set_major_formatter("{x:g}")
                scale.set_minor_locator(NullLocator())
        row[0].set_ylabel("FID")
        handles, labels = row[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        row[1].legend(unique.values(), unique.keys(), frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)
    return path


def draw(axes: Any, result: Result, axis: int, colour: str) -> None:
    """One training: a thin line on the way, a dot for the end's figure of all images."""
    curve = result["curve"]
    axes.plot([p[axis] for p in curve], [p[2] for p in curve], color=colour, linewidth=0.9, alpha=0.7)
    end = (result["seconds"], result["kimg"])[axis]
    label = f"{result['contender']} (dot: the end, {result['num']:,} images)"
    axes.plot([end], [result["last"]["fid"]], "o", color=colour, markersize=4, label=label)


# --- words -------------------------------------------------------------------------------------------------


def trials(results: Iterable[Result]) -> list[list[Result]]:
    """Results that differ only in their seeds, together."""
    groups = itertools.groupby(results, lambda each: (*place(each), each["contender"], each["length"]))
    return [list(group) for _, group in groups]


def place(result: Result) -> tuple[str, int]:
    """What was trained on."""
    return result["data"], result["size"]


def named(result: Result) -> list[str]:
    """The first cells of a line."""
    return [f"{result['data']} {result['size']} px", result["contender"], result["length"]]


def ranged(trial: Sequence[Result], figure: Callable[[Result], float | None], form: str = "{:,.4g}") -> str:
    """A figure's median over the seeds, and its range where there are several."""
    values = [value for each in trial if (value := figure(each)) is not None]
    if not values:
        return ""
    median = form.format(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({form.format(min(values))} to {form.format(max(values))})"


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table."""
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)

"""Tables and pictures of benchmarks/diffusion.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

__all__ = ["draw_pictures", "speeds", "table"]

Result = dict[str, Any]

COLUMNS, ROWS = 4, 2  # images of one training in the picture
METRICS = {"kid": ("KID x 1000", 1000), "fid": ("FID", 1), "precision": ("precision", 1), "recall": ("recall", 1)}
SPEED_NOTE = (
    "Sampling is measured for gansmith. For the others, it is a multiple of the measured time in which their network "
    "is evaluated for 8 images. A longer training lets `auto` choose a larger network."
)
NOTES = (
    "Minutes: of training on this machine without other load. The speed was measured so, and as many steps were made "
    "as fit; a run itself may have taken longer. Warm-ups of the learning rate are a tenth of the training at most.",
    "KID, FID, precision and recall: of so many images as stated against all images of the data set, at most 10,000, "
    "with 95 % intervals. FID needs more images than features.",
)


def speeds(results: Sequence[Result]) -> str:
    """Return Markdown: a line for each sampler of each tool."""
    columns = ("data", "tool", "million weights", "images/s in training", "images seen in 20 min", "in 60 min")
    columns += ("sampler", "seconds for 1,000 samples", "times gansmith's")
    own = {each["data"]: each["evaluation_seconds"] for each in results if each["tool"] == "gansmith"}
    lines = []
    for each in results:
        rate, first = each["images_per_second"], _place(each)
        about = [*first, _number(each["parameters"] / 1e6), _number(rate), f"{1200 * rate:,.0f}", f"{3600 * rate:,.0f}"]
        for sampler, evaluations in each["samplers"].items():
            seconds = each["evaluation_seconds"] * evaluations
            ratio = _number(seconds / own[each["data"]]) if each["data"] in own else ""
            lines.append([*about, sampler, _number(1000 * seconds), ratio])
    return f"{_markdown(columns, lines)}\n\n{SPEED_NOTE}"


def table(results: Sequence[Result]) -> str:
    """Return Markdown: the trainings, then the metrics in each feature space."""
    parts = [_trainings(results)]
    for name in dict.fromkeys(name for each in results for name in each["values"]):
        parts.append(f"Feature extractor `{name}`:\n\n{_metrics(results, name)}")
    return "\n\n".join([*parts, *NOTES])


def _trainings(results: Sequence[Result]) -> str:
    columns = ("data", "tool", "minutes", "seed", "images seen", "steps", "samples", "drawn by")
    lines = []
    for each in results:
        cells = [*_place(each), f"{each['minutes']:g}", f"{each['seed']}", f"{each['images_seen']:,}"]
        lines.append([*cells, f"{each['steps']:,}", f"{each['samples']:,}", each["drawn_by"]])
    return _markdown(columns, lines)


def _metrics(results: Sequence[Result], extractor: str) -> str:
    columns = ("data", "tool", "minutes", "images", *(title for title, _ in METRICS.values()))
    lines = []
    for each in results:
        if values := each["values"].get(extractor):
            cells = [_interval(values.get(name), factor) for name, (_, factor) in METRICS.items()]
            lines.append([*_place(each), f"{each['minutes']:g}", f"{each['samples']:,}", *cells])
    return _markdown(columns, lines)


def _place(result: Result) -> list[str]:
    return [f"{result['data']} {result['size']} px", result["about"]]


def _interval(found: Sequence[float] | None, factor: float) -> str:
    if found is None:
        return "too few images"
    value, low, high = (_number(factor * each) for each in found)
    return f"{value} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def draw_pictures(samples: Mapping[tuple[str, str], Path], path: Path) -> Path:
    """Draw the first samples of each training, not selected: a row for each tool, a column for each data set.

    Args:
        samples: .npz files by data set and tool; those that are not there leave their place empty.
        path: x.png.
    """
    sets, tools = (list(dict.fromkeys(key[at] for key in samples)) for at in (0, 1))
    figure = Figure(figsize=(1 + 3.2 * len(sets), 0.3 + 1.75 * len(tools)), layout="constrained")
    places = figure.subplots(len(tools), len(sets), squeeze=False)
    for row, tool in zip(places, tools, strict=True):
        for axes, data in zip(row, sets, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if (file := samples.get((data, tool))) and file.exists():
                axes.imshow(_montage(np.load(file)["images"]))
        row[0].set_ylabel(tool, fontsize="small")
    for axes, data in zip(places[0], sets, strict=True):
        axes.set_title(data, fontsize="small")
    figure.savefig(path, dpi=110)
    return path


def _montage(images: Any) -> Any:
    """Return the first images side by side in rows, uint8 [h w c]; missing ones are white."""
    side = images.shape[1:]
    sheet = np.full((ROWS * COLUMNS, *side), 255, np.uint8)
    sheet[: len(images)] = images[: ROWS * COLUMNS]
    rows = sheet.reshape(ROWS, COLUMNS, *side).swapaxes(1, 2)
    return rows.reshape(ROWS * side[0], COLUMNS * side[1], side[2])

"""Tables and pictures of benchmarks/diffusion.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

__all__ = ["draw_pictures", "table"]

Result = dict[str, Any]

COLUMNS, ROWS = 4, 2  # images of one training in the picture
METRICS = {"kid": ("KID x 1000", 1000), "fid": ("FID", 1), "precision": ("precision", 1), "recall": ("recall", 1)}
NOTES = (
    "Minutes: of training on this machine without other load. The speed was measured so, and as many steps were made "
    "as fit; a run itself may have taken longer. Warm-ups of the learning rate are a tenth of the training at most.",
    "Seconds for 1,000 samples: for gansmith measured, for the others of an evaluation of the network for 16 images, "
    "times the evaluations of 1,000 samples. The sampler in bold drew the samples.",
    "KID, FID, precision and recall: of so many images as stated against all images of the data set, at most 10,000, "
    "with 95 % intervals. FID needs more images than features.",
)


def table(results: Sequence[Result]) -> str:
    """Return Markdown: trainings and sampling, then the metrics in each feature space."""
    parts = [_trainings(results)]
    for name in dict.fromkeys(name for each in results for name in each["values"]):
        parts.append(f"Feature extractor `{name}`:\n\n{_metrics(results, name)}")
    return "\n\n".join([*parts, *NOTES])


def _trainings(results: Sequence[Result]) -> str:
    columns = ("data", "tool", "minutes", "images seen", "steps", "million weights", "seconds for 1,000 samples")
    lines = []
    for each in results:
        about = each["about"]
        drawn_by, seconds = about["drawn_by"], []
        for name, value in each["seconds_for_1000"].items():
            seconds.append(f"{f'**{name}**' if name == drawn_by else name}: {_number(value)}")
        cells = [*_place(each), f"{each['minutes']:g}", f"{about['images_seen']:,}", f"{about['steps']:,}"]
        lines.append([*cells, f"{about['parameters'] / 1e6:.1f}", "; ".join(seconds)])
    return _markdown(columns, lines)


def _metrics(results: Sequence[Result], extractor: str) -> str:
    columns = ("data", "tool", "minutes", "images", *(title for title, _ in METRICS.values()))
    lines = []
    for each in results:
        if values := each["values"].get(extractor):
            cells = [_interval(values.get(name), factor) for name, (_, factor) in METRICS.items()]
            lines.append([*_place(each), f"{each['minutes']:g}", f"{each['about']['samples']:,}", *cells])
    return _markdown(columns, lines)


def _place(result: Result) -> list[str]:
    return [f"{result['data']} {result['size']} px", result["about"]["tool"]]


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

"""Plots of a run's losses and logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gansmith.files import replace_file

__all__ = ["plot_losses"]

_GENERATOR, _DISCRIMINATOR = "#d1495b", "#2e6f95"


def plot_losses(records: Sequence[dict[str, Any]], path: Path) -> Path:
    """Plot losses and logits against images seen, write the plot as PNG, and return its path.

    Args:
        records: lines of ``RunFolder.read_stats``, at least one.
        path: the PNG file.
    """
    kimg = [record["progress/nimg"] / 1000 for record in records]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    curves = [
        (left, "loss/generator", "generator", _GENERATOR),
        (left, "loss/discriminator", "discriminator", _DISCRIMINATOR),
        (right, "logits/fake", "generated", _GENERATOR),
        (right, "logits/real", "real", _DISCRIMINATOR),
    ]
    for axes, key, label, colour in curves:
        mean = [record.get(key, float("nan")) for record in records]
        deviation = [record.get(f"{key}.std", 0.0) for record in records]
        low = [m - d for m, d in zip(mean, deviation, strict=True)]
        high = [m + d for m, d in zip(mean, deviation, strict=True)]
        axes.plot(kimg, mean, label=label, color=colour, marker="." if len(records) < 3 else None)
        axes.fill_between(kimg, low, high, color=colour, alpha=0.15, linewidth=0)
    for axes, title in ((left, "loss"), (right, "D's logit of images")):
        axes.set(title=title, xlabel="thousand images")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    with replace_file(path) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png")
    return path

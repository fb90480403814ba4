"""gansmith train DATA"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Required, Text, parse_with_overrides

__all__ = ["main"]


@dataclass(frozen=True)
class Train:
    """Train a GAN on a named data set or on your own images.

    Any field of the configuration can be given too, by its path: --model.width 32, --loss hinge,
    --generator_optimizer.lr 1e-4. `gansmith list fields` names them all.
    """

    data: Required
    """a data set's name (gansmith list data), or a path: a folder, a zip, an .npz"""
    root: Text = None
    """where a local copy of a named data set lies"""
    preset: Text = None
    """where to start from (gansmith list presets)"""
    length: Text = None
    """how long: "10 min", "50 epochs", "3000 steps", "500 kimg\""""
    run: Text = None
    """the folder to write; runs/DATA-PRESET-N if not given"""
    seed: Text = None
    """decides the weights, the order of the data and all noise"""
    size: Text = None
    """of the images: 64, or 48x64 for width x height"""


def main(arguments: Sequence[str]) -> None:
    """Train."""
    options, overrides = parse_with_overrides(Train, "train", arguments)
    from gansmith import api

    if options.seed is not None:
        overrides["seed"] = int(options.seed) if options.seed.isdigit() else options.seed
    api.train(
        options.data,
        root=options.root,
        preset=options.preset,
        length=options.length,
        run=options.run,
        size=options.size,
        overrides=overrides,
    )

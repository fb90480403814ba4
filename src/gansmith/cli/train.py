"""gansmith train DATA"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Count, DataName, OptionalPath, Rate, Text, parse_with_overrides

__all__ = ["main"]


@dataclass(frozen=True)
class TrainOptions:
    """Train a GAN on a named data set or on your own images.

    Any field of the configuration can be given too, by its path: --model.width 32, --loss hinge,
    --generator_optimizer.lr 1e-4. `gansmith list fields` names them all.
    """

    data: DataName
    """a data set's name (gansmith list data), or a path: a folder, a zip, an .npz"""
    root: OptionalPath = None
    """where a local copy of a named data set lies"""
    preset: Text = None
    """where to start from (gansmith list presets)"""
    length: Text = None
    """how long: "10 min", "50 epochs", "3000 steps", "500 kimg\""""
    minutes: Rate = None
    """the same as --length "10 min\""""
    epochs: Rate = None
    """times that all images are seen: the same as --length "50 epochs\""""
    steps: Count = None
    """updates of the generator: the same as --length "3000 steps\""""
    kimg: Rate = None
    """thousands of real images seen: the same as --length "500 kimg\""""
    run: OptionalPath = None
    """the folder to write; runs/DATA-PRESET-N if not given"""
    seed: Text = None
    """decides the weights, the order of the data and all noise"""
    size: Text = None
    """of the images: 64, or 48x64 for width x height"""
    resolution: Text = None
    """the same as --size"""
    lr: Rate = None
    """the learning rate of both networks; one each with --generator_optimizer.lr and --discriminator_optimizer.lr"""


def main(arguments: Sequence[str]) -> None:
    """Train."""
    options, overrides = parse_with_overrides(TrainOptions, "train", arguments)
    from gansmith import api
    from gansmith.training.keywords import expand_short_names

    names = ("length", "minutes", "epochs", "steps", "kimg", "size", "resolution", "lr")
    overrides = expand_short_names(**{name: getattr(options, name) for name in names}, prefix="--") | overrides
    if options.seed is not None:
        overrides["seed"] = int(options.seed) if options.seed.isdigit() else options.seed
    api.train(options.data, root=options.root, preset=options.preset, run=options.run, overrides=overrides)

"""gansmith train DATA"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Count, DataName, OptionalPath, Rate, Text, parse_with_overrides
from gansmith.errors import ConfigError

__all__ = ["main"]


@dataclass(frozen=True)
class Train:
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
    options, overrides = parse_with_overrides(Train, "train", arguments)
    length, size = _length(options), _one_of(size=options.size, resolution=options.resolution)
    if options.lr is not None:
        overrides = {f"{owner}_optimizer.lr": options.lr for owner in ("generator", "discriminator")} | overrides
    if options.seed is not None:
        overrides["seed"] = int(options.seed) if options.seed.isdigit() else options.seed
    from gansmith import api

    api.train(
        options.data,
        root=options.root,
        preset=options.preset,
        length=length,
        run=options.run,
        size=size,
        overrides=overrides,
    )


def _length(options: Train) -> str | None:
    units = {"minutes": "min", "epochs": "epochs", "steps": "steps", "kimg": "kimg"}
    counts = {name: getattr(options, name) for name in units}
    lengths = {name: None if n is None else f"{n:.15g} {units[name]}" for name, n in counts.items()}
    return _one_of(length=options.length, **lengths)


def _one_of(**ways: str | None) -> str | None:
    """The one that was given of several ways to say the same."""
    given = {name: text for name, text in ways.items() if text is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in given)}: say the same; give one of them")
    return next(iter(given.values()), None)

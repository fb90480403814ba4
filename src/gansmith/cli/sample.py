"""gansmith sample RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gansmith.cli.options import Number, RunPath, Text, parse

__all__ = ["main"]


@dataclass(frozen=True)
class SampleOptions:
    """Make images with a trained generator. One seed is one image: --seed 5 --num 3 makes those of 5, 6 and 7."""

    run: RunPath
    """the run's folder"""
    num: int = 64
    """how many"""
    seed: int = 0
    """the first one's seed"""
    label: Text = None
    """a class's number or name; each image's own if not given"""
    truncation: Number = 1.0
    """factor on the latent, up to 1: less is more typical and less varied"""
    out: str = "samples.png"
    """grid.png, file.npz, or a folder for one PNG each"""
    snapshot: Literal["best", "last"] = "best"
    """the best generator that training kept, or that of the newest checkpoint"""
    ema: bool = True
    """with the averaged weights"""


def main(arguments: Sequence[str]) -> None:
    """Sample."""
    options = parse(SampleOptions, "sample", arguments)
    from gansmith import api

    generator = api.open_run(options.run).generator(snapshot=options.snapshot, ema=options.ema)
    samples = generator.sample(options.num, seed=options.seed, label=options.label, truncation=options.truncation)
    name = samples.class_name()
    of_class = "" if name is None else f" of class {name}"
    print(f"{len(samples)} images{of_class}: {samples.save(options.out)}")

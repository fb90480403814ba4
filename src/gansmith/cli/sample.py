"""gansmith sample RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gansmith.cli.options import Averaged, Flag, Number, Output, RunPath, Text, Whole, parse, print_json

__all__ = ["main"]


@dataclass(frozen=True)
class SampleOptions:
    """Generate images with a trained generator.

    Each seed gives one image: --seed 5 --num 3 generates those of the seeds 5, 6 and 7.
    """

    run: RunPath
    """the run's folder, zoo:NAME (gansmith list zoo) or hf:USER/NAME"""
    num: Whole = 64
    """number of images"""
    seed: Whole = 0
    """seed of the first image"""
    label: Text = None
    """number or name of a class; default: classes drawn in the data's proportions"""
    truncation: Number = 1.0
    """factor on the latents, at most 1; smaller: more typical and less varied images"""
    out: Output = "samples.png"
    """x.png (one grid of images), x.npz (arrays), or a folder (one PNG per image)"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Generate images."""
    options = parse(SampleOptions, "sample", arguments)
    from pathlib import Path

    from gansmith.runs import RunFolder
    from gansmith.training.snapshots import find_snapshot, load_generator  # not api, which takes a second to import

    folder = RunFolder.open(Path(options.run))
    generator = load_generator(folder, find_snapshot(folder, options.snapshot, ema=options.ema))
    samples = generator.sample(options.num, seed=options.seed, label=options.label, truncation=options.truncation)
    name, path = samples.class_name(), samples.save(options.out)
    if options.json:
        print_json({"path": str(path), "num_images": len(samples), "seed": options.seed, "class_name": name})
    else:
        print(f"{len(samples)} images{'' if name is None else f' of class {name}'}: {path}")

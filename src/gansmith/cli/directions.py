"""gansmith directions RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gansmith.cli.options import Count, Flag, Number, Output, RunPath, Text, Whole, parse, print_json

__all__ = ["main"]


@dataclass(frozen=True)
class DirectionsOptions:
    """Find the directions of the latent space that change images most, and show a sample moved along each.

    The share beside each row is that of the variance of features, or of the first layer's output, which the direction
    explains.
    """

    run: RunPath
    """the run's folder, zoo:NAME (gansmith list zoo) or hf:USER/NAME"""
    method: Literal["features", "weights"] = "features"
    """features: principal components of an early layer (GANSpace); weights: factors of the first layer (SeFa)"""
    num: Whole = 6
    """number of directions"""
    seed: Whole = 0
    """seed of the sample that is moved"""
    label: Text = None
    """number or name of its class, and of the samples for features; default: the seed's, and all classes"""
    reach: Number = 3.0
    """standard deviations of a latent to either side"""
    steps: Whole = 7
    """images of a row, an odd number"""
    num_latents: Whole = 2000
    """samples for features"""
    layer: Whole = 2
    """for features: the layer whose input is taken; 1 is the first, which reads the latent"""
    out: Output = "directions.png"
    """x.png (one row per direction), x.npz (the vectors and their shares), or a folder (one PNG per image)"""
    scale: Count = None
    """whole factor of enlargement; default: images of about 256 pixels, or as far as a screen allows"""
    smooth: Flag = False
    """enlarge smoothly instead of repeating pixels"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Find and show directions."""
    options = parse(DirectionsOptions, "directions", arguments)
    from pathlib import Path

    from gansmith.images.pixels import file_kind
    from gansmith.runs import RunFolder
    from gansmith.sampling.directions import find_directions
    from gansmith.training.snapshots import find_snapshot, load_generator  # not api, which takes a second to import

    folder = RunFolder.open(Path(options.run))
    generator = load_generator(folder, find_snapshot(folder))
    search = {"num_latents": options.num_latents, "layer": options.layer}
    found = find_directions(generator, options.method, options.num, label=options.label, **search)
    if file_kind(options.out) == "npz":
        path = found.save(Path(options.out))
    else:
        strip = found.strip(seed=options.seed, label=options.label, reach=options.reach, steps=options.steps)
        path = strip.save(options.out, scale=options.scale, smooth=options.smooth)
    if options.json:
        facts = {"path": str(path), "method": found.method, "layer": found.layer, "seed": options.seed}
        print_json({**facts, "shares": found.shares.tolist()})
        return
    shares = ", ".join(f"{share:.1%}" for share in found.shares)
    print(f"{len(found)} directions by {found.method} of {found.layer} ({shares}): {path}")

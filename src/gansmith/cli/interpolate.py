"""gansmith interpolate RUN"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gansmith.cli.options import Count, Flag, Number, Output, RunPath, Text, Whole, parse, print_json

__all__ = ["main"]


@dataclass(frozen=True)
class InterpolateOptions:
    """Interpolate between the latents of two seeds. A seed that you omit is chosen at random and printed."""

    run: RunPath
    """the run's folder, zoo:NAME (gansmith list zoo) or hf:USER/NAME"""
    from_seed: Count = None
    """seed of the first image; default: random"""
    to_seed: Count = None
    """seed of the last image; default: random"""
    steps: Whole = 8
    """number of images, the first and the last included"""
    method: Literal["slerp", "lerp"] = "slerp"
    """spherical or linear interpolation"""
    label: Text = None
    """number or name of the class of all images; default: the class of the first seed"""
    out: Output = "interpolation.png"
    """x.png (one row), x.gif or x.mp4 (forwards and backwards), or a folder of PNGs"""
    fps: Number = 10.0
    """frames per second of a GIF or MP4"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Interpolate."""
    words = [word for word in arguments if word != "random"]  # "RUN random" means no seeds
    options = parse(InterpolateOptions, "interpolate", words)
    from gansmith import api
    from gansmith.sampling import walks

    start, end = (secrets.randbelow(2**31) if seed is None else seed for seed in (options.from_seed, options.to_seed))
    run = api.open_run(options.run)
    samples = run.interpolate(start, end, steps=options.steps, method=options.method, label=options.label)
    name, path = samples.class_name(), walks.save_walk(samples, options.out, options.fps)
    if options.json:
        facts = {"path": str(path), "num_images": options.steps, "from_seed": start, "to_seed": end}
        print_json({**facts, "class_name": name})
        return
    of_class = "" if name is None else f" of class {name}"
    print(f"{options.steps} images{of_class} from seed {start} to seed {end}: {path}")

"""gansmith interpolate RUN"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gansmith.cli.options import Count, Number, RunPath, Text, parse

__all__ = ["main"]


@dataclass(frozen=True)
class InterpolateOptions:
    """Walk between the latents of two seeds. A seed that is not given is drawn at random, and said."""

    run: RunPath
    """the run's folder"""
    from_seed: Count = None
    """where the walk begins"""
    to_seed: Count = None
    """where it ends"""
    steps: int = 8
    """images, both ends included"""
    method: Literal["slerp", "lerp"] = "slerp"
    """turn about the origin, or go straight"""
    label: Text = None
    """the class of all images; that of the first seed if not given"""
    out: str = "interpolation.png"
    """x.png (one row), x.gif or x.mp4 (to and fro), or a folder of PNGs"""
    fps: Number = 10.0
    """frames a second of a GIF or MP4"""


def main(arguments: Sequence[str]) -> None:
    """Interpolate."""
    words = [word for word in arguments if word != "random"]  # "RUN random" is what no seeds mean
    options = parse(InterpolateOptions, "interpolate", words)
    from gansmith import api
    from gansmith.sampling import walks

    start = secrets.randbelow(2**31) if options.from_seed is None else options.from_seed
    end = secrets.randbelow(2**31) if options.to_seed is None else options.to_seed
    run = api.open_run(options.run)
    samples = run.interpolate(start, end, steps=options.steps, method=options.method, label=options.label)
    path = walks.save_walk(samples, options.out, options.fps)
    name = samples.class_name()
    of_class = "" if name is None else f" of class {name}"
    print(f"{options.steps} images{of_class} from seed {start} to seed {end}: {path}")

"""gansmith project RUN IMAGE..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from gansmith.cli.options import Flag, Output, RunPath, Text, Whole, parse, print_json, quiet_if
from gansmith.errors import ConfigError

__all__ = ["main"]


@dataclass(frozen=True)
class ProjectOptions:
    """Find the latents whose images are most like given images.

    Two files are written. x.png shows each image beside its reconstruction and their distance. x.npz has the latents,
    the classes, the images and the errors.
    """

    run: RunPath
    """the run's folder, or zoo:NAME (gansmith list zoo)"""
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE ...", help_behavior_hint="")]
    """image files; they are cropped and resized as the training images were"""
    label: Text = None
    """number or name of the class of all images; default: every class is tried"""
    starts: Whole = 6
    """latents that are improved for each image"""
    steps: Whole = 100
    """steps of gradient descent for each image"""
    num_candidates: Whole = 1024
    """random latents that the starts are chosen from"""
    seed: Whole = 0
    """seed of the first random latent"""
    out: Output = "projections.png"
    """x.png or x.npz; both are written"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Project."""
    options = parse(ProjectOptions, "project", arguments)
    if not options.images:
        raise ConfigError("gansmith project: no images; name one image file or several")
    from gansmith import api
    from gansmith.images.pixels import file_kind

    if file_kind(options.out) not in ("png", "npz"):
        raise ConfigError(f"--out {options.out}: projections are written as x.png and x.npz; name one of these files")
    with quiet_if(options.json):
        found = api.open_run(options.run).project(
            list(options.images),
            label=options.label,
            num_candidates=options.num_candidates,
            starts=options.starts,
            steps=options.steps,
            seed=options.seed,
        )
        picture, arrays = found.save(options.out)
    if options.json:
        errors = {"distances": found.distances.tolist(), "psnr": found.psnr.tolist()}
        labels = None if found.labels is None else found.labels.tolist()
        print_json({"picture": str(picture), "arrays": str(arrays), **errors, "labels": labels})
        return
    for path, lines in zip(options.images, found.captions(), strict=True):
        print(f"{path}: {', '.join(lines)}")
    print(f"{picture}, {arrays}")

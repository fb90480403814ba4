"""Walks between two latents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from gansmith.errors import ConfigError
from gansmith.images.pixels import file_kind, save_png
from gansmith.images.sheets import grid
from gansmith.images.video import write_animation
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.types import PixelArray

__all__ = ["Method", "interpolate", "save_walk", "walk"]

MOST_STEPS = 10_000

Method: TypeAlias = Literal["slerp", "lerp"]


def walk(
    start: Float[Tensor, "z"], end: Float[Tensor, "z"], steps: int, method: Method = "slerp"
) -> Float32[Tensor, "{steps} z"]:
    """Return latents from one latent to another, both included.

    Args:
        start: the first latent.
        end: the last latent.
        steps: number of latents, at least 2.
        method: "slerp" rotates about the origin (Shoemake 1985), which keeps the lengths typical of normal latents;
            "lerp" is a straight line.

    Raises:
        ConfigError: ``steps`` is out of range.
    """
    if not 2 <= steps <= MOST_STEPS:
        raise ConfigError(f"steps: {steps} is out of range; expected 2, the two ends, to {MOST_STEPS:,}")
    t = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    a, b = start.double(), end.double()
    cosine = torch.dot(a, b) / (a.norm() * b.norm()).clamp_min(1e-12)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if method == "lerp" or torch.sin(angle) < 1e-6:  # parallel latents define no plane of rotation
        return ((1 - t) * a + t * b).float()
    return ((torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)).float()


def interpolate(
    generator: TrainedGenerator,
    from_seed: int,
    to_seed: int,
    *,
    steps: int = 8,
    method: Method = "slerp",
    label: int | str | None = None,
) -> Samples:
    """Generate images on a walk from one seed's latent to another's.

    Args:
        generator: the generator.
        from_seed: seed of the first image, and of the class unless ``label`` is given.
        to_seed: seed of the last latent.
        steps: number of images, both ends included.
        method: the method of ``walk``.
        label: number or name of the class of all images; None takes the class of ``from_seed``.
    """
    z, labels = generator.draw([from_seed, to_seed], generator.class_number(label))
    if labels is not None:
        labels = labels[:1].repeat(steps)
    images = generator.images(walk(z[0], z[1], steps, method), labels)
    numbers = None if labels is None else labels.numpy()
    return Samples(images=images, labels=numbers, class_names=generator.class_names)


def save_walk(samples: Samples, path: Path | str, fps: float = 10.0) -> Path:
    """Write a walk and return its path: x.png is one row, x.gif or x.mp4 goes back and forth, a folder gets PNGs."""
    kind = file_kind(path)
    if kind in ("gif", "mp4"):
        frames = [grid(image[None]) for image in samples.images]  # grids of one image: on white and enlarged
        return write_animation(_to_and_fro(frames), Path(path), fps)
    if kind == "png":
        return save_png(grid(samples.images, columns=len(samples)), Path(path))
    return samples.save(path)


def _to_and_fro(frames: Sequence[PixelArray]) -> list[PixelArray]:
    return [*frames, *frames[-2:0:-1]]

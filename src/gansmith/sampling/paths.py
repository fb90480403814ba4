"""Latents from one latent to another: a rotation, or a straight line."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from gansmith.errors import ConfigError

__all__ = ["MOST_STEPS", "Method", "walk", "walk_through"]

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


def walk_through(
    ends: Float[Tensor, "k z"], steps: int, method: Method = "slerp", *, loop: bool = False
) -> Float32[Tensor, "n z"]:
    """Return latents from each latent to the next.

    Args:
        ends: the latents to visit, at least 2.
        steps: number of latents from one to the next, both included.
        method: the method of ``walk``.
        loop: return to the first latent, which is not repeated at the end.
    """
    stops = torch.cat([ends, ends[:1]]) if loop else ends
    legs = [walk(start, end, steps, method)[:-1] for start, end in pairwise(stops)]
    return torch.cat(legs if loop else [*legs, ends[-1:].float()])

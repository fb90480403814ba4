"""The operations by name, and which of them suit which images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gansmith.augment import colour, cover, geometry
from gansmith.errors import ConfigError, did_you_mean
from gansmith.types import ImageSpec

__all__ = ["OPERATIONS", "SAFE_OPERATIONS", "Operation", "resolve_operations"]


@dataclass(frozen=True)
class Operation:
    """A random change of images.

    Args:
        kind: what its effect is: a matrix for colours, one for places, or a box that is covered.
        draw: the effects on so many images, one random effect each; on the CPU.
        whole: of places: whether pixels only change places, so that nothing is blurred.
        turns: of places: whether the pixels of a row need not come from one row.
        hides: which pixels become blank, given effects, height and width.
        needs_hues: whether it leaves gray images as they are.
    """

    kind: Literal["colour", "geometry", "cover"]
    draw: Callable[[int, ImageSpec, torch.Generator], Tensor]
    whole: bool = False
    turns: bool = False
    hides: Callable[[Tensor, int, int], Tensor] | None = None
    needs_hues: bool = False


# In the order in which they happen. Colour comes first, as in DiffAugment; ADA has it after geometry, which gives the
# same, for pixels do not change colour as they change places.
OPERATIONS: dict[str, Operation] = {
    "color": Operation("colour", colour.color),
    "brightness": Operation("colour", colour.brightness),
    "contrast": Operation("colour", colour.contrast),
    "luma-flip": Operation("colour", colour.luma_flip),
    "hue": Operation("colour", colour.hue, needs_hues=True),
    "saturation": Operation("colour", colour.saturation, needs_hues=True),
    "mirror": Operation("geometry", geometry.mirror, whole=True),
    "quarter-turn": Operation("geometry", geometry.quarter_turn, whole=True, turns=True),
    "shift": Operation("geometry", geometry.shift, whole=True),
    "scale": Operation("geometry", geometry.scale),
    "stretch": Operation("geometry", geometry.stretch),
    "rotation": Operation("geometry", geometry.rotation, turns=True),
    "fractional-shift": Operation("geometry", geometry.fractional_shift),
    "translation": Operation("geometry", geometry.translation, whole=True, hides=geometry.beyond),
    "cutout": Operation("cover", cover.cutout, hides=cover.inside),
}

# What leaves the meaning of an image of each kind alone. A mirrored digit or sign is another one or none; a sign's
# colour is half of what it says.
SAFE_OPERATIONS: dict[str, tuple[str, ...]] = {
    "digits": ("translation", "cutout"),
    "signs": ("translation", "cutout", "brightness", "contrast"),
    "photos": ("mirror", "translation", "cutout", "brightness", "contrast", "saturation"),
}


def resolve_operations(
    operations: Sequence[str], kind: str, channels: int, where: str = "augment.operations"
) -> tuple[str, ...]:
    """The operations asked for, or where none is, those that are safe for the images.

    Args:
        operations: names; empty for the safe set, less what gray images have not.
        kind: of the data, as ``Source.kind``.
        channels: of the images.
        where: for messages.

    Raises:
        ConfigError: an unknown name, one that changes nothing in gray images, or a kind without a safe set.
    """
    gray = channels == 1
    if not operations:
        if kind not in SAFE_OPERATIONS:
            raise ConfigError(f"{where}: nothing is known to be safe for data of kind '{kind}'; name the operations")
        return tuple(name for name in SAFE_OPERATIONS[kind] if not (gray and OPERATIONS[name].needs_hues))
    for name in operations:
        if name not in OPERATIONS:
            raise ConfigError(f"{where}: no operation is called '{name}'; {did_you_mean(name, OPERATIONS)}")
        if gray and OPERATIONS[name].needs_hues:
            raise ConfigError(f"{where}: '{name}' changes nothing in gray images; leave it out")
    return tuple(operations)

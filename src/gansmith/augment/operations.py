"""The operations by name, and those that are safe for each kind of data."""

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
    """A random augmentation.

    Args:
        kind: the effect: a colour matrix, a matrix of positions, or a box that is covered.
        draw: draws random effects for a number of images, on the CPU.
        whole: for geometry: pixels move by whole pixels, so nothing is blurred.
        turns: for geometry: the pixels of a row may come from several rows.
        hides: returns a mask of the pixels that become mid-gray, given effects, height and width.
        needs_hues: it does not change gray images.
    """

    kind: Literal["colour", "geometry", "cover"]
    draw: Callable[[int, ImageSpec, torch.Generator], Tensor]
    whole: bool = False
    turns: bool = False
    hides: Callable[[Tensor, int, int], Tensor] | None = None
    needs_hues: bool = False


# In the order in which they are applied. Colour is first, as in DiffAugment. After geometry, as in ADA, the result
# would be the same, because moving pixels does not change their colours.
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
    "translation": Operation("geometry", geometry.translation, whole=True, hides=geometry.mask_outside),
    "cutout": Operation("cover", cover.cutout, hides=cover.mask_boxes),
}

# Operations that keep the meaning of an image. A mirrored digit or sign is another one or none, and the colour of a
# sign is part of its meaning.
SAFE_OPERATIONS: dict[str, tuple[str, ...]] = {
    "digits": ("translation", "cutout"),
    "signs": ("translation", "cutout", "brightness", "contrast"),
    "photos": ("mirror", "translation", "cutout", "brightness", "contrast", "saturation"),
}


def resolve_operations(
    operations: Sequence[str], kind: str, channels: int, where: str = "augment.operations"
) -> tuple[str, ...]:
    """Return the given operations after a check; if none is given, those that are safe for the data.

    Args:
        operations: names; empty takes the safe ones, without those that need hues if the images are gray.
        kind: the data's kind, as ``Source.kind``.
        channels: channels of the images.
        where: the field, for messages.

    Raises:
        ConfigError: a name is unknown or has no effect on gray images, or the kind has no safe operations.
    """
    gray = channels == 1
    if not operations:
        if kind not in SAFE_OPERATIONS:
            raise ConfigError(f"{where}: no safe operations are known for data of kind '{kind}'; name the operations")
        return tuple(name for name in SAFE_OPERATIONS[kind] if not (gray and OPERATIONS[name].needs_hues))
    for name in operations:
        if name not in OPERATIONS:
            raise ConfigError(f"{where}: no operation is called '{name}'; {did_you_mean(name, OPERATIONS)}")
        if gray and OPERATIONS[name].needs_hues:
            raise ConfigError(f"{where}: '{name}' has no effect on gray images; omit it")
    return tuple(operations)

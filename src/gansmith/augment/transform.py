"""Draws random operations for a batch and applies them to its images."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from gansmith.augment.colour import recolour
from gansmith.augment.cover import fill_hidden
from gansmith.augment.geometry import resample
from gansmith.augment.operations import OPERATIONS
from gansmith.devices import autocast
from gansmith.errors import ConfigError, did_you_mean
from gansmith.images.pixels import SIGNED, ValueRange
from gansmith.types import Images, ImageSpec, send

__all__ = ["Transform", "draw"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """Random effects for each image of a batch, and thresholds that decide which are applied.

    Args:
        chances: thresholds in [0, 1), one column per operation; it is applied if the probability is above.
        effects: effects on the images by the name of the operation, in the order of ``OPERATIONS``.
    """

    chances: Float32[Tensor, "n m"]
    effects: Mapping[str, Tensor]

    def part(self, rows: slice) -> Transform:
        """Return the transform of some of the images."""
        return Transform(
            chances=self.chances[rows], effects={name: effect[rows] for name, effect in self.effects.items()}
        )

    def to(self, device: torch.device) -> Transform:
        """Return the transform on another device."""
        effects = {name: send(effect, device) for name, effect in self.effects.items()}
        return Transform(chances=send(self.chances, device), effects=effects)

    def __call__(self, images: Images, p: Tensor | float, value_range: ValueRange = SIGNED) -> Images:
        """Apply each operation to each image with probability ``p``; differentiable twice in the images.

        Args:
            images: as many as were drawn for, on the transform's device.
            p: 0 or less changes no bit, 1 or more applies all operations. A tensor must be a scalar on the same device.
            value_range: the values of black and white in the images.

        Returns:
            Images of the same number and dtype in channels-last memory. Values may leave the range, as in both papers.
        """
        height, width = images.shape[2:]
        happening = (self.chances < p).unbind(1)
        effects = {
            name: _only_where(happens, self.effects[name])
            for name, happens in zip(self.effects, happening, strict=True)
        }
        colours, places = (
            {name: effects[name] for name in effects if OPERATIONS[name].kind == kind}
            for kind in ("colour", "geometry")
        )
        hidden = [hides(effects[name], height, width) for name in effects if (hides := OPERATIONS[name].hides)]
        with autocast(images.device, None):  # bfloat16 is too coarse for positions
            if colours:
                images = recolour(images, _compose(colours.values()).to(images.dtype), value_range)
            if places:
                whole = all(OPERATIONS[name].whole for name in places)
                turned = any(OPERATIONS[name].turns for name in places)
                images = resample(images, _compose(places.values()), whole=whole, turned=turned)
            if hidden:
                images = fill_hidden(images, functools.reduce(torch.logical_or, hidden), value_range)
        return images.contiguous(memory_format=torch.channels_last)


def _only_where(happens: Tensor, effect: Tensor) -> Tensor:
    """Return the effect where it happens, and elsewhere the neutral effect: identity matrix or empty box."""
    if effect.dim() == 2:
        return effect * happens[:, None]
    unit = torch.eye(effect.shape[-1], dtype=effect.dtype, device=effect.device)
    return torch.where(happens[:, None, None], effect, unit)


def _compose(matrices: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.bmm, matrices)


def draw(operations: Sequence[str], num: int, spec: ImageSpec, stream: torch.Generator) -> Transform:
    """Draw the random effects for a batch; they do not depend on the probability of operations.

    Args:
        operations: names in ``OPERATIONS``, in any order.
        num: images in the whole batch, over all ranks and micro-batches, each of which takes a ``part``.
        spec: shape of the images.
        stream: source of random numbers.

    Raises:
        ConfigError: a name is unknown.
    """
    for name in operations:
        if name not in OPERATIONS:
            raise ConfigError(f"operations: no operation is called '{name}'; {did_you_mean(name, OPERATIONS)}")
    chosen = [name for name in OPERATIONS if name in operations]
    return Transform(
        chances=torch.rand(num, len(chosen), generator=stream),
        effects={name: OPERATIONS[name].draw(num, spec, stream) for name in chosen},
    )

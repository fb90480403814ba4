"""Random operations drawn for a batch, and what they do to its images."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from gansmith.augment.colour import recoloured
from gansmith.augment.cover import blanked
from gansmith.augment.geometry import resampled
from gansmith.augment.operations import OPERATIONS
from gansmith.errors import ConfigError, did_you_mean
from gansmith.images.pixels import SIGNED, ValueRange
from gansmith.types import Images, ImageSpec, sent

__all__ = ["Transform", "draw"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """What operations would do to each image of a batch, and how likely each has to be before it does.

    Args:
        chances: in [0, 1), one column an operation; it happens where the probability is above.
        effects: of each operation on each image, by the operation's name, in the order of ``OPERATIONS``.
    """

    chances: Float32[Tensor, "n m"]
    effects: Mapping[str, Tensor]

    def part(self, rows: slice) -> Transform:
        """The transform of some of the images."""
        return Transform(
            chances=self.chances[rows], effects={name: effect[rows] for name, effect in self.effects.items()}
        )

    def to(self, device: torch.device) -> Transform:
        """The same on another device."""
        effects = {name: sent(effect, device) for name, effect in self.effects.items()}
        return Transform(chances=sent(self.chances, device), effects=effects)

    def __call__(self, images: Images, p: Tensor | float, value_range: ValueRange = SIGNED) -> Images:
        """Each operation on each image with probability ``p``, differentiable with respect to the images, twice too.

        Args:
            images: as many as were drawn for, on the transform's device.
            p: 0 or less leaves every bit as it is, 1 or more lets all happen; a tensor, if one, without dimensions
                and on the same device.
            value_range: of the images.

        Returns:
            as many, of the same type, in channels-last memory; colours may leave the range, as in both papers.
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
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has not the digits for places
            if colours:
                images = recoloured(images, _composed(colours.values()).to(images.dtype), value_range)
            if places:
                whole = all(OPERATIONS[name].whole for name in places)
                turned = any(OPERATIONS[name].turns for name in places)
                images = resampled(images, _composed(places.values()), whole=whole, turned=turned)
            if hidden:
                images = blanked(images, functools.reduce(torch.logical_or, hidden), value_range)
        return images.contiguous(memory_format=torch.channels_last)


def _only_where(happens: Tensor, effect: Tensor) -> Tensor:
    """The effect, and elsewhere that of doing nothing: the unit matrix, or an empty box."""
    if effect.dim() == 2:
        return effect * happens[:, None]
    unit = torch.eye(effect.shape[-1], dtype=effect.dtype, device=effect.device)
    return torch.where(happens[:, None, None], effect, unit)


def _composed(matrices: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.bmm, matrices)


def draw(operations: Sequence[str], num: int, spec: ImageSpec, stream: torch.Generator) -> Transform:
    """All random numbers for a batch; they do not depend on how probable operations are.

    Args:
        operations: names of ``OPERATIONS``, in any order.
        num: images of the whole batch, over all ranks and micro-batches: take ``part`` of it.
        spec: of the images.
        stream: where the numbers come from.

    Raises:
        ConfigError: an unknown name.
    """
    for name in operations:
        if name not in OPERATIONS:
            raise ConfigError(f"operations: none is called '{name}'; {did_you_mean(name, OPERATIONS)}")
    chosen = [name for name in OPERATIONS if name in operations]
    return Transform(
        chances=torch.rand(num, len(chosen), generator=stream),
        effects={name: OPERATIONS[name].draw(num, spec, stream) for name in chosen},
    )

"""Tensor aliases with shape and range, and the few values that all packages share.

Axis letters: n images, c channels, h height, w width, z latent, k classes, d features. Shapes are checked at run time
under pytest only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from gansmith.errors import ConfigError

__all__ = [
    "SIZE_TEXT",
    "Batch",
    "ClassWeights",
    "DiscriminatorOutput",
    "ImageSpec",
    "Images",
    "Labels",
    "Latents",
    "Logits",
    "PixelArray",
    "Pixels",
    "explain_sides",
    "parse_size",
    "send",
    "size_text",
]

Images: TypeAlias = Float[Tensor, "n c h w"]  # in the model's range, [-1, 1] unless it says otherwise
Pixels: TypeAlias = UInt8[Tensor, "n c h w"]  # in channels-last memory, n h w c
Labels: TypeAlias = Int64[Tensor, "n"]  # in [0, k)
ClassWeights: TypeAlias = Float[Tensor, "n k"]  # shares of the classes; each row sums to 1
Latents: TypeAlias = Float[Tensor, "n z"]  # standard normal unless the model says otherwise
Logits: TypeAlias = Float[Tensor, "n"]  # float32 in training; higher means "real"
PixelArray: TypeAlias = NDArray[np.uint8]  # [n h w c], as in stores and files

SIZE_TEXT = r"^\s*([1-9][0-9]{0,4})(?:\s*[xX\u00d7]\s*([1-9][0-9]{0,4}))?\s*$"  # of ``parse_size``


def size_text(*sizes: tuple[int, int]) -> str:
    """Return sizes as text: "32x32", or "48x64 (width x height)" if a size is not square.

    Args:
        sizes: (height, width) of each; several are joined by commas.
    """
    text = ", ".join(f"{width}x{height}" for height, width in sizes)
    return text + explain_sides(sizes)


def parse_size(text: str, where: str = "size") -> tuple[int, int]:
    """Parse an image size: "64" is a square, "48x64" is 48 pixels wide and 64 high; return (height, width).

    Raises:
        ConfigError: the text has neither form.
    """
    found = re.fullmatch(SIZE_TEXT, text)
    if found is None:
        raise ConfigError(f"{where}: expected a size such as 64 or 48x64 (width x height in pixels), got '{text}'")
    width, height = found[1], found[2] or found[1]
    return int(height), int(width)


def explain_sides(sizes: Iterable[tuple[int, int]]) -> str:
    """Return " (width x height)", to follow several sizes, if one of them is not square; else ""."""
    return " (width x height)" if any(height != width for height, width in sizes) else ""


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The shape of images and the number of classes.

    Args:
        height: height in pixels, at least 1.
        width: width in pixels, at least 1.
        channels: 1 gray, 3 RGB, 4 RGBA.
        num_classes: number of classes; 0 for an unconditional model.
    """

    height: int
    width: int
    channels: int
    num_classes: int = 0

    def __str__(self) -> str:
        colour = {1: "gray", 3: "RGB", 4: "RGBA"}.get(self.channels, f"{self.channels} channels")
        classes = f", {self.num_classes} classes" if self.num_classes else ""
        return f"{size_text((self.height, self.width))} {colour}{classes}"


@dataclass(frozen=True)
class Batch:
    """A batch of real images, and their labels if the data has labels."""

    images: Pixels
    labels: Labels | None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return Batch(send(self.images, device), None if self.labels is None else send(self.labels, device))


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOutput:
    """What a discriminator returns of n images: one head or several, and what else losses and penalties may read.

    A discriminator that returns a tensor [n] has one head and nothing else.

    Args:
        heads: float32 logits, [n] each, or [n ...] with a logit for each position of a map.
        features: intermediate maps, [n ...] each, for example for feature matching.
        class_logits: float32 [n k] of an auxiliary classifier; None without one.
        weights: factor on the loss of each head; all 1 if empty.
        penalised: the heads whose gradients R1 and R2 penalise; None for all.

    Raises:
        ConfigError: there are weights, but not as many as heads.
    """

    heads: tuple[Tensor, ...]
    features: tuple[Tensor, ...] = ()
    class_logits: Tensor | None = None
    weights: tuple[float, ...] = ()
    penalised: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.heads):
            raise ConfigError(
                f"the discriminator returned {len(self.heads)} heads and {len(self.weights)} weights; "
                "expected one weight for each head, or none"
            )

    @classmethod
    def of(cls, returned: Tensor | Sequence[Tensor] | DiscriminatorOutput) -> DiscriminatorOutput:
        """Return what a discriminator returned: a tensor is one head, a list of tensors several."""
        if isinstance(returned, DiscriminatorOutput):
            return returned
        return cls(heads=(returned,) if isinstance(returned, Tensor) else tuple(returned))

    @property
    def logits(self) -> Logits:
        """One logit for each image, [n]: the sum over heads of the mean over positions."""
        return _sum_of_means(self.heads)

    @property
    def penalised_logits(self) -> Logits:
        """As ``logits``, of the heads whose gradients are penalised."""
        return self.logits if self.penalised is None else _sum_of_means(self.penalised)


def _sum_of_means(heads: Sequence[Tensor]) -> Logits:
    first, *others = [head.flatten(1).mean(1) if head.dim() > 1 else head for head in heads]
    return sum(others, first)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to a device; return a tensor that is there already.

    The copy to an NVIDIA GPU starts from pinned memory: only then does nothing wait for it. An expanded tensor cannot
    be pinned.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

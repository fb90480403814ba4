"""Layers that the networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from gansmith.types import Labels, Logits

__all__ = [
    "Activation",
    "ConditionalNorm",
    "ConditionalSequential",
    "Crop",
    "Dropout",
    "Initialization",
    "Norm",
    "ProjectionHead",
    "activation",
    "bound",
    "initialize",
    "norm",
    "spectrally_normalized",
]

Activation: TypeAlias = Literal["relu", "leaky-relu", "elu", "gelu", "silu", "tanh"]
Norm: TypeAlias = Literal["batch", "instance", "group", "none"]
Initialization: TypeAlias = Literal["dcgan", "glorot", "torch"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation(name: Activation, leak: float, *, inplace: bool = True) -> nn.Module:
    """A fresh activation.

    Args:
        name: which.
        leak: slope of a leaky ReLU's negative half.
        inplace: whether it may overwrite its input, to save memory; not where a shortcut needs that too.
    """
    if name == "relu":
        return nn.ReLU(inplace=inplace)
    return nn.LeakyReLU(leak, inplace=inplace) if name == "leaky-relu" else _ACTIVATIONS[name]()


def norm(kind: Norm, channels: int, num_classes: int = 0, dims: Literal[1, 2] = 2) -> nn.Module:
    """A fresh normalisation, with a scale and a shift per class where there are classes.

    Args:
        kind: which.
        channels: of the tensor that passes, [n c] or [n c h w].
        num_classes: 0 for one scale and shift for all.
        dims: 1 for [n c], 2 for [n c h w].
    """
    affine = num_classes == 0
    layer: nn.Module
    if kind == "batch":
        layer = (nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d)(channels, affine=affine)
    elif kind == "none":
        layer = nn.Identity()
    else:
        groups = channels if kind == "instance" and dims == 2 else _groups(channels)
        layer = nn.GroupNorm(groups, channels, affine=affine)
    return layer if affine else ConditionalNorm(layer, channels, num_classes)


def _groups(channels: int) -> int:
    return next(
        groups for groups in (32, 16, 8, 4, 2, 1) if (channels % groups == 0 and channels // groups >= 4) or groups == 1
    )


class ConditionalNorm(nn.Module):
    """A normalisation whose scale and shift depend on the class (Dumoulin et al. 2017; Miyato and Koyama 2018)."""

    def __init__(self, layer: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.layer = layer
        self.scale = nn.Embedding(num_classes, channels)
        self.shift = nn.Embedding(num_classes, channels)

    def forward(self, x: Tensor, labels: Labels) -> Tensor:
        """Normalise [n c ...] and give it its class's scale and shift."""
        shape = (*x.shape[:2], *(1,) * (x.dim() - 2))
        scale, shift = self.scale(labels).to(x.dtype), self.shift(labels).to(x.dtype)
        return torch.addcmul(shift.view(shape), self.layer(x), scale.view(shape))


class ConditionalSequential(nn.Sequential):
    """Layers one after the other; those that depend on the class are given it."""

    def forward(self, x: Tensor, labels: Labels | None = None) -> Tensor:
        """Pass x through all."""
        for layer in self:
            x = layer(x, labels) if isinstance(layer, ConditionalNorm) else layer(x)
        return x


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose mask comes, on the CPU, from 16 raw random bits a number.

    PyTorch draws a Bernoulli variable a number there, one after the other, which small networks wait for. The
    probability is rounded to a multiple of 1/65536; the scale is exact for the rounded one.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.threshold = min(round(p * 65536), 65535)

    def forward(self, x: Tensor) -> Tensor:
        """Zero each number with probability p while training, and scale the rest by 1 / (1 - p)."""
        if not self.training or self.threshold == 0:
            return x
        if x.device.type != "cpu":  # where masks are cheap
            return F.dropout(x, self.threshold / 65536)
        words = np.random.SFC64(_seed()).random_raw((x.numel() + 3) // 4)  # in half the time of torch's own generator
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()]
        # Bits are laid out as the result will be: mixed layouts would be slow.
        keep = torch.as_strided(bits, x.size(), torch.empty_like(x).stride()) >= self.threshold - 32768
        return x * self._mask(keep, x.dtype)

    def _mask(self, keep: Tensor, dtype: torch.dtype) -> Tensor:
        """0 or the scale, made of whole numbers: the scale's bits times 0 or 1, for conversions to floats are slow."""
        scale = torch.tensor(65536 / (65536 - self.threshold), dtype=dtype)
        integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[scale.element_size()]
        return keep.view(torch.int8).to(integers).mul_(int(scale.view(integers))).view(dtype)

    def extra_repr(self) -> str:
        """The probability, for ``print(network)``."""
        return f"p={self.threshold / 65536:.4g}"


def _seed() -> int:
    """The next of torch's random numbers."""
    return int(torch.empty((), dtype=torch.int64).random_())


class ProjectionHead(nn.Module):
    """Features to logits: linear, plus the inner product with a vector a class (Miyato and Koyama 2018, eq. 3)."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embedding = nn.Embedding(num_classes, features) if num_classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=features**-0.5)

    def forward(self, features: Tensor, labels: Labels | None) -> Logits:
        """[n d] to float32 [n], outside mixed precision: a logit's last digits matter to the loss."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            logits: Tensor = self.linear(features).squeeze(1)
            if self.embedding is not None:
                logits = logits + (features * self.embedding(labels)).sum(dim=1)
        return logits


class Crop(nn.Module):
    """The top left corner of [n c H W]: what makes sizes possible that are no multiple of the stride."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """[n c H W] to [n c height width]."""
        surplus = x.shape[2] - self.height, x.shape[3] - self.width
        # A negative padding, unlike a slice, keeps the channels last on both ways.
        return F.pad(x, (0, -surplus[1], 0, -surplus[0])) if any(surplus) else x


def bound(x: Tensor, output: Literal["tanh", "sigmoid"]) -> Tensor:
    """Pixels in float32, bounded as the model's ``output`` says."""
    return torch.tanh(x.float()) if output == "tanh" else torch.sigmoid(x.float())


def spectrally_normalized(network: nn.Module) -> None:
    """Divide each weight by its largest singular value, one power iteration a step (Miyato et al. 2018, alg. 1)."""
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Embedding)):
            parametrizations.spectral_norm(module)


def initialize(network: nn.Module, how: Initialization) -> None:
    """Set the weights.

    Args:
        network: changed in place.
        how: "dcgan": normal, deviation 0.02, scales of normalisation about 1 (Radford et al. 2016, section 4);
            "glorot": uniform (Glorot and Bengio 2010), as Keras does; "torch": as PyTorch's layers come.
            Scales and shifts of conditional normalisation are 1 and 0 in any case.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            _initialize_weights(module, how)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)) and module.affine and how == "dcgan":
            nn.init.normal_(module.weight, 1.0, 0.02)
        elif isinstance(module, ConditionalNorm):
            nn.init.ones_(module.scale.weight)
            nn.init.zeros_(module.shift.weight)


def _initialize_weights(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, how: Initialization) -> None:
    if how == "torch":
        return
    if how == "dcgan":
        nn.init.normal_(module.weight, 0.0, 0.02)
    else:
        nn.init.xavier_uniform_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)

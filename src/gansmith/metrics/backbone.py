"""The convolutional network of our own extractors: small, for images of any size, and fast on a CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gansmith.data.integrity import hash_tensors
from gansmith.errors import MetricError
from gansmith.images.pixels import to_float
from gansmith.metrics.features import FeatureNetwork
from gansmith.types import Images, ImageSpec, Pixels, send

__all__ = ["Backbone", "BackboneNetwork", "seed_weights"]

SIDE = 40  # pixels; for larger images the stride of the first layer grows, which bounds the cost
WEIGHTS_SEED = 0


@contextmanager
def seed_weights() -> Iterator[None]:
    """Give networks created in this block the same weights each time; other random numbers do not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(WEIGHTS_SEED)
        yield


class Backbone(nn.Module):
    """Computes features: three halvings of the resolution and the mean of each channel of the last layer.

    It also computes logits if there are classes. The initial weights are always the same.

    Args:
        spec: of the images; any height, width and number of channels.
        width: channels of the second layer; the first has half as many, the fourth twice as many.
        num_features: channels of the last layer, d.
        num_classes: number of logits, k; 0 for none.
        light: leave out the third layer, which takes a third of the time.
    """

    def __init__(
        self, spec: ImageSpec, *, width: int, num_features: int, num_classes: int = 0, light: bool = False
    ) -> None:
        super().__init__()
        with seed_weights():
            self.layers = nn.Sequential(*_layers(spec, width, num_features, light))
            self.head = nn.Linear(num_features, num_classes) if num_classes else None
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Images) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"] | None]:
        """Return features and logits, float32."""
        features = self.layers(images).float().mean(dim=(2, 3))
        return features, None if self.head is None else self.head(features).float()


def _layers(spec: ImageSpec, width: int, num_features: int, light: bool) -> list[nn.Module]:
    stride = -(-max(spec.height, spec.width) // SIDE)
    return [
        *_layer(spec.channels, width // 2, kernel=2 * stride + 1, stride=stride),
        *_layer(width // 2, width, stride=2),
        *(() if light else _layer(width, width)),
        *_layer(width, 2 * width, stride=2),
        *_layer(2 * width, 2 * width),
        *_layer(2 * width, num_features, stride=2),
    ]


def _layer(channels: int, maps: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, maps, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(maps), nn.ReLU(inplace=True)]


class BackboneNetwork(FeatureNetwork):
    """A trained backbone, in float32.

    Args:
        name: of the extractor.
        backbone: the network; it is moved to the device, and its parameters no longer require gradients.
        spec: shape of the images that it takes.
        device: where it computes.
        note: its quality, in one clause.
    """

    def __init__(self, name: str, backbone: Backbone, spec: ImageSpec, device: torch.device, note: str) -> None:
        self.name, self.note, self.device = name, note, device
        self.spec = dataclasses.replace(spec, num_classes=0)
        self.backbone = backbone.eval().requires_grad_(False).to(device)
        self.digest = hash_tensors(backbone.state_dict())
        self.num_classes = 0 if backbone.head is None else backbone.head.out_features

    def __call__(self, pixels: Pixels) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"] | None]:
        """Return features and logits; see ``FeatureNetwork``."""
        _, channels, height, width = pixels.shape
        given = ImageSpec(height=height, width=width, channels=channels)
        if given != self.spec:
            raise MetricError(f"images are {given}, but {self.name} takes {self.spec}; pass images of that shape")
        found: tuple[Tensor, Tensor | None] = self.backbone(to_float(send(pixels, self.device)))
        return found

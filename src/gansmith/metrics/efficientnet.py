"""Features of EfficientNet-Lite with ImageNet weights: nothing is trained, and values are equal on all machines."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import (
    Between,
)
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.devices import autocast, choose_compute
from gansmith.errors import MetricError
from gansmith.images.pixels import to_float
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.learning import Progress
from gansmith.models.pretrained import LITE, LiteName, load_efficientnet_lite
from gansmith.types import Images, Pixels, send

__all__ = ["EfficientNetLite0", "EfficientNetLite1", "resize_to_area"]

LEAST_SIDE, MOST_SIDE = 64, 128  # pixels; smaller images ranked no worse when enlarged to 64 than to 128
RESIZING = 1  # raise it when the preprocessing changes: it is part of the digest
CHUNK = 2**17  # pixels that the network sees at once on a CPU, which fit into its cache


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(Extractor):
    """320 features of EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet: the mean of each last feature map.

    Images of fewer than 64x64 pixels are enlarged bilinearly to that area, and those of more than 128x128 are shrunk to
    that; their aspect stays. Gray images are repeated in three channels; RGBA images are refused. Computed in float32.

    Args:
        side: resize all images to the area of a square of this side, in pixels; the cost grows with its square.
    """

    backbone: ClassVar[LiteName] = "lite0"

    side: Annotated[int, Between(32, 512)] | None = None

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> FeatureNetwork:
        """See ``Extractor.network``."""
        return _LiteNetwork(self.backbone, self.side)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite1(Extractor):
    """320 features of EfficientNet-Lite1, which is deeper than Lite0; otherwise see ``EfficientNetLite0``.

    Args:
        side: resize all images to the area of a square of this side, in pixels; the cost grows with its square.
    """

    backbone: ClassVar[LiteName] = "lite1"

    side: Annotated[int, Between(32, 512)] | None = None

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> FeatureNetwork:
        """See ``Extractor.network``."""
        return _LiteNetwork(self.backbone, self.side)


class _LiteNetwork(FeatureNetwork):
    def __init__(self, backbone: LiteName, side: int | None) -> None:
        self.name = f"efficientnet-{backbone}"
        self.sides = (side, side) if side else (LEAST_SIDE, MOST_SIDE)
        self.note = "ImageNet weights" + (f", images resized to the area of {side}x{side}" if side else "")
        self.digest = hashlib.sha256(f"{LITE[backbone].digest} {RESIZING} {self.sides}".encode()).hexdigest()
        self.device = choose_compute("auto", "auto").device
        self.module = load_efficientnet_lite(backbone).to(self.device)

    def __call__(self, pixels: Pixels) -> tuple[Float[Tensor, "n d"], None]:
        channels = pixels.shape[1]
        if channels not in (1, 3):
            raise MetricError(
                f"images have {channels} channels, but {self.name} takes gray or RGB; "
                "prepare them with --channels rgb, or choose another --extractor"
            )
        side = min(max(math.sqrt(pixels.shape[2] * pixels.shape[3]), self.sides[0]), self.sides[1])
        size = max(1, int(CHUNK // side**2) if self.device.type == "cpu" else len(pixels))
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.no_grad(), autocast(self.device, None), exact:
            return torch.cat(
                [self._pool(pixels[start : start + size], side) for start in range(0, len(pixels), size)]
            ), None

    def _pool(self, pixels: Pixels, side: float) -> Float[Tensor, "n d"]:
        images = to_float(send(pixels, self.device))
        return self.module.pool(resize_to_area(images, side).expand(-1, 3, -1, -1))


def resize_to_area(images: Images, side: float) -> Images:
    """Resize images bilinearly to about ``side`` x ``side`` pixels in all; with antialiasing if that shrinks them.

    Args:
        images: float [n c h w].
        side: root of the area in pixels. The aspect stays: 48x192 pixels become 64x256 for a side of 128.
    """
    height, width = images.shape[2:]
    factor = side / math.sqrt(height * width)
    size = [max(1, round(factor * length)) for length in (height, width)]
    if size == [height, width]:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=factor < 1)

"""The perceptual distance between two images: how far apart a pretrained network's feature maps are."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith.errors import MetricError
from gansmith.metrics.efficientnet import resize_to_area
from gansmith.models.pretrained import LiteName, load_efficientnet_lite
from gansmith.types import Images

__all__ = ["Perception"]

NUM_MAPS = 3  # at strides 4, 8 and 16 of the enlarged image
SIDES = (64, 128)  # pixels: smaller images are enlarged to this area, larger ones are shrunk
EPSILON = 1e-6  # least length of a feature vector


class Perception:
    """Embeds images so that squared distances of the embeddings are perceptual distances.

    The distance is that of Zhang et al. (2018, eq. 1) with EfficientNet-Lite and without learnt weights: at each
    position of the feature maps at strides 4, 8 and 16, the vector over channels is divided by its length; the squared
    distance of two such vectors is averaged over positions and maps. It lies in [0, 4]: 0 for equal images, 2 if all
    vectors are orthogonal. Gradients flow to the images.

    Args:
        backbone: the network, "lite0" or "lite1".
        device: where it computes.
    """

    def __init__(self, backbone: LiteName = "lite0", device: torch.device | str = "cpu") -> None:
        self.network = load_efficientnet_lite(backbone).to(device)

    def embed(self, images: Images) -> Float[Tensor, "n d"]:
        """Return the embeddings, float32 [n d], each of length 1.

        Args:
            images: float32 [n c h w] in [-1, 1]. Gray images are repeated in three channels, RGBA images are
                composited on white; all are resized to an area of 64x64 to 128x128 pixels.

        Raises:
            MetricError: the images have another number of channels.
        """
        side = min(max(math.sqrt(images.shape[2] * images.shape[3]), SIDES[0]), SIDES[1])
        maps = self.network.maps(resize_to_area(_to_rgb(images), side), NUM_MAPS)
        return torch.cat([_directions(each) / math.sqrt(len(maps)) for each in maps], dim=1)

    def measure(self, images: Images, others: Images) -> Float[Tensor, "n"]:
        """Return the distance of each image from the other image at its place."""
        return (self.embed(images) - self.embed(others)).square().sum(dim=1)


def _to_rgb(images: Images) -> Images:
    channels = images.shape[1]
    if channels not in (1, 3, 4):
        raise MetricError(f"images have {channels} channels; expected 1 (gray), 3 (RGB) or 4 (RGBA)")
    if channels == 4:
        opacity = (images[:, 3:] + 1) / 2
        return images[:, :3] * opacity + (1 - opacity)
    return images.expand(-1, 3, -1, -1)


def _directions(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """Return the unit vectors of all positions, divided by the root of their number."""
    positions = features.shape[2] * features.shape[3]
    return F.normalize(features.float(), dim=1, eps=EPSILON).flatten(1) / math.sqrt(positions)

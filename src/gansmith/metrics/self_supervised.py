"""A small network trained without labels (SimCLR): the default extractor for unlabelled data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import (
    Between,
    Positive,
)
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.images.pixels import to_float
from gansmith.metrics.backbone import Backbone, BackboneNetwork, seed_weights
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import Selection
from gansmith.metrics.learning import LEARNING_SEED, Pace, Progress, fit, split_validation, train_once
from gansmith.types import Batch, Images, Pixels, send

__all__ = ["SelfSupervised"]

TEMPERATURE = 0.2
LEAST_SIDE = 0.5  # of a view, relative to the image's sides
LIGHT = 0.2  # largest change of brightness of a view, on [-1, 1], and largest relative change of contrast
PROJECTION = 128
MOST_VALIDATION = 256


@dataclass(frozen=True, kw_only=True)
class SelfSupervised(Extractor):
    """Features of a network that is trained once without labels (SimCLR; Chen et al. 2020).

    It learns to match two views of each image in a batch: random crops with random brightness and contrast, never
    mirrored. A tenth of the training images is held out to measure its accuracy.

    Args:
        width: channels of the second layer; see ``Backbone``.
        num_features: d.
        kimg: length of training, in thousands of images with repetitions; at most 30 passes over the data.
        light: a network with a layer less.
    """

    width: Annotated[int, Between(1, 1024)] = 48
    num_features: Annotated[int, Between(1, 4096)] = 64
    kimg: Positive = 40.0
    light: bool = False

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        if len(training) < 2:
            raise MetricError(f"self-supervised: {store.title} has fewer than two images; add images")
        backbone = Backbone(store.spec, width=self.width, num_features=self.num_features, light=self.light)

        def train(device: torch.device) -> str:
            learnt, validation = split_validation(store, training)
            network = _Projected(backbone, self.num_features).to(device)
            draw = torch.Generator().manual_seed(LEARNING_SEED)

            def loss(batch: Batch) -> Tensor:
                return _contrast(*network(*_two_views(batch.images, draw, device)))

            fit(network, loss, store, learnt, Pace(kimg=self.kimg), progress)
            return _describe_accuracy(network.eval(), store, validation[:MOST_VALIDATION], draw, device)

        return train_once(self, store, training, backbone, train)


class _Projected(nn.Module):
    """A backbone with a projection head of two layers, which is used in training only."""

    def __init__(self, backbone: Backbone, num_features: int) -> None:
        super().__init__()
        self.backbone = backbone
        with seed_weights():
            hidden, last = nn.Linear(num_features, PROJECTION), nn.Linear(PROJECTION, PROJECTION)
            self.head = nn.Sequential(hidden, nn.ReLU(inplace=True), last)

    def forward(self, one: Images, other: Images) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
        """Return normalised projections of two views of each image."""
        features, _ = self.backbone(torch.cat([one, other]))
        left, right = F.normalize(self.head(features).float()).chunk(2)
        return left, right


def _contrast(one: Float[Tensor, "n p"], other: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """Return the NT-Xent loss of matching views among all views of the batch (Chen et al. 2020, eq. 1)."""
    rows = torch.cat([one, other])
    likeness = (rows @ rows.T).float() / TEMPERATURE
    partners = torch.arange(len(rows), device=rows.device).roll(len(one))
    return F.cross_entropy(likeness.fill_diagonal_(-torch.inf), partners)


@torch.no_grad()
def _describe_accuracy(
    network: _Projected, store: Store, validation: Indices, draw: torch.Generator, device: torch.device
) -> str:
    if len(validation) < 2:
        return "too few images to measure its accuracy"
    pixels = torch.from_numpy(Selection(store.images, validation)[np.arange(len(validation))]).permute(0, 3, 1, 2)
    one, other = network(*_two_views(pixels, draw, device))
    right = (one @ other.T).argmax(dim=1).cpu() == torch.arange(len(validation))
    return f"matches {right.float().mean():.1%} of {len(validation)} held-out images"


def _two_views(pixels: Pixels, draw: torch.Generator, device: torch.device) -> tuple[Images, Images]:
    images = to_float(pixels)
    return send(_view(images, draw), device), send(_view(images, draw), device)


def _view(images: Images, draw: torch.Generator) -> Images:
    """Return a crop of at least half of each side, at full size, with random brightness and contrast."""
    n = len(images)
    sides = LEAST_SIDE + (1 - LEAST_SIDE) * torch.rand(n, 2, generator=draw)
    corner = (1 - sides) * _signed(n, 2, draw)
    places = F.affine_grid(torch.cat([torch.diag_embed(sides), corner[:, :, None]], dim=2), list(images.shape), False)
    parts = F.grid_sample(images, places, padding_mode="border", align_corners=False)
    light, contrast = _signed(n, 2, draw)[:, :, None, None, None].unbind(1)
    return (parts * (1 + LIGHT * contrast) + LIGHT * light).contiguous(memory_format=torch.channels_last)


def _signed(n: int, m: int, draw: torch.Generator) -> Float[Tensor, "n m"]:
    return 2 * torch.rand(n, m, generator=draw) - 1

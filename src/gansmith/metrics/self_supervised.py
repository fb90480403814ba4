"""A small network that learns to know an image again in another view of it: the default where there are no labels."""

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
from gansmith.metrics.learning import LEARNING_SEED, Progress, fit, split_validation, train_once
from gansmith.types import Batch, Images, Pixels

__all__ = ["SelfSupervised"]

TEMPERATURE = 0.2
LEAST_SIDE = 0.5  # of an image's sides, that a view shows
LIGHT = 0.2  # how much lighter or darker a view may be, on [-1, 1], and how much its contrast may differ
PROJECTION = 128
MOST_JUDGED = 256


@dataclass(frozen=True, kw_only=True)
class SelfSupervised(Extractor):
    """Features of a network that learnt to know images again, once and without labels (SimCLR; Chen et al. 2020).

    Of each image of a batch it is shown two views, other parts in other light, never mirrored, and learns to tell
    which two views are of one image. A tenth of the training images, which it does not learn from, judge it.

    Args:
        width: maps of the second layer; see ``Backbone``.
        num_features: d.
        kimg: thousands of images that it learns from, repetitions counted; small data sets are seen 30 times.
    """

    width: Annotated[int, Between(1, 1024)] = 48
    num_features: Annotated[int, Between(1, 4096)] = 64
    kimg: Positive = 40.0

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        if len(training) < 2:
            raise MetricError(f"self-supervised: {store.title} has no two images to tell apart; add images")
        backbone = Backbone(store.spec, width=self.width, num_features=self.num_features)

        def teach(device: torch.device) -> str:
            learnt, judged = split_validation(store, training)
            network = _Projected(backbone, self.num_features).to(device)
            draw = torch.Generator().manual_seed(LEARNING_SEED)

            def loss(batch: Batch) -> Tensor:
                return _contrast(*network(*_two_views(batch.images, draw, device)))

            fit(network, loss, store, learnt, self.kimg, progress)
            return _known_again(network.eval(), store, judged[:MOST_JUDGED], draw, device)

        return train_once(self, store, training, backbone, teach)


class _Projected(nn.Module):
    """A backbone with two layers above it that serve the loss alone."""

    def __init__(self, backbone: Backbone, num_features: int) -> None:
        super().__init__()
        self.backbone = backbone
        with seed_weights():
            hidden, last = nn.Linear(num_features, PROJECTION), nn.Linear(PROJECTION, PROJECTION)
            self.head = nn.Sequential(hidden, nn.ReLU(inplace=True), last)

    def forward(self, one: Images, other: Images) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n p"]]:
        """Vectors of length 1 for two views of each image."""
        features, _ = self.backbone(torch.cat([one, other]))
        left, right = F.normalize(self.head(features).float()).chunk(2)
        return left, right


def _contrast(one: Float[Tensor, "n p"], other: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """How badly each view's other is found among all views of the batch (NT-Xent; Chen et al. 2020, eq. 1)."""
    rows = torch.cat([one, other])
    likeness = (rows @ rows.T).float() / TEMPERATURE
    partners = torch.arange(len(rows), device=rows.device).roll(len(one))
    return F.cross_entropy(likeness.fill_diagonal_(-torch.inf), partners)


@torch.no_grad()
def _known_again(
    network: _Projected, store: Store, judged: Indices, draw: torch.Generator, device: torch.device
) -> str:
    if len(judged) < 2:
        return "too few images to judge it"
    pixels = torch.from_numpy(Selection(store.images, judged)[np.arange(len(judged))]).permute(0, 3, 1, 2)
    one, other = network(*_two_views(pixels, draw, device))
    right = (one @ other.T).argmax(dim=1).cpu() == torch.arange(len(judged))
    return f"knows {right.float().mean():.1%} of {len(judged)} held-out images again"


def _two_views(pixels: Pixels, draw: torch.Generator, device: torch.device) -> tuple[Images, Images]:
    images = to_float(pixels)
    return _view(images, draw).to(device), _view(images, draw).to(device)


def _view(images: Images, draw: torch.Generator) -> Images:
    """A part of each image, at least half as wide and half as high, at full size, in another light."""
    n = len(images)
    sides = LEAST_SIDE + (1 - LEAST_SIDE) * torch.rand(n, 2, generator=draw)
    corner = (1 - sides) * _signed(n, 2, draw)
    places = F.affine_grid(torch.cat([torch.diag_embed(sides), corner[:, :, None]], dim=2), list(images.shape), False)
    parts = F.grid_sample(images, places, padding_mode="border", align_corners=False)
    light, contrast = _signed(n, 2, draw)[:, :, None, None, None].unbind(1)
    return (parts * (1 + LIGHT * contrast) + LIGHT * light).contiguous(memory_format=torch.channels_last)


def _signed(n: int, m: int, draw: torch.Generator) -> Float[Tensor, "n m"]:
    return 2 * torch.rand(n, m, generator=draw) - 1

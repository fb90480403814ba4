"""A small network that learns to know an image again in another view of it: the default where there are no labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import Positive, PositiveInt
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.images import to_float
from gansmith.metrics.backbone import Backbone, BackboneNetwork
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import Selection
from gansmith.metrics.learning import LEARNING_SEED, Progress, learn, learnt_once, parted, seeded
from gansmith.types import Images, Pixels

__all__ = ["SelfSupervised"]

TEMPERATURE = 0.2
LEAST_SIDE = 0.5  # of an image's sides, that a view shows
LIGHT = 0.2  # by which a view is lighter or darker, and has more or less contrast
PROJECTION = 128
JUDGED = 256  # images that the network has to tell apart


@dataclass(frozen=True, kw_only=True)
class SelfSupervised(Extractor):
    """Features of a network that learnt, once and without labels, to know images again (SimCLR; Chen et al. 2020).

    Each image of a batch is shown in two views, different parts in different light, never mirrored; the network learns to
    find the other view among those of all images.

    Args:
        width: maps of the second layer; see ``Backbone``.
        num_features: d.
        kimg: thousands of images that it learns from, repetitions counted; small data sets are seen 30 times.
    """

    width: PositiveInt = 48
    num_features: PositiveInt = 64
    kimg: Positive = 40.0

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        backbone = Backbone(store.spec, width=self.width, num_features=self.num_features)
        learnt, judged = parted(store, training)

        def teach(device: torch.device) -> str:
            with seeded():
                head = nn.Sequential(nn.Linear(self.num_features, PROJECTION), nn.ReLU(), nn.Linear(PROJECTION, PROJECTION))
            seeing = nn.Sequential(backbone, head)
            return ""

        return learnt_once(self, store, training, backbone, teach)

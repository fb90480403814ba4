"""A small network that learns to tell the data's own classes apart: the default where there are labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import (
    Between,
    Positive,
)
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.images.pixels import to_float
from gansmith.metrics.backbone import Backbone, BackboneNetwork
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import Selection, extract
from gansmith.metrics.learning import LEARNING_SEED, Progress, fit, split_validation, train_once
from gansmith.types import Batch, Pixels

__all__ = ["Classifier"]

SHIFT = 1 / 16  # of a side; images are never mirrored, for digits and signs would become others


@dataclass(frozen=True, kw_only=True)
class Classifier(Extractor):
    """Features of a network that learnt to tell the data's classes apart, once; it gives logits too.

    It does not learn from a tenth of the training images, whole groups of them, which judge it instead.

    Args:
        width: maps of the second layer; see ``Backbone``.
        num_features: d; metrics that estimate a covariance for each class want few.
        kimg: thousands of images that it learns from, repetitions counted; small data sets are seen 30 times.
    """

    width: Annotated[int, Between(1, 1024)] = 48
    num_features: Annotated[int, Between(1, 4096)] = 64
    kimg: Positive = 80.0

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        if store.labels is None or len(np.unique(store.labels[training])) < 2:
            raise MetricError(
                f"classifier: {store.title} has no two classes to tell apart; use --extractor self-supervised"
            )
        num_classes = len(store.class_names)
        backbone = Backbone(store.spec, width=self.width, num_features=self.num_features, num_classes=num_classes)

        learnt, judged = split_validation(store, training)

        def teach(device: torch.device) -> str:
            draw = torch.Generator().manual_seed(LEARNING_SEED)

            def loss(batch: Batch) -> Tensor:
                assert batch.labels is not None
                _, logits = backbone(to_float(_shifted(batch.images, draw).to(device)))
                return F.cross_entropy(logits, batch.labels.to(device))

            fit(backbone.to(device), loss, store, learnt, self.kimg, progress)
            return _accuracy(BackboneNetwork("classifier", backbone, store.spec, device, ""), store, judged)

        network = train_once(self, store, training, backbone, teach)
        network.validation = judged if len(judged) else None
        return network


def _shifted(pixels: Pixels, draw: torch.Generator) -> Pixels:
    """Each image moved by up to a sixteenth of its sides; its edge is continued."""
    n, _, height, width = pixels.shape
    rows, columns = _moved(n, height, draw), _moved(n, width, draw)
    images = pixels.permute(0, 2, 3, 1)
    moved = images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _moved(n: int, side: int, draw: torch.Generator) -> Int64[Tensor, "n side"]:
    most = round(side * SHIFT)
    shifts = torch.randint(-most, most + 1, (n, 1), generator=draw)
    return (torch.arange(side) + shifts).clamp(0, side - 1)


def _accuracy(network: BackboneNetwork, store: Store, judged: Indices) -> str:
    if not len(judged):
        return "too few images to judge its accuracy"
    _, logits = extract(network, Selection(store.images, judged).batches())
    assert logits is not None and store.labels is not None
    right = logits.argmax(dim=1).numpy() == store.labels[judged]
    return f"held-out accuracy {right.mean():.1%}"

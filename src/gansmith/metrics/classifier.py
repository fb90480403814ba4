"""A small classifier of the data's own classes: the default extractor for labelled data."""

from __future__ import annotations

import dataclasses
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
from gansmith.metrics.learning import LEARNING_SEED, Pace, Progress, fit, split_validation, train_once
from gansmith.types import Batch, Pixels, send

__all__ = ["Classifier"]

LIGHT_BATCH_SIZE, LIGHT_LR = 32, 8e-3
SHIFT = 1 / 16  # of a side; images are never mirrored, which would change the class of digits and signs


@dataclass(frozen=True, kw_only=True)
class Classifier(Extractor):
    """Features and logits of a classifier that is trained once on the data's classes.

    A tenth of the training images, in whole groups, is held out to measure its accuracy.

    Args:
        width: channels of the second layer; see ``Backbone``.
        num_features: d; metrics that estimate a covariance per class need a small d.
        kimg: length of training, in thousands of images with repetitions; at most 30 passes over the data.
        light: a network with a layer less, trained with smaller batches and a larger learning rate.
    """

    width: Annotated[int, Between(1, 1024)] = 48
    num_features: Annotated[int, Between(1, 4096)] = 64
    kimg: Positive = 80.0
    light: bool = False

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        if store.labels is None or len(np.unique(store.labels[training])) < 2:
            raise MetricError(f"classifier: {store.title} has fewer than two classes; use --extractor self-supervised")
        num_classes = len(store.class_names)
        backbone = Backbone(
            store.spec, width=self.width, num_features=self.num_features, num_classes=num_classes, light=self.light
        )
        pace = Pace(kimg=self.kimg)
        if self.light:
            pace = dataclasses.replace(pace, batch_size=LIGHT_BATCH_SIZE, lr=LIGHT_LR)

        learnt, validation = split_validation(store, training)

        def train(device: torch.device) -> str:
            draw = torch.Generator().manual_seed(LEARNING_SEED)

            def loss(batch: Batch) -> Tensor:
                assert batch.labels is not None
                _, logits = backbone(to_float(send(_shift(batch.images, draw), device)))
                return F.cross_entropy(logits, send(batch.labels, device))

            fit(backbone.to(device), loss, store, learnt, pace, progress)
            return _describe_accuracy(
                BackboneNetwork("classifier", backbone, store.spec, device, ""), store, validation
            )

        network = train_once(self, store, training, backbone, train)
        network.validation = validation if len(validation) else None
        return network


def _shift(pixels: Pixels, draw: torch.Generator) -> Pixels:
    """Shift each image by up to a sixteenth of its sides; repeat its edge pixels."""
    n, _, height, width = pixels.shape
    rows, columns = _draw_shifts(n, height, draw), _draw_shifts(n, width, draw)
    images = pixels.permute(0, 2, 3, 1)
    moved = images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _draw_shifts(n: int, side: int, draw: torch.Generator) -> Int64[Tensor, "n side"]:
    most = round(side * SHIFT)
    shifts = torch.randint(-most, most + 1, (n, 1), generator=draw)
    return (torch.arange(side) + shifts).clamp(0, side - 1)


def _describe_accuracy(network: BackboneNetwork, store: Store, validation: Indices) -> str:
    if not len(validation):
        return "too few images to measure its accuracy"
    _, logits = extract(network, Selection(store.images, validation).batches())
    assert logits is not None and store.labels is not None
    correct = logits.argmax(dim=1).numpy() == store.labels[validation]
    return f"held-out accuracy {correct.mean():.1%}"

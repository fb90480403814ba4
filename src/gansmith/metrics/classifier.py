"""A small network that learns to tell the data's own classes apart: the default where there are labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import Positive, PositiveInt
from gansmith.data.batches import Indices, split
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.images import to_float
from gansmith.metrics.backbone import Backbone, BackboneNetwork
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import Selection, extract
from gansmith.metrics.learning import LEARNING_SEED, Progress, learn, learnt_once, shifted
from gansmith.types import Pixels

__all__ = ["Classifier"]

JUDGED = 0.1
JUDGE_SEED = 1  # another than that of the split in training and held-out images, or all classes' last groups coincide


@dataclass(frozen=True, kw_only=True)
class Classifier(Extractor):
    """Features of a network that learnt to tell the data's classes apart, once; it gives logits too.

    It does not learn from a tenth of the training images, whole groups of them, which judge it instead.

    Args:
        width: maps of the second layer; see ``Backbone``.
        num_features: d; metrics that estimate a covariance for each class want few.
        kimg: thousands of images that it learns from, repetitions counted; small data sets are seen 30 times.
    """

    width: PositiveInt = 48
    num_features: PositiveInt = 64
    kimg: Positive = 60.0

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        if store.labels is None or len(np.unique(store.labels[training])) < 2:
            raise MetricError(
                f"classifier: {store.title} has no two classes to tell apart; use --extractor self-supervised"
            )
        num_classes = len(store.class_names)
        backbone = Backbone(store.spec, width=self.width, num_features=self.num_features, num_classes=num_classes)
        learnt, judged = _parted(store, store.labels, training)

        def teach(device: torch.device) -> str:
            draw = torch.Generator().manual_seed(LEARNING_SEED)

            def loss(images: Pixels, labels: Tensor | None) -> Tensor:
                _, logits = backbone(to_float(shifted(images, draw).to(device)))
                assert labels is not None
                return F.cross_entropy(logits, labels.to(device))

            learn([backbone.to(device)], loss, store, learnt, self.kimg, progress)
            return _accuracy(BackboneNetwork("classifier", backbone, store.spec, device, ""), store, judged)

        return learnt_once(self, store, training, backbone, teach)


def _parted(store: Store, labels: Indices, training: Indices) -> tuple[Indices, Indices]:
    """What is learnt from and what judges; no group is parted, and no class goes unlearnt."""
    judged = np.intersect1d(training, split(store, JUDGED, seed=JUDGE_SEED)[1])
    learnt = np.setdiff1d(training, judged)
    known = np.isin(labels[judged], labels[learnt])
    return np.union1d(learnt, judged[~known]), judged[known]


def _accuracy(network: BackboneNetwork, store: Store, judged: Indices) -> str:
    if not len(judged):
        return "too few images to judge its accuracy"
    _, logits = extract(network, Selection(store.images, judged).batches())
    assert logits is not None and store.labels is not None
    right = logits.argmax(dim=1).numpy() == store.labels[judged]
    return f"held-out accuracy {right.mean():.1%}"

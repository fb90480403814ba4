"""A fixed network's features with the logits of a classifier of the data's own classes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.metrics.classifier import Classifier
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.learning import Progress
from gansmith.metrics.metric import Metric
from gansmith.types import Pixels

__all__ = ["build_network"]


def build_network(
    extractor: Extractor,
    store: Store,
    training: Indices,
    metrics: Iterable[Metric],
    progress: Progress | None = None,
) -> FeatureNetwork:
    """Return an extractor's network; a pretrained one gets the logits of a classifier if a metric reads classes.

    Args:
        extractor: the settings.
        store: the real images.
        training: indices of the images that networks may be trained on.
        metrics: those that will be measured.
        progress: called with the work done and all the work, while a network is trained.

    Raises:
        MetricError, DataError: see ``Extractor.network``.
    """
    network = extractor.network(store, training, progress)
    several = store.labels is not None and len(np.unique(store.labels[training])) > 1
    if extractor.backbone is None or not several or not any(metric.needs_classes for metric in metrics):
        return network
    return _WithClassifier(network, Classifier().network(store, training, progress))


class _WithClassifier(FeatureNetwork):
    def __init__(self, network: FeatureNetwork, classifier: FeatureNetwork) -> None:
        self.network, self.classifier = network, classifier
        self.name, self.digest, self.classifier_digest = network.name, network.digest, classifier.digest
        self.note = f"{network.note}; classes by a classifier, {classifier.note}"
        self.num_classes, self.validation = classifier.num_classes, classifier.validation

    def __call__(self, pixels: Pixels) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"] | None]:
        return self.network(pixels)[0], self.classifier(pixels)[1]

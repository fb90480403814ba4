"""Figures about generated images, each in its own file, and the feature networks that they look through."""

from __future__ import annotations

import numpy as np

from gansmith.component import from_plain
from gansmith.data.store import Store
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.metric import Metric

__all__ = ["EXTRACTORS", "METRICS", "default_extractor"]

METRICS: dict[str, type[Metric] | str] = {
    "fid": "gansmith.metrics.frechet:FID",
    "fid-infinity": "gansmith.metrics.frechet:FIDInfinity",
    "intra-fid": "gansmith.metrics.frechet:IntraClassFID",
    "kid": "gansmith.metrics.kernel:KID",
    "inception-score": "gansmith.metrics.inception_score:InceptionScore",
    "precision-recall": "gansmith.metrics.manifold:PrecisionRecall",
    "density-coverage": "gansmith.metrics.manifold:DensityCoverage",
    "label-fidelity": "gansmith.metrics.fidelity:LabelFidelity",
    "classes": "gansmith.metrics.fidelity:ClassCoverage",
    "diversity": "gansmith.metrics.diversity:Diversity",
    "sliced-wasserstein": "gansmith.metrics.sliced_wasserstein:SlicedWasserstein",
    "memorisation": "gansmith.metrics.memorisation:Memorisation",
}

EXTRACTORS: dict[str, type[Extractor] | str] = {
    "classifier": "gansmith.metrics.classifier:Classifier",
    "self-supervised": "gansmith.metrics.self_supervised:SelfSupervised",
    "random-conv": "gansmith.metrics.random_conv:RandomConv",
    "inception": "gansmith.metrics.inception:Inception",
    "function": "gansmith.metrics.function:Function",
}


def default_extractor(store: Store) -> Extractor:
    """The extractor that suits a data set best: see docs/metrics.md for the measurements."""
    several = store.labels is not None and len(np.unique(store.labels)) > 1
    chosen: Extractor = from_plain(Extractor, "classifier" if several else "self-supervised", "extractor")
    return chosen

"""Metrics of generated images, one file each, and the feature extractors that they use."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gansmith.component import from_plain, member, members
from gansmith.data.store import Store
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.metric import Metric, Quantity

__all__ = ["EXTRACTORS", "METRICS", "default_extractor", "list_metrics", "list_quantities"]

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
    """Return the extractor that ranks images of this data set best; docs/metrics.md has the measurements."""
    several = store.labels is not None and len(np.unique(store.labels)) > 1
    chosen: Extractor = from_plain(Extractor, "classifier" if several else "self-supervised", "extractor")
    return chosen


def list_metrics() -> tuple[Metric, ...]:
    """Return every metric of the table with its default settings."""
    return tuple(member(Metric, name, "metrics")() for name in members(Metric))  # type: ignore[type-abstract]


def list_quantities(metrics: Iterable[Metric] = ()) -> dict[str, Quantity]:
    """Return title and direction of each value by its name, for the metrics of the table and for those given."""
    return {name: quantity for metric in (*list_metrics(), *metrics) for name, quantity in metric.quantities.items()}

"""Metrics of generated images, one file each, and the feature extractors that they use."""

from __future__ import annotations

from collections.abc import Iterable

from gansmith.component import member, members
from gansmith.metrics.arrays import density_coverage, fid, kid, measure_arrays, precision_recall
from gansmith.metrics.extractor import Extractor, default_extractor
from gansmith.metrics.metric import Metric, Quantity

__all__ = [
    "EXTRACTORS",
    "METRICS",
    "default_extractor",
    "density_coverage",
    "fid",
    "kid",
    "list_metrics",
    "list_quantities",
    "measure_arrays",
    "precision_recall",
]

METRICS: dict[str, type[Metric] | str] = {
    "fid": "gansmith.metrics.frechet:FID",
    "fid-infinity": "gansmith.metrics.frechet:FIDInfinity",
    "intra-fid": "gansmith.metrics.frechet:IntraClassFID",
    "kid": "gansmith.metrics.kernel:KID",
    "mind": "gansmith.metrics.monge:MIND",
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
    "efficientnet-lite0": "gansmith.metrics.efficientnet:EfficientNetLite0",
    "efficientnet-lite1": "gansmith.metrics.efficientnet:EfficientNetLite1",
    "random-conv": "gansmith.metrics.random_conv:RandomConv",
    "inception": "gansmith.metrics.inception:Inception",
    "function": "gansmith.metrics.function:Function",
}


def list_metrics() -> tuple[Metric, ...]:
    """Return every metric of the table with its default settings."""
    return tuple(member(Metric, name, "metrics")() for name in members(Metric))  # type: ignore[type-abstract]


def list_quantities(metrics: Iterable[Metric] = ()) -> dict[str, Quantity]:
    """Return title and direction of each value by its name, for the metrics of the table and for those given."""
    return {name: quantity for metric in (*list_metrics(), *metrics) for name, quantity in metric.quantities.items()}

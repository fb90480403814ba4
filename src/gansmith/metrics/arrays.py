"""Metrics of two arrays, without a run or a data set: images, or features of your own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gansmith.component import from_plain
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics.combined import build_network
from gansmith.metrics.extractor import Extractor, default_extractor
from gansmith.metrics.features import FeatureNetwork, Features, Selection, extract
from gansmith.metrics.frechet import FID
from gansmith.metrics.kernel import KID
from gansmith.metrics.manifold import DensityCoverage, PrecisionRecall
from gansmith.metrics.metric import Estimate, Metric, MetricInputs
from gansmith.types import ImageSpec

__all__ = ["density_coverage", "fid", "kid", "measure_arrays", "precision_recall"]

CHANNELS = (1, 3, 4)


def fid(real: Any, fake: Any, *, extractor: str | Extractor | None = None) -> Estimate:
    """Return the Fréchet distance; see ``FID``. The arguments are those of ``measure_arrays``."""
    return measure_arrays(FID(), real, fake, extractor=extractor)["fid"]


def kid(real: Any, fake: Any, *, extractor: str | Extractor | None = None) -> Estimate:
    """Return the kernel distance; see ``KID``. The arguments are those of ``measure_arrays``."""
    return measure_arrays(KID(), real, fake, extractor=extractor)["kid"]


def precision_recall(
    real: Any, fake: Any, *, neighbours: int = 3, extractor: str | Extractor | None = None
) -> tuple[Estimate, Estimate]:
    """Return precision and recall; see ``PrecisionRecall``. The other arguments are those of ``measure_arrays``."""
    found = measure_arrays(PrecisionRecall(neighbours=neighbours), real, fake, extractor=extractor)
    return found["precision"], found["recall"]


def density_coverage(
    real: Any, fake: Any, *, neighbours: int = 5, extractor: str | Extractor | None = None
) -> tuple[Estimate, Estimate]:
    """Return density and coverage; see ``DensityCoverage``. The other arguments are those of ``measure_arrays``."""
    found = measure_arrays(DensityCoverage(neighbours=neighbours), real, fake, extractor=extractor)
    return found["density"], found["coverage"]


def measure_arrays(
    metric: str | Metric,
    real: Any,
    fake: Any,
    *,
    extractor: str | Extractor | None = None,
    real_labels: Any = None,
    fake_labels: Any = None,
    held_out: Any = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return the values of a metric by name, each with its 95 % interval.

    Args:
        metric: a metric, or a name from ``gansmith list metrics``.
        real: uint8 images [n h w c], or floating-point features [n d]. An array or a tensor.
        fake: the same of the generated images.
        extractor: for images: an extractor, or a name from ``gansmith list extractors``. Default for gray and RGB
            images: "efficientnet-lite1". "classifier" and "self-supervised" train once on ``real``; "inception" is the
            network of published values.
        real_labels: classes of the real images, [n] integers from 0.
        fake_labels: classes that the generated images were made for, [n].
        held_out: more real images or features, for metrics that need images that the generator was not trained on;
            ``real`` then counts as its training images.
        seed: of whatever the metric draws at random.

    Raises:
        MetricError: arrays of another type or shape, too few rows, or something that the metric needs is missing.
        ConfigError: no such metric or extractor.
    """
    chosen: Metric = from_plain(Metric, metric, "metric") if isinstance(metric, str) else metric
    arrays = {"real": real, "fake": fake} | ({} if held_out is None else {"held_out": held_out})
    sides = {name: _checked(array, name) for name, array in arrays.items()}
    if len({side.shape[1:] for side in sides.values()}) > 1:
        shapes = ", ".join(f"{name} {list(side.shape)}" for name, side in sides.items())
        raise MetricError(f"arrays differ in shape: {shapes}; expected images of one size, or features of one network")
    labels = {"real": _classes(real_labels, sides["real"]), "fake": _classes(fake_labels, sides["fake"])}
    network = None
    if sides["real"].ndim == 4 and chosen.needs_features:
        network = _network(extractor, _store(sides["real"], labels["real"]), chosen)
    features = {name: _features(side, network, labels.get(name)) for name, side in sides.items()}
    others = features.get("held_out")
    training = None if others is None else features["real"]
    return chosen.measure(
        MetricInputs(real=features["real"], fake=features["fake"], training=training, held_out=others, seed=seed)
    )


def _checked(array: Any, name: str) -> NDArray[Any]:
    """An array of images or of features.

    Raises:
        MetricError: it is neither.
    """
    values: NDArray[Any] = np.asarray(array.detach().cpu() if isinstance(array, torch.Tensor) else array)
    images = values.dtype == np.uint8 and values.ndim == 4 and values.shape[3] in CHANNELS
    if not len(values.shape) or not len(values) or not (images or (values.dtype.kind == "f" and values.ndim == 2)):
        raise MetricError(
            f"{name}: {values.dtype} {list(values.shape)} cannot be measured; expected uint8 images [n h w c] with 1, "
            "3 or 4 channels, or floating-point features [n d]"
        )
    return values


def _classes(labels: Any, side: NDArray[Any]) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    classes: NDArray[np.int64] = np.asarray(labels, np.int64)
    if classes.shape != side.shape[:1] or classes.min() < 0:
        raise MetricError(
            f"labels: expected {len(side):,} integers from 0, got an array of shape {list(classes.shape)}"
        )
    return classes


def _store(images: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> Store:
    """The real images as a data set, which extractors train on."""
    _, height, width, channels = images.shape
    names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
    digest = hashlib.sha256(str(images.shape).encode() + np.ascontiguousarray(images).tobytes())
    digest.update(b"" if labels is None else labels.tobytes())
    return Store(
        path=Path(),
        title="the real images",
        kind="photos",
        spec=ImageSpec(height=height, width=width, channels=channels, num_classes=len(names)),
        images=images,
        labels=labels,
        class_names=names,
        groups=None,
        digest=digest.hexdigest(),
    )


def _network(extractor: str | Extractor | None, store: Store, metric: Metric) -> FeatureNetwork:
    if extractor is None:
        chosen = default_extractor(store)
    else:
        chosen = from_plain(Extractor, extractor, "extractor") if isinstance(extractor, str) else extractor
    return build_network(chosen, store, np.arange(len(store)), [metric])


def _features(side: NDArray[Any], network: FeatureNetwork | None, labels: NDArray[np.int64] | None) -> Features:
    if side.ndim == 2:
        return Features(values=torch.from_numpy(np.ascontiguousarray(side)), labels=labels)
    if network is None:
        return Features(values=torch.empty(len(side), 0), labels=labels, images=side)
    values, logits = extract(network, Selection(side, np.arange(len(side))).batches())
    return Features(values=values, logits=logits, labels=labels, images=side)

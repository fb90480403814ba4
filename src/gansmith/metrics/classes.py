"""Classes of images: requested, predicted by a classifier, and named in messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.features import Features

__all__ = ["name_classes", "predict_classes", "require_labels", "require_logits"]


def require_labels(features: Features, whose: str, class_names: Sequence[str], missing: str = "") -> NDArray[np.int64]:
    """Return the classes that the images have or were generated for, int64 [n].

    Args:
        features: of the images.
        whose: "real" or "generated", for the message.
        class_names: of all classes; empty if they are unknown.
        missing: why the images have no labels, for the message; a general reason if empty.

    Raises:
        MetricError: the images have no labels, or a label is out of range.
    """
    labels = features.labels
    if labels is None:
        reason = missing or f"the {whose} images have none; measure a conditional model against labelled data"
        raise MetricError(f"needs labels: {reason}")
    if class_names and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise MetricError(
            f"labels of the {whose} images reach from {labels.min()} to {labels.max()}; expected 0 to "
            f"{len(class_names) - 1}: compare them with the data that the generator was trained on"
        )
    return labels


def require_logits(features: Features, whose: str, class_names: Sequence[str]) -> Float[Tensor, "n k"]:
    """Return a classifier's logits of the images; the arguments are those of ``require_labels``.

    Raises:
        MetricError: the feature extractor is no classifier, or its logits contain NaN or infinity.
    """
    logits = features.logits
    if logits is None:
        if class_names:
            raise MetricError("needs a classifier: this feature extractor is none; choose --extractor classifier")
        raise MetricError("needs labels: the real images have none, so no classifier can be trained on them")
    if not bool(torch.isfinite(logits).all()):
        raise MetricError(
            f"logits of the {whose} images contain NaN or infinity; the feature extractor does not fit these images: "
            "choose another --extractor"
        )
    return logits


def predict_classes(features: Features, whose: str, class_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the class that the classifier predicts for each image, int64 [n].

    Raises:
        MetricError: the feature extractor is no classifier, or a classifier of other classes.
    """
    logits = require_logits(features, whose, class_names)
    if class_names and logits.shape[1] != len(class_names):
        raise MetricError(
            f"the feature extractor classifies {logits.shape[1]:,} classes; expected the {len(class_names):,} of the "
            "data: choose --extractor classifier"
        )
    found: NDArray[np.int64] = logits.argmax(1).numpy()
    return found


def name_classes(numbers: Sequence[int], class_names: Sequence[str], most: int = 3) -> str:
    """Return the names of some classes: "stop, yield, go and 4 more"."""
    words = [class_names[number] if class_names else f"class {number}" for number in numbers[:most]]
    rest = len(numbers) - len(words)
    return ", ".join(words) + (f" and {rest} more" if rest else "")

"""Classes of samples: does each show the requested class, and does every class occur?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from gansmith.component import (
    Between,
)
from gansmith.errors import MetricError
from gansmith.metrics.classes import name_classes, predict_classes, require_labels
from gansmith.metrics.confusion import Confusion
from gansmith.metrics.features import Features
from gansmith.metrics.intervals import CONFIDENCE, average_shares, normal, wilson
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity

__all__ = ["ClassCoverage", "LabelFidelity"]

CLEAR = 0.5  # least probability of a clear prediction
ROUNDING = 1e-6  # of shares, which are found by iteration
BY_MISTAKE = 0.05  # p-value from which all predictions of a class may be errors


@dataclass(frozen=True, kw_only=True)
class LabelFidelity(Metric):
    """The share of generated images for which a classifier of real images predicts the requested class.

    ``label_fidelity`` is the share over all images. ``label_fidelity_balanced`` is the mean over classes, in which
    rare classes count as much as frequent ones. The note gives the classifier's share on the real images, which is
    the best that a generator can reach.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "label_fidelity": Quantity(title="Label fidelity", better="higher"),
        "label_fidelity_balanced": Quantity(title="Label fidelity, mean of classes", better="higher"),
    }
    needs_classes: ClassVar[bool] = True

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        names = inputs.class_names
        asked = require_labels(inputs.fake, "generated", names, inputs.unlabelled)
        right = predict_classes(inputs.fake, "generated", names) == asked
        classes = np.unique(asked).tolist()
        shares = [wilson(int(right[asked == number].sum()), int((asked == number).sum())) for number in classes]
        worst = min(range(len(classes)), key=lambda i: shares[i].value)
        worst_note = f"worst class: {name_classes([classes[worst]], names)}, {100 * shares[worst].value:.1f} %"
        return {
            "label_fidelity": wilson(int(right.sum()), len(right), note=_ceiling(inputs)),
            "label_fidelity_balanced": average_shares(shares, note=worst_note),
        }


def _ceiling(inputs: MetricInputs) -> str:
    if inputs.real.labels is None:
        return ""
    labels = require_labels(inputs.real, "real", inputs.class_names)
    right = predict_classes(inputs.real, "real", inputs.class_names) == labels
    return f"{100 * right.mean():.1f} % for the real images"


@dataclass(frozen=True, kw_only=True)
class ClassCoverage(Metric):
    """The number of classes among the generated images, from a classifier whose errors are taken into account.

    A prediction counts if its probability is at least a half. A class is covered if two conditions hold. It is
    predicted more often than errors on the other classes explain (one-sided test, p below 0.05). Its share is at
    least ``least`` times its share among the real images. Both use the classifier's errors on real images that it
    was not trained on; see ``Confusion``. The interval reaches from the classes whose share is significantly above
    that bound to those whose share is not significantly below it, at a joint error rate of 5 %. Classes without real
    images do not count.

    ``class_entropy`` is the entropy of the predicted classes, relative to that of the real images. Below 1, some
    classes are too frequent; 1 is as balanced as the real images. Unconditional models can be measured too.

    Args:
        least: smallest share of a covered class, relative to its share among the real images.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "classes_covered": Quantity(title="Classes covered", better="higher"),
        "class_entropy": Quantity(title="Entropy of classes, generated to real", better="nearer 1"),
    }

    needs_classes: ClassVar[bool] = True
    needs_validation: ClassVar[bool] = True

    least: Annotated[float, Between(0, 1, open_low=True)] = 0.1

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        names = inputs.class_names
        real = predict_classes(inputs.real, "real", names)
        fake = predict_classes(inputs.fake, "generated", names)
        num_classes = len(names) or int(max(real.max(), fake.max())) + 1
        confusion, known_by = _confusion(inputs, num_classes)
        there = real if inputs.real.labels is None else require_labels(inputs.real, "real", names)
        bars = self.least * np.bincount(there, minlength=num_classes) / len(there)
        predicted = np.bincount(_predict_clearly(inputs.fake, fake, num_classes), minlength=num_classes + 1)
        covered, surely, perhaps = _covered(confusion, predicted, bars)
        expected = np.flatnonzero(bars)
        missing = [number for number in expected.tolist() if not covered[number]]
        note = f"of {len(expected):,}" + (f"; not {name_classes(missing, names)}" if missing else "") + known_by
        count = Estimate(
            value=float(covered.sum()),
            low=float(surely.sum()),
            high=float(perhaps.sum()),
            interval="a test for each class",
            note=note,
        )
        return {"classes_covered": count, "class_entropy": _entropy_ratio(real, fake)}


def _confusion(inputs: MetricInputs, num_classes: int) -> tuple[Confusion, str]:
    """Return the classifier's errors on real images, and a note if they are from its own training images."""
    names, real = inputs.class_names, inputs.validation or inputs.real
    if real.labels is None:
        return Confusion.without_errors(num_classes), ""
    clear = _predict_clearly(real, predict_classes(real, "real", names), num_classes)
    counted = Confusion.of(require_labels(real, "real", names), clear, num_classes)
    return counted, "" if inputs.validation else "; the error rates are from images that it may have been trained on"


def _predict_clearly(features: Features, predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return the predicted classes, ``num_classes`` where the probability is below ``CLEAR``."""
    assert features.logits is not None
    probability = features.logits.double().softmax(dim=1).amax(dim=1).numpy()
    return np.where(probability >= CLEAR, predicted, num_classes)


def _covered(
    confusion: Confusion, predicted: NDArray[np.int64], bars: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which classes are covered, which ones surely, and which ones possibly."""
    shares, counted = confusion.estimate_shares(predicted), bars > 0
    by_mistake, _ = confusion.tail_probabilities(predicted, shares, np.zeros_like(shares))
    above, below = confusion.tail_probabilities(predicted, shares, bars)
    covered = counted & (by_mistake < BY_MISTAKE) & (shares >= bars * (1 - ROUNDING))
    level = (1 - CONFIDENCE) / 2 / max(1, counted.sum())
    return covered, covered & (above < level), covered | (counted & (below >= level))


def _entropy_ratio(real: NDArray[np.int64], fake: NDArray[np.int64]) -> Estimate:
    there, there_error = _entropy(real)
    made, made_error = _entropy(fake)
    if there == 0:
        raise MetricError("all real images are predicted as one class; expected several: take more images")
    ratio = made / there
    error = math.hypot(made_error, ratio * there_error) / there
    note = f"{math.exp(made):.1f} to {math.exp(there):.1f} classes of equal shares"
    return normal(ratio, error, "asymptotic variance", within=(0, math.inf), note=note)


def _entropy(classes: NDArray[np.int64]) -> tuple[float, float]:
    """Return the entropy in nats and its standard error: the mean over images of -log(share of its class)."""
    _, which, counts = np.unique(classes, return_inverse=True, return_counts=True)
    surprise = -np.log(counts / len(classes))[which]
    return float(surprise.mean()), float(surprise.std() / math.sqrt(len(classes)))

"""Do conditional samples show the class asked for, and do samples show every class?"""

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

CLEAR = 0.5  # probability from which a class counts as seen
ROUNDING = 1e-6  # of shares that are found step by step
BY_MISTAKE = 0.05  # p-value from which images that are given to a class may all be mistakes


@dataclass(frozen=True, kw_only=True)
class LabelFidelity(Metric):
    """The share of generated images in which a classifier trained on real ones sees the class that was asked for.

    Once over all images, and once as the mean of the classes' shares, so that rare classes count like frequent ones.
    The classifier errs too: its share on the real images, which the note gives, is what a perfect generator reaches.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "label_fidelity": Quantity(title="Label fidelity", better="higher"),
        "label_fidelity_balanced": Quantity(title="Label fidelity, mean of classes", better="higher"),
    }

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        names = comparison.class_names
        asked = require_labels(comparison.fake, "generated", names, comparison.unlabelled)
        right = predict_classes(comparison.fake, "generated", names) == asked
        classes = np.unique(asked).tolist()
        shares = [wilson(int(right[asked == number].sum()), int((asked == number).sum())) for number in classes]
        worst = min(range(len(classes)), key=lambda i: shares[i].value)
        worst_note = f"worst class: {name_classes([classes[worst]], names)}, {100 * shares[worst].value:.1f} %"
        return {
            "label_fidelity": wilson(int(right.sum()), len(right), note=_ceiling(comparison)),
            "label_fidelity_balanced": average_shares(shares, note=worst_note),
        }


def _ceiling(comparison: MetricInputs) -> str:
    if comparison.real.labels is None:
        return ""
    labels = require_labels(comparison.real, "real", comparison.class_names)
    right = predict_classes(comparison.real, "real", comparison.class_names) == labels
    return f"{100 * right.mean():.1f} % for the real images"


@dataclass(frozen=True, kw_only=True)
class ClassCoverage(Metric):
    """Which classes there are among the generated images, by a classifier and with its mistakes taken into account.

    A class is seen in an image if the classifier gives it a probability of at least a half. It is covered if both
    hold: it is seen in more images than mistakes on images of the other classes explain (one-sided test, p below
    0.05), and its share is at least ``least`` times its share among the real images. Both follow from the
    classifier's mistakes on real images that it did not learn from: see ``Confusion``. The interval goes
    from the classes whose share is above that bar to those whose share is not below it, by tests that err in at most
    5 % for all classes together. Classes without real images do not count.

    The entropy of the classes that are seen is given as a ratio to that of the real images: below 1 some classes
    crowd out others, 1 is as mixed as the real images. Unconditional models can be measured as well.

    Args:
        least: the share of a class's real share from which it is covered.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "classes_covered": Quantity(title="Classes covered", better="higher"),
        "class_entropy": Quantity(title="Entropy of classes, generated to real", better="nearer 1"),
    }

    needs_validation: ClassVar[bool] = True

    least: Annotated[float, Between(0, 1, open_low=True)] = 0.1

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        names = comparison.class_names
        real = predict_classes(comparison.real, "real", names)
        fake = predict_classes(comparison.fake, "generated", names)
        num_classes = len(names) or int(max(real.max(), fake.max())) + 1
        confusion, known_by = _confusion(comparison, num_classes)
        there = real if comparison.real.labels is None else require_labels(comparison.real, "real", names)
        bars = self.least * np.bincount(there, minlength=num_classes) / len(there)
        seen = np.bincount(_seen_clearly(comparison.fake, fake, num_classes), minlength=num_classes + 1)
        covered, surely, perhaps = _covered(confusion, seen, bars)
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


def _confusion(comparison: MetricInputs, num_classes: int) -> tuple[Confusion, str]:
    """The classifier's mistakes on real images, and what must be said of where they are known from."""
    names, real = comparison.class_names, comparison.validation or comparison.real
    if real.labels is None:
        return Confusion.without_mistakes(num_classes), ""
    clear = _seen_clearly(real, predict_classes(real, "real", names), num_classes)
    counted = Confusion.of(require_labels(real, "real", names), clear, num_classes)
    return counted, "" if comparison.validation else "; mistakes are those on images that it may have learnt from"


def _seen_clearly(features: Features, seen: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """The class that is seen in each image, or ``num_classes`` where its probability is less than ``CLEAR``."""
    assert features.logits is not None
    probability = features.logits.double().softmax(dim=1).amax(dim=1).numpy()
    return np.where(probability >= CLEAR, seen, num_classes)


def _covered(
    confusion: Confusion, seen: NDArray[np.int64], bars: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which classes are covered, which ones surely, and which ones perhaps."""
    shares, counted = confusion.shares(seen), bars > 0
    by_mistake, _ = confusion.chances(seen, shares, np.zeros_like(shares))
    above, below = confusion.chances(seen, shares, bars)
    covered = counted & (by_mistake < BY_MISTAKE) & (shares >= bars * (1 - ROUNDING))
    level = (1 - CONFIDENCE) / 2 / max(1, counted.sum())
    return covered, covered & (above < level), covered | (counted & (below >= level))


def _entropy_ratio(real: NDArray[np.int64], fake: NDArray[np.int64]) -> Estimate:
    there, there_error = _entropy(real)
    made, made_error = _entropy(fake)
    if there == 0:
        raise MetricError("all real images are seen as one class; expected several: take more of them")
    ratio = made / there
    error = math.hypot(made_error, ratio * there_error) / there
    note = f"{math.exp(made):.1f} to {math.exp(there):.1f} classes of equal shares"
    return normal(ratio, error, "asymptotic variance", within=(0, math.inf), note=note)


def _entropy(classes: NDArray[np.int64]) -> tuple[float, float]:
    """In nats, and its standard error: it is the mean over images of -log(share of the image's class)."""
    _, which, counts = np.unique(classes, return_inverse=True, return_counts=True)
    surprise = -np.log(counts / len(classes))[which]
    return float(surprise.mean()), float(surprise.std() / math.sqrt(len(classes)))

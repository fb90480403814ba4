"""Label fidelity and the entropy of classes against scikit-learn and SciPy, to all but the last digit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from gansmith.metrics.features import Features
from gansmith.metrics.fidelity import ClassCoverage, LabelFidelity
from gansmith.metrics.metric import MetricInputs

NUM_CLASSES = 12
NAMES = tuple(f"class {number}" for number in range(NUM_CLASSES))


def side(num: int, seed: int) -> Features:
    """Labels of unequal classes, and a classifier that errs."""
    draw = np.random.default_rng(seed)
    shares = np.arange(1.0, NUM_CLASSES + 1)
    labels = draw.choice(NUM_CLASSES, num, p=shares / shares.sum())
    logits = torch.from_numpy(2 * np.eye(NUM_CLASSES)[labels] + draw.normal(size=(num, NUM_CLASSES))).float()
    return Features(values=logits, logits=logits, labels=labels, images=np.zeros((num, 1, 1, 1), np.uint8))


COMPARISON = MetricInputs(real=side(3000, 0), fake=side(2000, 1), class_names=NAMES)


def predicted(features: Features) -> np.ndarray:
    assert features.logits is not None
    return features.logits.numpy().argmax(1)


def test_label_fidelity_is_accuracy_and_balanced_accuracy() -> None:
    figures, asked, shown = LabelFidelity().measure(COMPARISON), COMPARISON.fake.labels, predicted(COMPARISON.fake)
    assert figures["label_fidelity"].value == pytest.approx(accuracy_score(asked, shown), rel=1e-14)
    balanced = balanced_accuracy_score(asked, shown)
    assert figures["label_fidelity_balanced"].value == pytest.approx(balanced, rel=1e-14)


def test_the_entropy_ratio_is_that_of_scipys_entropies() -> None:
    real, fake = (entropy(np.bincount(predicted(each))) for each in (COMPARISON.real, COMPARISON.fake))
    assert ClassCoverage().measure(COMPARISON)["class_entropy"].value == pytest.approx(fake / real, rel=1e-14)

"""Label fidelity and classes covered: known shares, the worst class, missing classes, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gansmith.component import override
from gansmith.errors import ConfigError, MetricError
from gansmith.metrics.features import Features
from gansmith.metrics.fidelity import ClassCoverage, LabelFidelity
from gansmith.metrics.metric import Comparison

NAMES = ("stop", "yield", "go", "turn")


def seen(classes: Sequence[int] | NDArray[np.int64], labels: Sequence[int] | None = None) -> Features:
    """Images in which the classifier sees these classes, and which were made for those labels."""
    logits = torch.nn.functional.one_hot(torch.tensor(classes), len(NAMES)).float()
    numbers = None if labels is None else np.array(labels)
    images = np.zeros((len(logits), 1, 1, 1), np.uint8)
    return Features(values=logits, logits=logits, labels=numbers, images=images)


def comparison(real: Features, fake: Features) -> Comparison:
    return Comparison(real=real, fake=fake, class_names=NAMES)


# --- label fidelity ----------------------------------------------------------------------------------------


def test_the_share_of_samples_that_show_what_was_asked_for() -> None:
    real = seen([0, 1, 2, 3], labels=[0, 1, 2, 2])
    fake = seen([0] * 6 + [1, 2], labels=[0] * 6 + [1, 1])
    figures = LabelFidelity().measure(comparison(real, fake))
    plain, balanced = figures["label_fidelity"], figures["label_fidelity_balanced"]
    assert plain.value == 7 / 8
    assert plain.note == "75.0 % for the real images"
    assert balanced.value == (1 + 1 / 2) / 2  # of the classes asked for
    assert balanced.note == "worst class: yield, 50.0 %"
    assert plain.low < plain.value < plain.high <= 1
    assert balanced.high - balanced.low > plain.high - plain.low


def test_the_real_images_need_no_labels() -> None:
    figures = LabelFidelity().measure(comparison(seen([0]), seen([0, 0], labels=[0, 0])))
    assert figures["label_fidelity"].value == 1
    assert not figures["label_fidelity"].note


def test_label_fidelity_needs_labels_that_there_can_be() -> None:
    real = seen([0, 1])
    with pytest.raises(MetricError, match=r"^needs labels: the generated images have none; measure a conditional"):
        LabelFidelity().measure(comparison(real, seen([0, 1])))
    with pytest.raises(MetricError, match="labels of the generated images reach from 1 to 4; expected 0 to 3"):
        LabelFidelity().measure(comparison(real, seen([0, 1], labels=[1, 4])))


@pytest.mark.parametrize("metric", [LabelFidelity(), ClassCoverage()])
def test_both_need_a_classifier_of_these_classes(metric: LabelFidelity | ClassCoverage) -> None:
    labelled = seen([0, 1], labels=[0, 1])
    bare = Features(values=labelled.values, logits=None, labels=labelled.labels, images=labelled.images)
    with pytest.raises(MetricError, match=r"^needs a classifier: .*; choose --extractor classifier$"):
        metric.measure(comparison(labelled, bare))
    broken = Features(values=labelled.values, logits=labelled.values / 0, labels=labelled.labels, images=bare.images)
    with pytest.raises(MetricError, match="logits of the generated images are not all numbers"):
        metric.measure(comparison(labelled, broken))
    with pytest.raises(MetricError, match="tells 4 classes apart; expected the 2 of the data: choose --extractor"):
        metric.measure(Comparison(real=labelled, fake=labelled, class_names=("stop", "yield")))


# --- classes covered ---------------------------------------------------------------------------------------


def test_images_of_one_kind_cover_all_classes() -> None:
    real = seen(np.arange(400) % 4)
    figures = ClassCoverage().measure(comparison(real, real))
    assert figures["classes_covered"].value == 4
    assert figures["classes_covered"].note == "of 4"
    assert figures["class_entropy"].value == 1
    assert figures["class_entropy"].note == "4.0 to 4.0 classes of equal shares"


def test_dropped_classes_are_named() -> None:
    figures = ClassCoverage().measure(comparison(seen(np.arange(400) % 4), seen([1] * 50 + [3] * 50)))
    assert figures["classes_covered"].value == 2
    assert figures["classes_covered"].note == "of 4; not stop, go"
    assert figures["class_entropy"].value == pytest.approx(math.log(2) / math.log(4))


def test_a_class_is_covered_from_a_tenth_of_its_real_share() -> None:
    real = seen([0] * 500 + [1] * 500)
    enough, too_few = seen([0] * 950 + [1] * 50), seen([0] * 951 + [1] * 49)
    assert ClassCoverage().measure(comparison(real, enough))["classes_covered"].value == 2
    estimate = ClassCoverage().measure(comparison(real, too_few))["classes_covered"]
    assert (estimate.value, estimate.note) == (1, "of 2; not yield")
    assert estimate.low == pytest.approx(1 - 1.96 * 0.5, abs=0.05)  # as often covered as not, were it drawn anew
    assert estimate.high == pytest.approx(1 + 1.96 * 0.5, abs=0.05)
    assert ClassCoverage(least=0.09).measure(comparison(real, too_few))["classes_covered"].value == 2
    with pytest.raises(ConfigError, match="more than 0"):
        override(ClassCoverage(), {"least": 0})


def test_a_class_that_is_not_among_the_real_ones_does_not_count() -> None:
    figures = ClassCoverage().measure(comparison(seen([0, 1] * 50), seen([0, 1, 2, 3] * 50)))
    assert (figures["classes_covered"].value, figures["classes_covered"].high) == (2, 2)
    assert figures["class_entropy"].value == pytest.approx(2)


def test_the_interval_of_the_entropy_holds() -> None:
    draw = np.random.default_rng(0)
    shares_fake, shares_real = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.7, 0.1, 0.1, 0.1])
    truth = (shares_fake @ np.log(shares_fake)) / (shares_real @ np.log(shares_real))
    hits = 0
    for _ in range(100):
        real, fake = draw.choice(4, 300, p=shares_real), draw.choice(4, 200, p=shares_fake)
        estimate = ClassCoverage(replicates=2).measure(comparison(seen(real), seen(fake)))["class_entropy"]
        hits += estimate.low <= truth <= estimate.high
    assert 90 <= hits <= 99


def test_one_class_has_no_entropy_to_compare_with() -> None:
    with pytest.raises(MetricError, match="all real images are seen as one class; expected several"):
        ClassCoverage().measure(comparison(seen([1, 1, 1]), seen([0, 1, 2])))

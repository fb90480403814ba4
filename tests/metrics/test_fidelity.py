"""Label fidelity and classes covered: known shares, the worst class, missing classes, and what is refused."""

from __future__ import annotations

import dataclasses
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
from gansmith.metrics.metric import MetricInputs

NAMES = ("stop", "yield", "go", "turn")
MISTAKES = np.array([[0.65, 0.35, 0, 0], [0.05, 0.9, 0.05, 0], [0.1, 0.1, 0.7, 0.1], [0, 0, 0.1, 0.9]])


def seen(classes: Sequence[int] | NDArray[np.int64], labels: Sequence[int] | None = None) -> Features:
    """Images in which the classifier sees these classes, and which were made for those labels."""
    logits = 20.0 * torch.nn.functional.one_hot(torch.tensor(classes), len(NAMES))
    numbers = None if labels is None else np.array(labels)
    images = np.zeros((len(logits), 1, 1, 1), np.uint8)
    return Features(values=logits, logits=logits, labels=numbers, images=images)


def comparison(real: Features, fake: Features) -> MetricInputs:
    return MetricInputs(real=real, fake=fake, class_names=NAMES)


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
    with pytest.raises(MetricError, match="logits of the generated images contain NaN or infinity"):
        metric.measure(comparison(labelled, broken))
    with pytest.raises(
        MetricError, match="feature extractor classifies 4 classes; expected the 2 of the data: choose --extractor"
    ):
        metric.measure(MetricInputs(real=labelled, fake=labelled, class_names=("stop", "yield")))


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
    assert (estimate.low, estimate.high) == (1, 2)  # it may well be covered, were it drawn anew
    assert ClassCoverage(least=0.09).measure(comparison(real, too_few))["classes_covered"].value == 2
    with pytest.raises(ConfigError, match="more than 0"):
        override(ClassCoverage(), {"least": 0})


def mistaken(
    labels: NDArray[np.int64], draw: np.random.Generator, rates: NDArray[np.float64] = MISTAKES
) -> NDArray[np.int64]:
    """What a classifier with these mistakes sees in images of these classes."""
    return np.array([draw.choice(len(rates), p=rates[label]) for label in labels])


@pytest.mark.parametrize("there", [(0, 1, 2, 3), (0, 2, 3), (1, 3), (2,)])
def test_mistakes_are_not_counted_as_classes(there: tuple[int, ...]) -> None:
    """A third of the first class is seen as the second: by its share of what is seen, the second is always covered."""
    values, found = [], []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        labels = np.arange(800) % 4
        fake = mistaken(draw.choice(there, 500), draw)
        given = MetricInputs(
            real=seen(labels, labels),
            fake=seen(fake),
            validation=seen(mistaken(labels, draw), labels),
            class_names=NAMES,
        )
        found.append(ClassCoverage().measure(given)["classes_covered"])
        values.append(found[-1].value)
    assert len(there) <= min(values) and np.mean(values) <= len(there) + 0.1 * (4 - len(there)) + 0.05
    assert all(estimate.low <= len(there) <= estimate.high <= 4 for estimate in found)
    missing = ", ".join(name for number, name in enumerate(NAMES) if number not in there)
    assert found[values.index(len(there))].note == "of 4" + (f"; not {missing}" if missing else "")


def test_where_images_are_too_few_to_tell_the_interval_says_so() -> None:
    draw, labels = np.random.default_rng(0), np.arange(800) % 4
    validation = seen(mistaken(labels, draw), labels)
    few, many = (
        ClassCoverage().measure(
            MetricInputs(
                real=seen(labels, labels),
                fake=seen(mistaken(np.zeros(n, int), draw)),
                validation=validation,
                class_names=NAMES,
            )
        )["classes_covered"]
        for n in (5, 2000)
    )
    assert few.high == 4 > many.high and many.value == 1


def test_without_images_that_it_has_not_learnt_from_it_says_what_mistakes_are_known_from() -> None:
    labels = np.arange(400) % 4
    note = ClassCoverage().measure(comparison(seen(labels, labels), seen(labels)))["classes_covered"].note
    assert note == "of 4; the error rates are from images that it may have been trained on"


def test_images_in_which_no_class_is_clear_count_for_none() -> None:
    labels = np.arange(400) % 4
    vague = dataclasses.replace(seen(labels), logits=seen(labels).values / 20)  # the clearest has 48 %
    given = MetricInputs(real=seen(labels, labels), fake=vague, validation=seen(labels, labels), class_names=NAMES)
    assert ClassCoverage().measure(given)["classes_covered"].value == 0


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
        estimate = ClassCoverage().measure(comparison(seen(real), seen(fake)))["class_entropy"]
        hits += estimate.low <= truth <= estimate.high
    assert 90 <= hits <= 99


def test_one_class_has_no_entropy_to_compare_with() -> None:
    with pytest.raises(MetricError, match="all real images are predicted as one class; expected several"):
        ClassCoverage().measure(comparison(seen([1, 1, 1]), seen([0, 1, 2])))

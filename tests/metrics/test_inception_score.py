"""The inception score at its ends, over its splits, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.features import Features
from gansmith.metrics.inception_score import InceptionScore, inception_score
from gansmith.metrics.metric import MetricInputs


def comparison(logits: Tensor | None, seed: int = 0) -> MetricInputs:
    values = torch.zeros(100, 2) if logits is None else logits
    images = np.zeros((len(values), 1, 1, 1), np.uint8)
    side = Features(values=values, logits=logits, labels=None, images=images)
    return MetricInputs(real=side, fake=side, seed=seed)


def certain(classes: Tensor, num_classes: int) -> Tensor:
    return 1000.0 * torch.nn.functional.one_hot(classes, num_classes).float()


def test_certain_and_mixed_images_score_the_number_of_classes() -> None:
    assert inception_score(certain(torch.arange(60) % 6, 6)) == pytest.approx(6, rel=1e-12)


def test_images_of_one_kind_score_1() -> None:
    assert inception_score(certain(torch.zeros(60, dtype=torch.int64), 6)) == pytest.approx(1, rel=1e-12)
    assert inception_score(torch.randn(1, 6).repeat(60, 1)) == pytest.approx(1, rel=1e-12)


def test_a_doubtful_classifier_by_hand() -> None:
    odds = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
    divergence = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert inception_score(odds.log()) == pytest.approx(math.exp(divergence), rel=1e-14)


def test_the_figure_is_the_mean_over_splits_that_are_drawn_at_random() -> None:
    by_class = certain(torch.arange(4).repeat_interleave(1000), 4)  # as a folder would list them
    estimate = InceptionScore().measure(comparison(by_class))["inception_score"]
    assert 3.9 < estimate.value < estimate.high <= 4
    assert estimate.interval == "10 splits"
    in_order = np.mean([inception_score(part) for part in by_class.split(400)])
    assert in_order < 2


def test_the_interval_is_that_of_the_mean_of_the_splits() -> None:
    logits = 3 * torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    estimate = InceptionScore(splits=2).measure(comparison(logits, seed=7))["inception_score"]
    order = np.random.default_rng(7).permutation(100)
    one, other = inception_score(logits[order[:50]]), inception_score(logits[order[50:]])
    assert estimate.value == pytest.approx((one + other) / 2)
    assert estimate.high - estimate.value == pytest.approx(12.7062 * abs(one - other) / 2, rel=1e-4)  # t of 1
    assert estimate.low >= 1


def test_small_splits_are_remarked_on_and_too_small_ones_refused() -> None:
    logits = torch.randn(59, 6)
    assert InceptionScore().measure(comparison(logits))["inception_score"].note == (
        "too low: splits of 5 images, but 6 classes"
    )
    assert not InceptionScore().measure(comparison(torch.randn(60, 6)))["inception_score"].note
    with pytest.raises(MetricError, match="19 generated images are too few for 10 splits; expected at least 20"):
        InceptionScore().measure(comparison(logits[:19]))


def test_it_needs_a_classifier() -> None:
    with pytest.raises(MetricError, match=r"^needs labels: the real images have none"):
        InceptionScore().measure(comparison(None))
    with pytest.raises(MetricError, match=r"^needs a classifier: .*; choose --extractor classifier$"):
        InceptionScore().measure(dataclasses.replace(comparison(None), class_names=("stop", "go")))

"""Comparisons of two sets of images: by brute force, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gansmith.errors import MetricError
from gansmith.metrics.features import Features
from gansmith.metrics.two_samples import compare_within_classes, tell_apart

DRAW = torch.Generator().manual_seed(0)
REAL, FAKE = torch.randn(60, 3, generator=DRAW), torch.randn(70, 3, generator=DRAW) * 0.7 + 0.5


def test_the_nearest_other_image_votes() -> None:
    both, own = torch.cat([REAL, FAKE[:60]]), torch.arange(120) < 60
    distances = torch.cdist(both, both).fill_diagonal_(torch.inf)
    right = (own[distances.argmin(dim=1)] == own).double().mean()
    found = tell_apart(REAL, FAKE)
    assert found.value == float(right) and found.low < found.value < found.high


def test_sets_that_lie_apart_are_told_and_copies_are_not() -> None:
    assert tell_apart(REAL, REAL + 100).value == 1
    assert tell_apart(REAL, REAL + 1e-4).value == 0
    other = torch.randn(60, 3, generator=DRAW)
    assert tell_apart(REAL, other).low < 0.5 < tell_apart(REAL, other).high
    with pytest.raises(MetricError, match="1 images are too few"):
        tell_apart(REAL, FAKE[:1])


def test_distances_within_classes_are_those_of_all_pairs() -> None:
    real = Features(values=REAL, labels=np.arange(60) % 3)
    fake = Features(values=FAKE, labels=np.where(np.arange(70) < 4, 2, np.arange(70) % 2))
    found, ratios = compare_within_classes(real, fake)
    expected = {}
    for number in (0, 1):
        means = []
        for side in (real, fake):
            assert side.labels is not None
            rows = side.values[torch.from_numpy(side.labels == number)]
            means.append(float(torch.cdist(rows, rows).sum() / (len(rows) * (len(rows) - 1))))
        expected[number] = means[1] / means[0]
    assert ratios.keys() == expected.keys(), "the third class has four generated images"
    for number, ratio in expected.items():
        np.testing.assert_allclose(ratios[number], ratio, rtol=1e-5)
    np.testing.assert_allclose(found.value, np.mean(list(expected.values())), rtol=1e-5)
    assert 0.55 < found.value < 0.85 and found.low < found.value < found.high < 1


def test_labels_are_needed() -> None:
    real = Features(values=REAL, labels=np.arange(60) % 3)
    with pytest.raises(MetricError, match="need labels on both sides"):
        compare_within_classes(real, Features(values=FAKE))
    with pytest.raises(MetricError, match="no class has 5 real and 5 generated images"):
        compare_within_classes(real, Features(values=FAKE, labels=np.full(70, 7)))

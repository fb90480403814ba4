"""Diversity: 1 for the data themselves, closed forms, and what each of its figures sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.diversity import Diversity
from gansmith.metrics.features import Features
from gansmith.metrics.metric import Estimate, MetricInputs


def drawn(num: int, num_features: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed)) * scale


def estimates(real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, Estimate]:
    sides = [
        Features(values=values, logits=None, labels=None, images=np.zeros((len(values), 1, 1, 1), np.uint8))
        for values in (real, fake)
    ]
    return Diversity().measure(MetricInputs(real=sides[0], fake=sides[1], seed=seed))


def figures(real: Tensor, fake: Tensor) -> dict[str, float]:
    return {name: estimate.value for name, estimate in estimates(real, fake).items()}


def kinds(num: int, seed: int, which: int = 8) -> Tensor:
    """Images of 8 kinds, or of the first few of them."""
    return 5 * torch.eye(8)[torch.arange(num) % which] + drawn(num, 8, seed, scale=0.3)


def test_the_data_are_as_varied_as_themselves() -> None:
    real = drawn(200, 6, 0)
    assert figures(real, real.clone()) == pytest.approx({"diversity": 1, "vendi": 1, "uniqueness": 1}, abs=1e-12)


def test_a_set_that_has_shrunk_is_less_varied_by_as_much() -> None:
    real = drawn(200, 6, 0)
    found = figures(real, real.mean(dim=0) + (real - real.mean(dim=0)) / 4)
    assert found == pytest.approx({"diversity": 0.25, "vendi": 1, "uniqueness": 0.25}, rel=1e-5)  # float32


def test_vendi_counts_directions() -> None:
    """Along 6 axes alike there are 6 of them; along 2, 2."""
    axes = torch.cat([torch.eye(6), -torch.eye(6)])
    six = torch.cat([length * axes for length in range(1, 11)])
    two = torch.cat([length * axes[[0, 1, 6, 7]] for length in range(1, 31)])
    assert figures(six, two)["vendi"] == pytest.approx(2 / 6, rel=1e-6)


def test_vendi_sees_missing_kinds_where_the_mean_distance_does_not() -> None:
    found = estimates(kinds(800, 0), kinds(800, 1, which=5))
    assert found["diversity"].value == pytest.approx(1, abs=0.1)
    assert found["vendi"].high < 0.9 and found["vendi"].value < figures(kinds(800, 0), kinds(800, 2, which=6))["vendi"]


def test_uniqueness_sees_duplicates_where_the_others_do_not() -> None:
    real, fake = drawn(600, 6, 0), drawn(600, 6, 1)
    fake[:150] = fake[150:300]  # half of them have a twin
    found = figures(real, fake)
    assert found["diversity"] == pytest.approx(1, abs=0.05) and found["vendi"] == pytest.approx(1, abs=0.05)
    assert found["uniqueness"] == pytest.approx(0.5, abs=0.08)
    fake[:150] += drawn(150, 6, 2, scale=1e-3)
    assert figures(real, fake)["uniqueness"] == pytest.approx(0.5, abs=0.08)


def test_collapse_is_seen_by_all() -> None:
    real = drawn(300, 6, 0)
    found = figures(real, real[:1] + drawn(300, 6, 1, scale=1e-3))
    assert max(found["diversity"], found["uniqueness"]) < 1e-2 and found["vendi"] < 0.3
    assert figures(real, real[:1].expand(300, 6)) == pytest.approx(
        {"diversity": 0, "uniqueness": 0, "vendi": found["vendi"]}, abs=1e-2
    )


def test_unequal_numbers_are_made_equal() -> None:
    """Else the nearest of many would be nearer than the nearest of few."""
    found = estimates(drawn(2000, 3, 0), drawn(200, 3, 1))
    assert found["uniqueness"].value == pytest.approx(1, abs=0.15)
    assert found == estimates(drawn(2000, 3, 0), drawn(200, 3, 1))
    assert found != estimates(drawn(2000, 3, 0), drawn(200, 3, 1), seed=1)


def test_intervals_are_about_as_wide_as_chance() -> None:
    found = [estimates(drawn(200, 4, 2 * seed), drawn(200, 4, 2 * seed + 1)) for seed in range(40)]
    for name, least, most in (("diversity", 0.7, 1.5), ("vendi", 0.7, 2.0), ("uniqueness", 0.6, 1.5)):
        deviation = np.std([estimate[name].value for estimate in found], ddof=1)
        error = np.mean([estimate[name].high - estimate[name].low for estimate in found]) / (2 * 1.96)
        assert least < error / deviation < most, name


def test_real_images_that_are_all_alike_cannot_be_compared_with() -> None:
    for alike in (torch.ones(30, 4), drawn(15, 4, 0).repeat(2, 1)):
        with pytest.raises(MetricError, match="the features of the real images are all equal; choose another"):
            estimates(alike, drawn(30, 4, 1))


def test_too_few_images_are_one_clear_line() -> None:
    assert all(math.isfinite(estimate.value) for estimate in estimates(drawn(20, 4, 0), drawn(20, 4, 1)).values())
    for real, fake in ((19, 40), (40, 19)):
        with pytest.raises(MetricError, match="19 images are too few to measure their diversity; expected at least 20"):
            estimates(drawn(real, 4, 0), drawn(fake, 4, 1))

"""How probable operations are: schedules, and a controller that follows the signs of real logits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gansmith.augment import AdaptiveAugment, FixedAugment
from gansmith.errors import ConfigError
from gansmith.schedules import Linear


def test_a_fixed_probability_follows_its_schedule_and_stays_one() -> None:
    assert FixedAugment().p_at(0.3) == 1
    assert FixedAugment(p=0.6, schedule=Linear(end=0.5)).p_at(1.0) == pytest.approx(0.3)
    assert FixedAugment(p=0.6, schedule=Linear(end=5)).p_at(1.0) == 1


def signs(positive: int, negative: int) -> Tensor:
    return torch.tensor([float(positive - negative), float(positive + negative)])


@pytest.mark.parametrize(("positive", "expected"), [(80, 0.2 + 0.128), (75, 0.2), (70, 0.2 - 0.128)])
def test_it_rises_while_more_real_logits_are_positive_than_the_target_has(positive: int, expected: float) -> None:
    """A target of 0.5 is 75 of 100."""
    found = AdaptiveAugment(target=0.5, kimg=0.5).adjusted(torch.tensor(0.2), signs(positive, 100 - positive), 64)
    assert found.shape == () and found.item() == pytest.approx(expected)


def test_it_goes_from_0_to_1_in_so_many_kimg() -> None:
    augment, p = AdaptiveAugment(kimg=2, limit=1.0), torch.tensor(0.0)
    for _ in range(20):
        p = augment.adjusted(p, signs(64, 0), 100)
    assert p.item() == pytest.approx(1)


def test_it_never_leaves_its_bounds() -> None:
    augment = AdaptiveAugment(kimg=0.1, limit=0.7)
    up, down = signs(9, 0), signs(0, 9)
    assert augment.adjusted(torch.tensor(0.69), up, 64).item() == pytest.approx(0.7)
    assert augment.adjusted(torch.tensor(0.01), down, 64).item() == 0


def test_nothing_to_go_by_changes_nothing() -> None:
    for nothing in (signs(0, 0), torch.tensor([math.nan, 64.0])):
        assert AdaptiveAugment().adjusted(torch.tensor(0.25), nothing, 64).item() == 0.25


def test_a_probability_is_one() -> None:
    with pytest.raises(ConfigError, match=r"FixedAugment.p: 1.5 is out of range; expected from 0 to 1"):
        FixedAugment(p=1.5)

"""How probable operations are: schedules, and a controller that follows what tells of overfitting."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from gansmith.augment import AdaptiveAugment, FixedAugment
from gansmith.errors import ConfigError
from gansmith.schedules import Linear


def test_a_fixed_probability_follows_its_schedule_and_stays_one() -> None:
    assert FixedAugment().p_at(0.3) == 1
    assert FixedAugment(p=0.6, schedule=Linear(end=0.5)).p_at(1.0) == pytest.approx(0.3)
    assert FixedAugment(p=0.6, schedule=Linear(end=5)).p_at(1.0) == 1


@pytest.mark.parametrize(("figure", "expected"), [(0.6, 0.2 + 0.128), (0.5, 0.2), (0.4, 0.2 - 0.128)])
def test_it_rises_while_the_figure_is_above_its_target(figure: float, expected: float) -> None:
    found = AdaptiveAugment(target=0.5, kimg=0.5).adjust(torch.tensor(0.2), torch.tensor(figure), 64)
    assert found.shape == () and found.item() == pytest.approx(expected)


@pytest.mark.parametrize(("by", "target"), [("sign", 0.6), ("held-out", 0.5)])
def test_each_figure_has_the_papers_target(by: Literal["sign", "held-out"], target: float) -> None:
    p = torch.tensor(0.2)
    below, above = (AdaptiveAugment(by=by).adjust(p, torch.tensor(target + off), 64) for off in (-0.01, 0.01))
    assert below < p < above


def test_it_goes_from_0_to_1_in_so_many_kimg() -> None:
    augment, p = AdaptiveAugment(kimg=2, limit=1.0), torch.tensor(0.0)
    for _ in range(20):
        p = augment.adjust(p, torch.tensor(1.0), 100)
    assert p.item() == pytest.approx(1)


def test_it_never_leaves_its_bounds() -> None:
    augment = AdaptiveAugment(kimg=0.1, limit=0.7)
    up, down = torch.tensor(1.0), torch.tensor(-1.0)
    assert augment.adjust(torch.tensor(0.69), up, 64).item() == pytest.approx(0.7)
    assert augment.adjust(torch.tensor(0.01), down, 64).item() == 0


def test_nothing_to_go_by_changes_nothing() -> None:
    assert AdaptiveAugment().adjust(torch.tensor(0.25), torch.tensor(math.nan), 64).item() == 0.25


def test_a_probability_is_one() -> None:
    with pytest.raises(ConfigError, match=r"FixedAugment.p: 1.5 is out of range; expected from 0 to 1"):
        FixedAugment(p=1.5)

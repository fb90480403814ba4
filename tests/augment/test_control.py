"""How probable operations are: schedules, and a controller that follows what tells of overfitting."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from gansmith.augment import AdaptiveAugment, FixedAugment
from gansmith.errors import ConfigError
from gansmith.schedules import Linear


def adjust(augment: AdaptiveAugment, p: float, nimg: int = 64, *, sign: float, held_out: float = math.nan) -> float:
    measures = {"sign": torch.tensor(sign), "held_out": torch.tensor(held_out)}
    return augment.adjust(torch.tensor(p), nimg, **measures).item()


def test_a_fixed_probability_follows_its_schedule_and_stays_one() -> None:
    assert FixedAugment().p_at(0.3) == 1
    assert FixedAugment(p=0.6, schedule=Linear(end=0.5)).p_at(1.0) == pytest.approx(0.3)
    assert FixedAugment(p=0.6, schedule=Linear(end=5)).p_at(1.0) == 1


@pytest.mark.parametrize(("figure", "expected"), [(0.6, 0.2 + 0.128), (0.5, 0.2), (0.4, 0.2 - 0.128)])
def test_it_rises_while_the_figure_is_above_its_target(figure: float, expected: float) -> None:
    found = adjust(AdaptiveAugment(target=0.5, kimg=0.5), 0.2, sign=figure)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("by", "target"), [("sign", 0.6), ("held-out", 0.5)])
def test_each_figure_has_the_papers_target(by: Literal["sign", "held-out"], target: float) -> None:
    values = {"sign": 0.1, "held_out": 0.1}
    below, above = (
        adjust(AdaptiveAugment(by=by), 0.2, **{**values, by.replace("-", "_"): target + off}) for off in (-0.01, 0.01)
    )
    assert below < 0.2 < above


@pytest.mark.parametrize(("sign", "expected"), [(0.61, 0.2 + 0.128), (0.59, 0.2 - 0.128)])
def test_while_held_out_images_tell_nothing_it_goes_by_signs_and_their_own_target(sign: float, expected: float) -> None:
    augment = AdaptiveAugment(by="held-out", target=-1.0, kimg=0.5)
    assert adjust(augment, 0.2, sign=sign) == pytest.approx(expected)
    assert adjust(augment, 0.2, sign=sign, held_out=-0.5) == pytest.approx(0.2 + 0.128)


def test_it_goes_from_0_to_1_in_so_many_kimg() -> None:
    augment, p = AdaptiveAugment(kimg=2, limit=1.0), 0.0
    for _ in range(20):
        p = adjust(augment, p, 100, sign=1.0)
    assert p == pytest.approx(1)


def test_it_never_leaves_its_bounds() -> None:
    augment = AdaptiveAugment(kimg=0.1, limit=0.7)
    assert adjust(augment, 0.69, sign=1.0) == pytest.approx(0.7)
    assert adjust(augment, 0.01, sign=-1.0) == 0


def test_nothing_to_go_by_changes_nothing() -> None:
    assert adjust(AdaptiveAugment(), 0.25, sign=math.nan) == 0.25


def test_a_probability_is_one() -> None:
    with pytest.raises(ConfigError, match=r"FixedAugment.p: 1.5 is out of range; expected from 0 to 1"):
        FixedAugment(p=1.5)

"""Factors stay in their ranges and do not depend on how many images there are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gansmith.data.signs.backgrounds import BACKGROUNDS
from gansmith.data.signs.factors import FACTORS, Free, Scene, Widening, draw_factors

SPANNED = {name: span for name, span in FACTORS.items() if isinstance(span, Widening)}
FREE = {name: span for name, span in FACTORS.items() if isinstance(span, Free)}


def test_every_field_of_a_scene_has_a_span() -> None:
    assert list(FACTORS) == [field.name for field in dataclasses.fields(Scene)] == list(draw_factors(1, 0, 0.5))


def test_more_images_leave_the_first_ones_as_they_are() -> None:
    few, many = draw_factors(10, 3, 0.5), draw_factors(1000, 3, 0.5)
    for name in FACTORS:
        np.testing.assert_array_equal(few[name], many[name][:10])


@pytest.mark.parametrize("difficulty", [0, 0.3, 1])
@pytest.mark.parametrize("name", SPANNED)
def test_spans_widen_with_the_difficulty(name: str, difficulty: float) -> None:
    span, values = SPANNED[name], draw_factors(3000, 0, difficulty)[name]
    low, high = (max(span.rest + difficulty * edge, span.floor) for edge in (span.low, span.high))
    assert low <= values.min() <= low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) <= values.max() <= high


@pytest.mark.parametrize("name", FREE)
def test_free_factors_ignore_the_difficulty(name: str) -> None:
    np.testing.assert_array_equal(draw_factors(100, 0, 0)[name], draw_factors(100, 0, 1)[name])


def test_backgrounds_are_indices_and_all_appear() -> None:
    background = draw_factors(500, 0, 0.5)["background"]
    assert background.dtype == np.int64
    assert set(background) == set(range(len(BACKGROUNDS)))


def test_factors_do_not_follow_each_other() -> None:
    factors = draw_factors(3000, 0, 1)
    correlation = np.corrcoef(list(factors.values())) - np.eye(len(factors))
    assert np.abs(correlation).max() < 0.1

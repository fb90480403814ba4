"""Every schedule begins at 1, never rises and stays in [0, 1]."""

from __future__ import annotations

import pytest

from gansmith.component import from_plain, member, to_plain
from gansmith.schedules import SCHEDULES, Schedule

FRACTIONS = [i / 64 for i in range(65)]


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return member(Schedule, request.param, "schedule")()


def test_it_begins_at_one_and_never_rises(schedule: Schedule) -> None:
    factors = [schedule.factor(fraction) for fraction in FRACTIONS]
    assert factors[0] == 1.0 and factors == sorted(factors, reverse=True)
    assert all(isinstance(factor, float) and 0 <= factor <= 1 for factor in factors)


def test_it_survives_plain_data(schedule: Schedule) -> None:
    assert from_plain(Schedule, to_plain(schedule), "schedule") == schedule

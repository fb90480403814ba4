"""Durations are read, written and counted exactly; schedules have their shapes."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from gansmith.errors import ConfigError
from gansmith.schedules import Constant, Cosine, Duration, Length, Linear, Progress, Schedule


def progress(nimg: int = 0, step: int = 0, seconds: float = 0, epoch_size: int = 1000) -> Progress:
    return Progress(nimg=nimg, step=step, seconds=seconds, epoch_size=epoch_size)


# --- text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("50 epochs", 50, "epochs"), ("1 epoch", 1, "epochs"), ("3000 steps", 3000, "steps"), ("1 step", 1, "steps"),
        ("500 kimg", 500, "kimg"), ("90 s", 90, "s"), ("90 sec", 90, "s"), ("1 second", 1, "s"),
        ("2 seconds", 2, "s"), ("10 min", 10, "min"), ("1 minute", 1, "min"), ("2 minutes", 2, "min"),
        ("2 h", 2, "h"), ("1 hour", 1, "h"), ("2 hours", 2, "h"), ("5 %", 5, "%"), ("5%", 5, "%"),
        ("10min", 10, "min"), ("  2 H ", 2, "h"), ("0.5 epochs", 0.5, "epochs"), (".5 h", 0.5, "h"),
        ("100_000 steps", 100_000, "steps"), ("1e5 steps", 100_000, "steps"), ("1.5e3 kimg", 1500, "kimg"),
    ],
)  # fmt: skip
def test_reading(text: str, amount: float, unit: Any) -> None:
    assert Duration.from_text(text) == Duration(amount, unit)


@pytest.mark.parametrize(
    "text",
    [
        "", "10", "min", "10 parsecs", "0 epochs", "-1 h", "1,000 steps", "ten min", "10 min 5 s", "nan s", "inf h",
        "_5 steps", "1__0 steps", "1e999 steps",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Duration.from_text(text, "config.length")
    assert str(caught.value) == (
        f'config.length: {text!r} is not a duration; write "50 epochs", "3000 steps", "500 kimg", "10 min" or "2 h"'
    )


@pytest.mark.parametrize("text", ["never", "Off", "no", "none"])
def test_an_interval_that_is_never_is_told_how_to_be_rare(text: str) -> None:
    message = rf"'{text}' is not a duration; .*; for an interval that happens only at the end, \"100 %\"$"
    with pytest.raises(ConfigError, match=message):
        Duration.from_text(text, "config.samples.every")


@pytest.mark.parametrize(
    "duration",
    [
        Duration(50, "epochs"), Duration(0.5, "h"), Duration(5, "%"), Duration(100_000, "steps"),
        Duration(1_000_000, "steps"), Duration(1_234_567, "steps"), Duration(1 / 3, "epochs"), Duration(1e-5, "h"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_written_is_read_back_the_same(duration: Duration) -> None:
    assert Duration.from_text(str(duration)) == duration


def test_whole_amounts_are_written_without_a_fraction() -> None:
    assert [str(Duration(10, "min")), str(Duration(0.5, "h"))] == ["10 min", "0.5 h"]


# --- counting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "count"),
    [
        (Duration(8, "epochs"), 2.5), (Duration(10, "steps"), 7), (Duration(5, "kimg"), 2.5),
        (Duration(360, "s"), 90), (Duration(6, "min"), 1.5), (Duration(1, "h"), 0.025),
    ],
)  # fmt: skip
def test_each_unit_counts_its_own(duration: Duration, count: float) -> None:
    now = progress(nimg=2500, step=7, seconds=90)
    assert duration.count(now) == count
    assert duration.fraction(now) == pytest.approx(count / duration.amount)
    assert not duration.reached(now) and Duration(count, duration.unit).reached(now)


def test_a_fraction_stops_at_one() -> None:
    assert Duration(5, "steps").fraction(progress(step=9)) == 1.0
    assert Duration(5, "steps").fraction(progress()) == 0.0


LENGTH = Duration(7, "epochs")
INTERVALS: list[tuple[Duration, int, int, Fraction]] = [  # interval, batch, images in the data, its length in images
    (Duration(1, "epochs"), 64, 13070, Fraction(13070)),
    (Duration(1, "epochs"), 64, 6400, Fraction(6400)),
    (Duration(0.1, "epochs"), 32, 1797, Fraction(1797, 10)),
    (Duration(3, "epochs"), 100, 1797, Fraction(3 * 1797)),
    (Duration(5, "%"), 64, 13070, Fraction(7 * 13070 * 5, 100)),
    (Duration(3, "%"), 50, 1000, Fraction(7 * 1000 * 3, 100)),
    (Duration(5, "kimg"), 64, 13070, Fraction(5000)),
    (Duration(2000, "steps"), 8, 1797, Fraction(2000 * 8)),
    (Duration(0.1, "epochs"), 1, 10, Fraction(1)),  # in floating point, 0.3 / 0.1 is less than 3
    (Duration(0.01, "epochs"), 64, 1797, Fraction(1797, 100)),  # shorter than a step: due at every step, once
]


@pytest.mark.parametrize(("every", "batch_size", "epoch_size", "images"), INTERVALS)
def test_an_interval_is_never_missed_nor_doubled(
    every: Duration, batch_size: int, epoch_size: int, images: Fraction
) -> None:
    moments = [
        progress(nimg=step * batch_size, step=step, epoch_size=epoch_size)
        for step in range(7 * epoch_size // batch_size + 2)
    ]
    due = [every.due(before, now, LENGTH) for before, now in pairwise(moments)]
    passed = [now.nimg // images for now in moments]
    assert due == [now > before for before, now in pairwise(passed)]


def test_time_is_due_when_its_multiple_has_passed() -> None:
    every = Duration(1, "min")
    for before, now, expected in ((0, 59.9, False), (59.9, 60.1, True), (60.1, 119, False), (119, 500, True)):
        assert every.due(progress(seconds=before), progress(seconds=now), LENGTH) == expected


# --- schedules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "factors"),  # at 0, 1/4, 1/2, 3/4, 1
    [
        (Constant(), [1, 1, 1, 1, 1]),
        (Linear(), [1, 0.75, 0.5, 0.25, 0]),
        (Linear(end=0.2, start=0.5), [1, 1, 1, 0.6, 0.2]),
        (Cosine(), [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        (Cosine(end=0.2, start=0.5), [1, 1, 1, 0.6, 0.2]),
        (Linear(start=1), [1, 1, 1, 1, 1]),
        (Linear(begin=0, end=1), [0, 0.25, 0.5, 0.75, 1]),
        (Cosine(begin=0, end=0.5, start=0.5), [0, 0, 0, 0.25, 0.5]),
    ],
)
def test_factors(schedule: Schedule, factors: list[float]) -> None:
    assert [schedule.factor(i / 4) for i in range(5)] == pytest.approx(factors)


# --- what else a duration is -------------------------------------------------------------------------------


def test_only_seconds_minutes_and_hours_go_by_the_clock() -> None:
    units: tuple[Any, ...] = ("epochs", "steps", "kimg", "s", "min", "h", "%")
    assert [unit for unit in units if Duration(1, unit).timed] == ["s", "min", "h"]


@pytest.mark.parametrize("amount", [0, -1, math.inf, math.nan])
def test_an_amount_is_more_than_0_and_finite(amount: float) -> None:
    with pytest.raises(ConfigError, match=r"^duration: got \S+ s, expected a finite amount above 0$"):
        Duration(amount, "s")
    with pytest.raises(ConfigError, match=r"^duration: 'soon' is not a duration"):
        Duration.from_text("soon")


def test_an_amount_is_a_float_and_a_duration_a_value() -> None:
    assert isinstance(Duration(3, "s").amount, float) and Duration(3, "s") == Duration(3.0, "s")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Duration(3, "s").amount = 4.0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        progress().nimg = 4  # type: ignore[misc]


def test_a_length_is_no_share_of_itself() -> None:
    (bound,) = Length.__metadata__  # type: ignore[attr-defined]
    assert Duration(5, "%") not in bound and all(Duration(5, unit) in bound for unit in ("s", "epochs", "steps"))
    assert str(bound) == 'a length that is not a percentage, such as "10 min"'


def test_a_hairs_breadth_is_forgiven_and_no_more() -> None:
    every = Duration(1, "s")
    for missing, wanted in ((1e-10, True), (1e-8, False)):
        assert every.due(progress(seconds=9.5), progress(seconds=10 - missing), LENGTH) is wanted


def test_factors_outside_of_training_are_those_of_its_ends() -> None:
    for schedule in (Linear(begin=0.5, end=2, start=0.25), Cosine(begin=0.5, end=2, start=0.25)):
        assert [schedule.factor(fraction) for fraction in (-1, 0, 0.25, 1, 3)] == [0.5, 0.5, 0.5, 2, 2]
        assert schedule.factor(0.625) == pytest.approx(1.25)
    assert Linear(start=1).factor(1.0) == 1 and Linear(start=1).factor(1.5) == 0

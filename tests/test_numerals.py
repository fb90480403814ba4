"""Numbers, counts and times as text."""

from __future__ import annotations

import math

import pytest

from gansmith.numerals import between, duration, kimg, number, plural, precise


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12.345, "12.3"),
        (0.00812, "0.00812"),
        (123456.7, "123,457"),
        (-1.5, "\N{MINUS SIGN}1.5"),
        (1e-7, "1.00e-07"),
        (1e300, "1.00e+300"),
        (math.nan, "NaN"),
        (math.inf, "infinite"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_a_figure_has_the_digits_that_its_interval_allows() -> None:
    assert precise(15.3217, 14.91, 15.73) == "15.32"
    assert between(14.91, 15.73) == "14.91 to 15.73"
    assert precise(0.00812, 0.0078, 0.0084) == "0.00812"
    assert precise(-13.71, -36.32, 8.81) == "\N{MINUS SIGN}13.7"
    assert precise(43, 43, 43) == "43"
    assert precise(21, None, None) == "21"
    assert between(None, None) == "\N{EN DASH}"


def test_a_rounded_zero_has_no_sign() -> None:
    assert number(-0.001, 1) == "0.0"


def test_counts_and_times() -> None:
    assert plural(1, "class") == "1 class"
    assert plural(1234, "class") == "1,234 classes"
    assert plural(2, "image") == "2 images"
    assert kimg(201408) == "201\N{NO-BREAK SPACE}kimg"
    assert duration(7.25) == "7.25 s"
    assert duration(100.02) == "1 min 40 s"
    assert duration(7500) == "2 h 05 min"

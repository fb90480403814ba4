"""Charts are SVG in the page's colours, with ids of their own, whatever the numbers."""

from __future__ import annotations

import math
import re

import pytest

from gansmith.report.charts import Frame, Line, draw_chart, to_numbers

LINE = Line(x=[0, 1, 2], y=[100, 10, 20], low=[90, 9, 18], high=[110, 11, 22], marks=[(1, 10)])


def test_the_page_decides_about_colour_and_font() -> None:
    svg = draw_chart([LINE, Line(x=[0, 1], y=[1, 2], colour=1, thin=True)], name="a", alt="falls")
    assert "var(--line-0)" in svg and "var(--line-1)" in svg and "var(--muted)" in svg
    assert "#0101" not in svg and "#0102" not in svg and "font-family" not in svg
    assert "http" not in svg and "<style" not in svg
    assert re.search(r"<text[^>]*>thousand images</text>", svg), "text is text"
    assert svg.startswith("<svg") and 'role="img" aria-label="falls"' in svg


def test_no_two_charts_share_an_id() -> None:
    ids = [re.findall(r' id="([^"]*)"', draw_chart([LINE], name=name, alt="")) for name in ("a", "b")]
    assert ids[0] and not set(ids[0]) & set(ids[1])


def test_what_is_referred_to_is_there() -> None:
    svg = draw_chart([LINE], name="a", alt="")
    wanted = re.findall(r"(?:href=\"#|url\(#)([^\")]*)", svg)
    assert wanted and set(wanted) <= set(re.findall(r' id="([^"]*)"', svg))


def test_the_same_numbers_make_the_same_bytes() -> None:
    assert draw_chart([LINE], name="a", alt="") == draw_chart([LINE], name="a", alt="")


def test_the_alternative_text_is_escaped() -> None:
    assert "<b>" not in draw_chart([LINE], name="a", alt='"><b>')


def test_what_is_no_number_leaves_a_gap() -> None:
    values = to_numbers([1, 2.5, None, "3", True, math.nan, math.inf, 10**400, -1e40])
    assert values[:2] == [1, 2.5] and all(map(math.isnan, values[2:]))
    assert draw_chart([Line(x=range(9), y=values)], name="a", alt="")
    assert draw_chart([Line(x=[0], y=[math.nan])], name="a", alt="")


@pytest.mark.parametrize(
    ("values", "ticks"), [([1, 10, 100], {"1", "10", "100"}), ([-1, 0, 1], {"0"}), ([5, 6], set())]
)
def test_a_logarithmic_axis_only_where_it_can_be_one(values: list[float], ticks: set[str]) -> None:
    svg = draw_chart([Line(x=range(len(values)), y=values)], name="a", alt="", frame=Frame(log=True))
    found = set(re.findall(r">([^<>]+)</text>", svg))
    assert ticks <= found
    assert ({"2", "5", "20", "50"} <= found) == (max(values) == 100)


def test_long_curves_are_thinned_but_keep_their_end() -> None:
    long = Line(x=range(10_000), y=range(10_000))
    assert len(draw_chart([long], name="a", alt="")) < 4 * len(draw_chart([LINE], name="a", alt=""))

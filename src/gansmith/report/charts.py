"""Draw curves as inline SVG that takes its colours from the page, so that they follow light and dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gansmith.numerals import number

__all__ = ["HALF", "NUM_COLOURS", "SMALL", "TALL", "WIDE", "Chart", "Frame", "Line", "Size", "draw_chart", "to_numbers"]

Size: TypeAlias = tuple[float, float]  # width and height in pixels, before the page scales it
SMALL: Size = (380, 210)
TALL: Size = (380, 260)
HALF: Size = (520, 300)
WIDE: Size = (1040, 330)

NUM_COLOURS = 6  # the page's variables --line-0 to --line-5
LARGEST = 1e30  # larger values cannot be drawn
MOST_POINTS = 400  # of a line: more than the pixels of its width

# Matplotlib needs colours, the page has variables: these stand in for them until the SVG is written.
_STAND_INS = {"#0101f0": "var(--muted)", "#0101f1": "var(--rule)"} | {
    f"#0102{i:02x}": f"var(--line-{i})" for i in range(NUM_COLOURS)
}
_MUTED, _RULE, *_LINES = _STAND_INS

_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "gansmith", "text.parse_math": False, "font.size": 13}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve.

    Args:
        x: of its points.
        y: of its points; NaN leaves a gap.
        colour: which of the page's.
        low: the lower edge of a band around it, or None.
        high: the upper edge.
        thin: one of many lines, in the background.
        marks: points with a circle.
    """

    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    thin: bool = False
    marks: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The axes of a chart.

    Args:
        x_title: of the horizontal axis.
        size: in pixels.
        log: a logarithmic vertical axis, if all values are positive and span at least a factor of 3.
        bottom: the largest lower end of the vertical axis.
        top: its smallest upper end.
    """

    x_title: str = "thousand images"
    size: Size = SMALL
    log: bool = False
    bottom: float | None = None
    top: float | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart with its heading, legend and note.

    Args:
        title: its heading.
        svg: the picture.
        legend: colour and name of each curve; empty if the title suffices.
        narrow: the chart for small windows, or None if it fits them too.
        note: a sentence below, or empty.
    """

    title: str
    svg: Markup
    legend: tuple[tuple[int, str], ...] = ()
    narrow: Markup | None = None
    note: str = ""


def to_numbers(values: Iterable[object]) -> list[float]:
    """Return plain values as floats; NaN for what cannot be drawn."""
    return [_number(value) for value in values]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        return math.nan
    return float(value)


def draw_chart(lines: Sequence[Line], *, name: str, alt: str, frame: Frame = Frame()) -> Markup:
    """Draw curves.

    Args:
        lines: the curves.
        name: unique on the page.
        alt: the chart in words, for screen readers.
        frame: the axes.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(frame.size[0] / 72, frame.size[1] / 72), layout="constrained")
        axes = figure.subplots()
        for line in lines:
            _add(axes, line)
        _dress(axes, frame, log=frame.log and _spans_a_factor(lines))
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _for_the_page(buffer.getvalue(), name, alt)


def _add(axes: Axes, line: Line) -> None:
    every = math.ceil(len(line.x) / MOST_POINTS) or 1
    keep = sorted({*range(0, len(line.x), every), *range(len(line.x))[-1:]})
    x, y = ([values[i] for i in keep] for values in (line.x, line.y))
    colour = _LINES[line.colour % NUM_COLOURS]
    if line.low is not None and line.high is not None:
        low, high = ([values[i] for i in keep] for values in (line.low, line.high))
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    width, alpha = (0.9, 0.45) if line.thin else (1.7, 1.0)
    dots = "o" if sum(map(math.isfinite, y)) < 3 else None
    axes.plot(x, y, color=colour, linewidth=width, alpha=alpha, marker=dots, markersize=4)
    for at in line.marks:
        axes.plot(*at, "o", color=colour, markersize=7, markerfacecolor="none", markeredgewidth=1.7)


def _spans_a_factor(lines: Sequence[Line]) -> bool:
    """Return whether a logarithmic axis helps: all values are positive and span at least a factor of 3."""
    values = [value for line in lines for edge in (line.y, line.low or (), line.high or ()) for value in edge]
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) >= 3 * min(known)


def _dress(axes: Axes, frame: Frame, *, log: bool) -> None:
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.tick_params(bottom=False, left=False, labelcolor=_MUTED)
    axes.set_xlabel(frame.x_title, color=_MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(9 if frame.size[0] >= WIDE[0] else 5))
    axes.yaxis.set_major_locator(MaxNLocator(4 if frame.size[1] <= SMALL[1] else 6))
    low, high = axes.get_ylim()
    if frame.bottom is not None:
        axes.set_ylim(bottom=min(low, frame.bottom))
    if frame.top is not None:
        axes.set_ylim(top=max(high, frame.top))
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 500 * low else (1,), numticks=9))
        axes.yaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _for_the_page(svg: str, name: str, alt: str) -> Markup:
    """Return the drawing alone: named, scaled by the page, in its font and colours, with unique ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', svg)
    opening = f'<svg {view[0] if view else ""} role="img" aria-label="{escape(alt)}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    svg = re.sub(r' d="[^"]*"', lambda path: _shorter(path[0]), svg)
    svg = re.sub("|".join(_STAND_INS), lambda colour: _STAND_INS[colour[0]], svg)
    return Markup(re.sub(r">\s+<", ">\n<", svg).strip())


def _shorter(path: str) -> str:
    """Return a path in tenths of a pixel, on one line."""
    return re.sub(r"-?\d+\.\d+", lambda digits: f"{float(digits[0]):.1f}", path).replace(" \n", " ").replace("\n", "")

"""Write numbers, counts and times as text."""

from __future__ import annotations

import math

__all__ = ["between", "count", "duration", "kimg", "number", "plural", "precise"]

MINUS = "\N{MINUS SIGN}"


def number(value: float, decimals: int | None = None) -> str:
    """Return a number with a true minus sign: three significant digits, or so many decimals."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite"
    size = abs(value)
    if value == 0:
        text = "0"
    elif decimals is not None:
        text = f"{size:,.{decimals}f}"
    elif size >= 1e15 or 0 < size < 1e-4:
        text = f"{size:.2e}"
    elif size >= 1000:
        text = f"{size:,.0f}"
    else:
        text = f"{size:.3g}"
    return MINUS + text if value < 0 and text.strip("0.,") else text


def precise(value: float, low: float | None, high: float | None) -> str:
    """Return a value with as many decimals as its interval makes meaningful."""
    return number(value, _decimals(low, high))


def between(low: float | None, high: float | None) -> str:
    """Return an interval, or a dash if there is none."""
    if low is None or high is None:
        return "\N{EN DASH}"
    decimals = _decimals(low, high)
    return f"{number(low, decimals)} to {number(high, decimals)}"


def _decimals(low: float | None, high: float | None) -> int | None:
    """Return decimals for two digits of the interval's width, and at least three of its larger end."""
    if low is None or high is None or not 1e-9 < high - low < math.inf:
        return None
    width, end = (math.floor(math.log10(size)) for size in (high - low, max(abs(low), abs(high))))
    return min(9, max(0, 1 - width, 2 - end))


def count(num: float) -> str:
    """Return a whole number: "201,408"."""
    return f"{num:,.0f}"


def plural(num: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    ending = "" if num == 1 else "es" if noun.endswith("s") else "s"
    return f"{count(num)} {noun}{ending}"


def kimg(nimg: float) -> str:
    """Return a number of real images in thousands: "201 kimg"."""
    return f"{number(nimg / 1000)}\N{NO-BREAK SPACE}kimg"


def duration(seconds: float) -> str:
    """Return a time: "1 min 40 s"."""
    if seconds < 60:
        return f"{number(seconds)} s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"

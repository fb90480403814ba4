"""Say in plain sentences what the comparisons of two variants show, and what they leave open."""

from __future__ import annotations

from collections.abc import Sequence

from gansmith.numerals import number
from gansmith.study.compare import POWER, SIGNIFICANT, least_p_of_signs
from gansmith.study.results import Group, Measure, PairedComparison, Summary

__all__ = ["TITLES", "conclude"]

TITLES: dict[Group, str] = {"quality": "Quality", "convergence": "Convergence speed", "stability": "Stability"}

Row = tuple[Measure, PairedComparison, Sequence[Summary]]  # the summaries of the first and the second variant


def conclude(rows: Sequence[Row], incomparable: Sequence[str]) -> tuple[str, ...]:
    """Return what one group of measures says about two variants, a sentence each.

    Args:
        rows: the group's measures, with their comparisons and summaries.
        incomparable: why values of the metrics must not be compared.
    """
    shares = [_count(*row) for row in rows if row[0].key == ("diverged" if incomparable else "lost") and row[2]]
    if incomparable:
        return (*shares, f"Nothing can be concluded from values that are not comparable: {'; '.join(incomparable)}.")
    tested = [row for row in rows if row[0].headline]
    pairs = [row for row in tested if row[1].num >= 2 and row[1].difference is not None]
    if tested and not pairs:
        return (*shares, "Nothing can be concluded from fewer than two pairs of runs.")
    if not tested and not shares:
        return ("Nothing can be concluded, because no metric was tracked.",)
    shown = {is_shown: [row for row in pairs if _is_shown(row[1]) == is_shown] for is_shown in (True, False)}
    return (*shares, *(_difference(*row) for row in shown[True]), *(_open(*row) for row in shown[False]))


def _is_shown(comparison: PairedComparison) -> bool:
    return comparison.p_holm is not None and comparison.p_holm < SIGNIFICANT


def _difference(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    """ "B is better than A in FID: B minus A is −9.8 (95 % interval −12.1 to −7.5)."."""
    assert comparison.difference is not None
    value, low, high = comparison.difference.value, comparison.difference.low, comparison.difference.high
    interval = "" if low is None or high is None else f" (95 % interval {number(low)} to {number(high)})"
    unit = f" {measure.unit}" if measure.unit else ""
    amount = f"{comparison.second} minus {comparison.first} is {number(value)}{unit}{interval}"
    return f"{_order(measure, comparison, summaries)}: {amount}.{_doubt(comparison)}"


def _order(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    assert comparison.difference is not None
    more, less = comparison.second, comparison.first
    if comparison.difference.value < 0:
        more, less = less, more
    better = measure.better
    if better.startswith("nearer ") and len({side.mean.value > float(better[7:]) for side in summaries}) == 1:
        better = "lower" if summaries[0].mean.value > float(better[7:]) else "higher"  # both means lie on one side
    if better not in ("lower", "higher"):
        return f"{measure.title} is higher with {more} than with {less}"
    winner, loser = (less, more) if better == "lower" else (more, less)
    return f"{winner} is better than {loser} in {measure.title}"


def _doubt(comparison: PairedComparison) -> str:
    """Return a sentence if the sign-flip test, which assumes no normal distribution, could reject but does not."""
    p = comparison.p_permutation
    if p is None or p < SIGNIFICANT or least_p_of_signs(comparison.num) >= SIGNIFICANT:
        return ""
    return f" The sign-flip test, which assumes no normal distribution, does not confirm it (p = {p:.2g})."


def _open(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    text = f"It remains open which is better in {measure.title}."
    if comparison.detectable is None:
        return text
    size = f"{number(comparison.detectable)}{f' {measure.unit}' if measure.unit else ''}"
    chance = f"with a probability of {100 * POWER:g} %"
    return f"{text} {comparison.num} pairs of seeds show a true difference of {size} {chance}."


def _count(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    counts = ", ".join(f"{round(side.mean.value * side.num)} of {side.num} with {side.variant}" for side in summaries)
    p = comparison.p_mcnemar
    test = (
        f" (McNemar's exact test: p = {p:.2g})" if p is not None and any(side.mean.value for side in summaries) else ""
    )
    return f"{measure.title.capitalize()}: {counts}{test}."

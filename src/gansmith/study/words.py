"""What a comparison means, in plain words: what can be concluded, what cannot, and what could have been seen."""

from __future__ import annotations

from collections.abc import Sequence

from gansmith.numerals import number
from gansmith.study.compare import SIGNIFICANT, least_p_of_signs
from gansmith.study.results import Group, Interval, Measure, PairedComparison, Summary

__all__ = ["TITLES", "conclusion", "sentence", "span"]

TITLES: dict[Group, str] = {"quality": "Quality", "convergence": "Convergence speed", "stability": "Stability"}


def span(interval: Interval) -> str:
    """ "1.2 to 3.4", or nothing where there is no interval."""
    if interval.low is None or interval.high is None:
        return ""
    return f"{number(interval.low)} to {number(interval.high)}"


def sentence(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    """What one comparison says.

    Args:
        measure: that was compared.
        comparison: all of it but this sentence.
        summaries: of the first and the second variant.
    """
    if measure.share:
        return f"{_capital(_shares(measure, comparison, summaries))}."
    if comparison.difference is None or comparison.num < 2:
        pairs = "no pair" if not comparison.num else "a single pair"
        return f"{_capital(measure.title)}: nothing can be concluded from {pairs} of runs{_aside(comparison.note)}."
    if measure.headline:
        text = (
            _finding(measure, comparison, summaries) if _is_shown(comparison) else _open(measure, comparison, summaries)
        )
    else:
        text = f"{measure.title}: {_amount(measure, comparison, summaries)}; explored, not tested for: a hint at most"
    return f"{_capital(text)}{_aside(comparison.note)}."


def conclusion(
    group: Group, asked: Sequence[tuple[Measure, PairedComparison, Sequence[Summary]]], incomparable: Sequence[str]
) -> str:
    """What one group of measures says about two variants.

    Args:
        group: of measures.
        asked: the group's measures with their comparisons and the two variants' summaries.
        incomparable: why figures must not be set side by side.
    """
    shares = [_shares(*entry) for entry in asked if entry[0].key in (("diverged",) if incomparable else ("lost",))]
    tested = [] if incomparable else [entry for entry in asked if entry[0].headline]
    pairs = [entry for entry in tested if entry[1].num >= 2 and entry[1].difference is not None]
    findings = [_finding(*entry) for entry in pairs if _is_shown(entry[1])]
    undecided = [_open(*entry) for entry in pairs if not _is_shown(entry[1])]
    if incomparable:
        why = f"nothing can be concluded from figures that must not be set side by side: {'; '.join(incomparable)}"
    elif not tested and not shares:
        why = "nothing can be concluded, as no figure was tracked"
    elif not pairs and tested:
        why = "nothing can be concluded, as there are fewer than two pairs of runs"
    else:
        why = ""
    clauses = [clause for clause in (*shares, why, *findings, *undecided) if clause]
    return f"{TITLES[group]}: {'; '.join(clauses)}."


def _is_shown(comparison: PairedComparison) -> bool:
    """Whether a difference of a headline measure has been shown."""
    return comparison.p_holm is not None and comparison.p_holm < SIGNIFICANT


def _finding(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    assert comparison.difference is not None
    more = comparison.second if comparison.difference.value > 0 else comparison.first
    less = comparison.first if more == comparison.second else comparison.second
    amount = _amount(measure, comparison, summaries)
    if measure.better in ("lower", "higher"):
        winner, loser = (less, more) if measure.better == "lower" else (more, less)
        return f"{winner} is better than {loser} in {measure.title} ({amount}{_doubt(comparison)})"
    goal = float(measure.better.removeprefix("nearer ")) if measure.better.startswith("nearer ") else None
    if goal is not None and len({side.mean.value > goal for side in summaries}) == 1:  # both on one side of it
        winner = more if summaries[0].mean.value < goal else less
        loser = less if winner == more else more
        title = f"{measure.title} ({measure.better})"
        return f"{winner} is better than {loser} in {title} ({amount}{_doubt(comparison)})"
    return f"{measure.title} is higher with {more} than with {less} ({amount}{_doubt(comparison)})"


def _open(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    could = ""
    if comparison.detectable is not None:
        could = (
            f", as only a true difference of about {number(comparison.detectable)} or more would most likely have "
            f"shown with {comparison.num} pairs of seeds, and a smaller one may well be there"
        )
    return (
        f"which of the two is better in {measure.title} remains open ({_amount(measure, comparison, summaries)}){could}"
    )


def _amount(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    """ "B 20.7, A 30.5: B minus A −9.8, 95 % interval −12.1 to −7.5, corrected p = 0.001"."""
    assert comparison.difference is not None
    means = ", ".join(f"{side.variant} {number(side.mean.value)}" for side in reversed(summaries))
    unit = f" {measure.unit}" if measure.unit else ""
    parts = [f"{means}: {comparison.second} minus {comparison.first} {number(comparison.difference.value)}{unit}"]
    if comparison.difference.low is not None:
        parts.append(f"95 % interval {span(comparison.difference)}")
    if comparison.p_holm is not None:
        parts.append(f"corrected {_p(comparison.p_holm)}")
    elif comparison.p_t is not None:
        parts.append(f"uncorrected {_p(comparison.p_t)}")
    return ", ".join(parts)


def _doubt(comparison: PairedComparison) -> str:
    """What the test that supposes less has to say against a finding, where it could have said anything."""
    p = comparison.p_permutation
    if p is None or p < SIGNIFICANT or least_p_of_signs(comparison.num) >= SIGNIFICANT:
        return ""
    return f"; but the exact test, which supposes no normal distribution, gives {_p(p)}"


def _shares(measure: Measure, comparison: PairedComparison, summaries: Sequence[Summary]) -> str:
    counts = [f"{round(side.mean.value * side.num)} of {side.num} with {side.variant}" for side in summaries]
    if not counts:
        return f"{measure.title}: not known"
    test = ""
    if comparison.p_mcnemar is not None and any(side.mean.value for side in summaries):
        least = least_p_of_signs(comparison.num)
        limit = f", and {comparison.num} pairs could not give less than {least:.2g}" if least >= SIGNIFICANT else ""
        test = f" (exact McNemar {_p(comparison.p_mcnemar)}{limit})"
    elif summaries:
        highest = max((side.mean.high or 1.0) for side in summaries)
        test = f" (which leaves room for a share of up to {highest:.0%})"
    return f"{measure.title} {' and '.join(counts)}{test}"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 0.001 else "p < 0.001"


def _aside(note: str) -> str:
    return f" ({note})" if note else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

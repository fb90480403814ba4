"""The one sentence of a utility test: whether the generated images helped the classifier."""

from __future__ import annotations

from collections.abc import Sequence

from gansmith.numerals import number
from gansmith.utility.results import UtilityComparison

__all__ = ["conclude_utility", "describe_amount", "points"]


def conclude_utility(comparisons: Sequence[UtilityComparison], doubt: str, seeds: int) -> str:
    """Return one sentence.

    Args:
        comparisons: all of the test.
        doubt: why the run may have been trained on test images; "" if it was not.
        seeds: of classifiers.
    """
    tested = [entry for entry in comparisons if entry.headline and entry.paired.difference is not None]
    plain, classical, rare = (
        [entry for entry in tested if (entry.paired.first, entry.paired.second) == pair]
        for pair in (("real", "gan"), ("augmented", "gan"), ("real", "rare"))
    )
    if not tested:
        return _warn(
            "Nothing is shown about generated images, because no arm with them was compared with one without.", doubt
        )
    if seeds < 2:
        return _warn("Nothing is shown about generated images with one seed; use --seeds 5.", doubt)
    against = [
        ("compared with real images alone, they change accuracy by", plain),
        ("compared with classical augmentation, by", classical),
        ("filling up rare classes changes accuracy by", rare),
    ]
    amounts = "; ".join(f"{words} {_list(entries)}" for words, entries in against if entries)
    return _warn(f"{_verdict(plain, classical, rare)}: {amounts}.", doubt)


def describe_amount(amount: str) -> str:
    """Return an amount in words."""
    return {"all": "all real images", "none": "no real images"}.get(amount, f"{amount} real images a class")


def points(value: float, *, sign: bool = True) -> str:
    """Return a share as percentage points: 0.0123 is "+1.2"."""
    text = number(100 * value, 1)
    return f"+{text}" if sign and value > 0 and text.strip("0.") else text


def _verdict(
    plain: Sequence[UtilityComparison], classical: Sequence[UtilityComparison], rare: Sequence[UtilityComparison]
) -> str:
    better, worse = (_amounts_shown(plain, sign) for sign in (1, -1))
    best = _amounts_shown(classical, 1)
    both = [amount for amount in better if amount in best]
    if both:
        return f"The generated images help more than classical augmentation at {_join(both)}"
    if better and not classical:
        return f"The generated images help at {_join(better)}"
    if better:
        beaten = _amounts_shown(classical, -1)
        less = [amount for amount in better if amount in beaten]
        than = (
            f"less than classical augmentation at {_join(less)}"
            if less
            else "not shown to exceed classical augmentation"
        )
        return f"The generated images help at {_join(better)}, but {than}"
    filled = _amounts_shown(rare, 1)
    if filled:
        return f"The generated images help only where they fill up rare classes, at {_join(filled)}"
    if worse:
        return f"The generated images do not help, and harm at {_join(worse)}"
    return "No gain from the generated images is shown"


def _amounts_shown(entries: Sequence[UtilityComparison], sign: int) -> list[str]:
    return [
        describe_amount(entry.amount)
        for entry in entries
        if entry.shown and entry.paired.difference is not None and entry.paired.difference.value * sign > 0
    ]


def _list(entries: Sequence[UtilityComparison]) -> str:
    return ", ".join(f"{_difference(entry)} at {describe_amount(entry.amount)}" for entry in entries)


def _difference(entry: UtilityComparison) -> str:
    """ "+4.1 points (95 % interval +3.0 to +5.2)"."""
    found = entry.paired.difference
    assert found is not None
    interval = "" if found.low is None or found.high is None else f" ({points(found.low)} to {points(found.high)})"
    return f"{points(found.value)} points{interval}{'' if entry.shown else ', not significant,'}"


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _warn(sentence: str, doubt: str) -> str:
    return f"NOT RELIABLE, because {doubt}: {sentence[:1].lower()}{sentence[1:]}" if doubt else sentence

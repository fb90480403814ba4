"""Settings of a utility test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gansmith.component import Between, Component, Fraction, override
from gansmith.data import resolve
from gansmith.data.source import Source
from gansmith.errors import ConfigError, did_you_mean
from gansmith.training.snapshots import Which
from gansmith.trust import trust_user_input
from gansmith.utility.arms import ARMS, NO_REAL, Amount

__all__ = ["UtilityOptions", "name_sources", "read_amounts", "read_arms", "refuse_no_arms"]

LEAST_STEPS = 4  # of the one-cycle learning rate
MOST_SEEDS, MOST_STEPS, MOST_SYNTHETIC, MOST_IMAGES = 1000, 10_000_000, 1_000_000, 1_000_000


@dataclass(frozen=True, kw_only=True)
class UtilityOptions(Component):
    """What is trained and tested.

    Args:
        against: the real images; None is the run's training data.
        test: real images to test on; None tests on the images that are held out.
        arms: names in ``ARMS``.
        amounts: numbers of real images of each class; None is all.
        seeds: number of classifiers of each arm and amount.
        steps: batches of 32 images that each classifier is trained on.
        synthetic: generated images of each class, and drawn ones.
        held_out: share of ``against`` that is tested on, if it is not the run's training data.
        difficulty: of the drawn signs; see ``Signs``.
        snapshot: "best" or "last".
        ema: use the averaged weights.
    """

    against: Source | None = None
    test: Source | None = None
    arms: tuple[str, ...] = tuple(ARMS)
    amounts: tuple[Annotated[int, Between(1, MOST_IMAGES)] | None, ...] = (None, 50, 10)
    seeds: Annotated[int, Between(1, MOST_SEEDS)] = 5
    steps: Annotated[int, Between(LEAST_STEPS, MOST_STEPS)] = 2000
    synthetic: Annotated[int, Between(1, MOST_SYNTHETIC)] = 300
    held_out: Annotated[float, Between(0, 1, open_low=True, open_high=True)] = 0.2
    difficulty: Fraction = 0.5
    snapshot: Which = "best"
    ema: bool = True


def refuse_no_arms(options: UtilityOptions) -> None:
    """Raise ConfigError if there is nothing to train, or an arm that does not exist."""
    if not options.arms or not options.amounts:
        raise ConfigError("--arms, --per_class: expected at least one of each")
    read_arms(",".join(options.arms))


def name_sources(
    against: str | Path | None, root: str | Path | None, test: str | Path | None, overrides: Mapping[str, Any]
) -> dict[str, Source]:
    """Return the fields of ``UtilityOptions`` that name images, for a user's words.

    Args:
        against: a source's name, or a path; None for none.
        root: the folder with a local copy of the source that ``against`` names.
        test: a source's name, or a path; None for none.
        overrides: fields of these sources by dotted path, as {"against.roi": True}.

    Raises:
        ConfigError: an unknown name or field, or a value that does not fit.
        DataError: neither a source nor a path.
    """
    with trust_user_input():
        given = {
            name: resolve(str(words), None if place is None else Path(place))
            for name, words, place in (("against", against, root), ("test", test, None))
            if words is not None
        }
        changed = override(UtilityOptions(), {**given, **overrides}, "utility")
    return {name: getattr(changed, name) for name in given}


def read_arms(text: str) -> tuple[str, ...]:
    """Return the arms that a text names, "real,gan", in the order of tables.

    Raises:
        ConfigError: there is no such arm.
    """
    words = _words(text)
    for word in words:
        if word not in ARMS:
            raise ConfigError(f"--arms: no arm is called '{word}'; {did_you_mean(word, ARMS)}")
    return tuple(name for name in ARMS if name in words)


def read_amounts(text: str) -> tuple[Amount, ...]:
    """Return the amounts that a text names, "all,50,10", the largest first.

    Raises:
        ConfigError: one is neither a positive number nor "all".
    """
    amounts: set[Amount] = set()
    for word in _words(text):
        if word != "all" and not (word.isascii() and word.isdecimal() and NO_REAL < int(word) <= MOST_SYNTHETIC):
            raise ConfigError(f"--per_class: expected numbers of images and 'all', as in all,50,10; got '{word}'")
        amounts.add(None if word == "all" else int(word))
    return tuple(sorted(amounts, key=lambda amount: (amount is not None, -(amount or 0))))


def _words(text: str) -> Sequence[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]

"""Choose what to change after a failure: one thing, twice as strongly each time that it is tried.

NaN or infinity, an exploding gradient, or D worse than chance: the learning rates
D has won or the samples have collapsed while D overfits: augmentation
D has won or the samples have collapsed otherwise: gamma; the learning rates where gamma was changed last
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gansmith.training.guard.journal import Kind

__all__ = ["Remedy", "Thing", "choose_remedy"]

Thing: TypeAlias = Literal["rates", "gamma", "augment"]

FIRST_P, MOST_P = 0.4, 0.8  # of augmentation, which shows in the samples beyond (Karras et al. 2020, ADA, figure 4)
LAZY = 4  # steps between evaluations of an added penalty


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A change of the configuration.

    Args:
        thing: what is changed.
        sentence: how, in a clause.
        changes: new values of fields of the configuration, by dotted path.
    """

    thing: Thing
    sentence: str
    changes: Mapping[str, Any]


def choose_remedy(
    kind: Kind,
    active: Collection[str],
    tried: Sequence[str],
    config: Mapping[str, Any],
    *,
    gamma: float,
    operations: Sequence[str],
) -> Remedy:
    """Return the remedy for a failure.

    Args:
        kind: of the failure.
        active: all kinds that are detected now.
        tried: the things that were changed in this run before.
        config: of the run, as plain data.
        gamma: of R1, for these images, if a penalty has to be added.
        operations: of augmentation, for these images, if it has to be added; empty if none is known to be safe.
    """
    thing = _thing(kind, active, tried, config, operations)
    factor = 2 ** (1 + tried.count(thing))
    if thing == "rates":
        return _slower(config, factor)
    return _smoother(config, factor, gamma) if thing == "gamma" else _augmented(config, operations)


def _thing(
    kind: Kind, active: Collection[str], tried: Sequence[str], config: Mapping[str, Any], operations: Sequence[str]
) -> Thing:
    if kind not in ("discriminator-won", "mode-collapse"):
        return "rates"
    if "overfitting" in active and _can_augment_more(config, operations):
        return "augment"
    return "rates" if list(tried[-1:]) == ["gamma"] else "gamma"


def _slower(config: Mapping[str, Any], factor: int) -> Remedy:
    paths = ("generator_optimizer", "discriminator_optimizer")
    changes = {f"{path}.lr": config[path]["lr"] / factor for path in paths}
    return Remedy(thing="rates", sentence=f"both learning rates are divided by {factor}", changes=changes)


def _smoother(config: Mapping[str, Any], factor: int, gamma: float) -> Remedy:
    if not config["penalties"]:
        added = {"name": "r1", "gamma": gamma, "every": LAZY}
        return Remedy(thing="gamma", sentence=f"R1 is added, gamma {gamma:g}", changes={"penalties": [added]})
    changes = {f"penalties.{i}.gamma": penalty["gamma"] * factor for i, penalty in enumerate(config["penalties"])}
    return Remedy(thing="gamma", sentence=f"gamma is multiplied by {factor}", changes=changes)


def _can_augment_more(config: Mapping[str, Any], operations: Sequence[str]) -> bool:
    augment = config["augment"]
    return bool(operations) if augment is None else augment["name"] == "fixed" and augment["p"] < MOST_P


def _augmented(config: Mapping[str, Any], operations: Sequence[str]) -> Remedy:
    if config["augment"] is None:
        added = {"name": "fixed", "p": FIRST_P, "operations": list(operations)}
        names = ", ".join(operations)
        return Remedy(
            thing="augment", sentence=f"augmentation is added, p {FIRST_P:g}: {names}", changes={"augment": added}
        )
    p = min(MOST_P, 2 * config["augment"]["p"])
    return Remedy(thing="augment", sentence=f"augmentation's p is raised to {p:g}", changes={"augment.p": p})

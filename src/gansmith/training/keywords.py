"""Fields of the configuration as Python keywords, and short names for those that are set most often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from gansmith.augment import Augment
from gansmith.component import to_plain
from gansmith.data.store import Preparation
from gansmith.errors import ConfigError, did_you_mean
from gansmith.losses import Loss
from gansmith.models.model import Model
from gansmith.optimizers import Optimizer
from gansmith.penalties import Penalty
from gansmith.regularizers import Regularizer
from gansmith.schedules import Duration
from gansmith.training.callbacks import Callback
from gansmith.training.config import flat
from gansmith.training.guard.settings import Guard
from gansmith.training.loggers import Logger
from gansmith.training.origin import NewClasses
from gansmith.training.presets import PRESETS
from gansmith.training.recipe import Recipe
from gansmith.training.sample_sheets import PictureWriter
from gansmith.training.tracking import Tracking
from gansmith.types import parse_size

__all__ = ["UNITS", "Fields", "expand_short_names", "refuse_unknown_fields"]

Plain: TypeAlias = Mapping[str, Any]  # a component's name and fields
UNITS = {"minutes": "min", "epochs": "epochs", "steps": "steps", "kimg": "kimg"}


class Fields(TypedDict, total=False):
    """The fields of ``Config`` that have no keyword of their own in ``train``; see there for what they mean.

    A component may be given itself, by its name, or as its name and fields. None or "none" switches it off.
    """

    preparation: Preparation | Plain
    use_labels: bool
    balance: float
    held_out: float
    recipe: Recipe | str | Plain
    model: Model | str | Plain
    loss: Loss | str | Plain
    penalties: Sequence[Penalty | str | Plain] | str
    regularizers: Sequence[Regularizer | str | Plain] | str
    augment: Augment | str | Plain | None
    generator_optimizer: Optimizer | str | Plain
    discriminator_optimizer: Optimizer | str | Plain
    discriminator_steps: int
    reuse_fakes: bool
    batch_size: int
    micro_batch: int | None
    init: str | Path | None
    init_classes: NewClasses
    freeze_discriminator: int
    ema_halflife_kimg: float
    ema_ramp: float
    ema_factors: Sequence[float]
    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    log_every: Duration | str | None
    checkpoint_every: Duration | str
    keep_checkpoints: int
    samples: PictureWriter | str | Plain
    tracking: Tracking | Plain | Literal["none"] | None
    guard: Guard | Plain | Literal["none"] | None
    callbacks: Sequence[Callback | str | Plain] | str
    loggers: Sequence[Logger | str | Plain] | str


def expand_short_names(
    *,
    length: Duration | str | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    kimg: float | None = None,
    size: str | int | None = None,
    resolution: str | int | None = None,
    lr: float | None = None,
    prefix: str = "",
) -> dict[str, Any]:
    """Return the fields that short names set, by dotted path; None is a name that was not given.

    Args:
        length: "10 min", "50 epochs", "3000 steps", "500 kimg".
        minutes: the same as a length of so many minutes.
        epochs: passes over the data: the same as a length of so many epochs.
        steps: updates of the generator: the same as a length of so many steps.
        kimg: thousands of real images: the same as a length of so many kimg.
        size: of the images: 64, or "48x64" for width x height.
        resolution: the same as size.
        lr: the learning rate of both networks.
        prefix: of the names in messages; "--" on the command line.

    Raises:
        ConfigError: two names for one field, or a size that is none.
    """
    counts = {"minutes": minutes, "epochs": epochs, "steps": steps, "kimg": kimg}
    lengths = {name: None if num is None else f"{num:.15g} {UNITS[name]}" for name, num in counts.items()}
    found = {
        "length": _only_one({"length": length, **lengths}, prefix),
        "preparation.size": _only_one({"size": size, "resolution": resolution}, prefix),
        "generator_optimizer.lr": lr,
        "discriminator_optimizer.lr": lr,
    }
    if (sides := found["preparation.size"]) is not None:
        found["preparation.size"] = list(parse_size(str(sides), f"{prefix}{'resolution' if size is None else 'size'}"))
    return {path: value for path, value in found.items() if value is not None}


def refuse_unknown_fields(function: str, given: Plain, also: Sequence[str] = ()) -> None:
    """Check keywords.

    Args:
        function: that was called, for the message.
        given: the keywords that are fields.
        also: the other keywords that it takes.

    Raises:
        ConfigError: one is no field.
    """
    known = Fields.__annotations__.keys()
    for name in given:
        if name not in known:
            raise ConfigError(f"{function}({name}=...): no such keyword; {_advice(name, [*known, *also])}")


def _only_one(ways: Plain, prefix: str) -> Any:
    """The value that was given under one of several names."""
    given = {name: value for name, value in ways.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(prefix + name for name in given)}: say the same; give one of them")
    return next(iter(given.values()), None)


def _advice(name: str, known: Sequence[str]) -> str:
    """What to write instead of an unknown keyword: the path of a component's field, or the nearest keyword."""
    path = name.replace("__", ".")
    below = {path for preset in PRESETS.values() for path in flat(to_plain(preset.config)) if "." in path}
    nested = [path] if path in below else sorted(each for each in below if each.endswith(f".{path}"))
    if nested:
        return f"write overrides={{'{nested[0]}': ...}}{''.join(f', or {each!r}' for each in nested[1:3])}"
    return did_you_mean(name, known)

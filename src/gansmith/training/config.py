"""The configuration of a training: one tree of components, equal on the command line, in JSON and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from gansmith.augment import Augment
from gansmith.component import (
    Between,
    Component,
    Fraction,
    JsonSchema,
    NonNegative,
    Positive,
    PositiveInt,
    Seed,
    build_schema,
    from_plain,
    to_plain,
)
from gansmith.data.source import Source
from gansmith.data.store import Preparation
from gansmith.errors import ConfigError
from gansmith.losses import Loss, Sigmoid
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import Model
from gansmith.models.pretrained import find_backbones
from gansmith.optimizers import Adam, Optimizer
from gansmith.penalties import Penalty
from gansmith.plain_json import SEAL, parse_json, read_json
from gansmith.regularizers import Regularizer
from gansmith.schedules import Duration, Length
from gansmith.training.callbacks import Callback
from gansmith.training.guard.settings import Guard
from gansmith.training.loggers import Logger
from gansmith.training.origin import NewClasses, Origin
from gansmith.training.recipe import Recipe, default_recipe
from gansmith.training.sample_sheets import PictureWriter, SampleGrid
from gansmith.training.tracking import Tracking

__all__ = ["Config", "build_config_schema", "differences", "flat", "load_config", "without_removed_fields"]

_REMOVED = {"guard": ("leaked",)}  # fields of earlier versions that decided nothing that is still done


@dataclass(frozen=True, kw_only=True)
class Config(Component):
    """Everything that decides what a training does.

    Args:
        preset: the name of the preset that this started from; for the reader.
        data: where the images come from; none only for steps in a loop of one's own.
        preparation: size, channels and cropping of the images.
        use_labels: train class-conditionally where the data have labels.
        balance: 0 shows every image equally often, 1 every class; between, a class of n images is shown in proportion
            to n ** (1 - balance).
        held_out: share of the images held out from training, to measure overfitting and copying; the same images for
            every seed; at least 20 images if there are 100.
        recipe: the algorithm: which networks are trained, and what a step does.
        model: architecture of generator and discriminator.
        loss: adversarial loss of generator and discriminator.
        penalties: terms added to the discriminator's loss, for example R1.
        regularizers: terms added to the generator's loss, for example mode seeking.
        augment: augmentation of all images that the discriminator sees; none for no augmentation.
        generator_optimizer: how the generator learns.
        discriminator_optimizer: how the discriminator learns.
        discriminator_steps: updates of the discriminator for one of the generator.
        reuse_fakes: the generator learns from the fakes that the discriminator has just seen, one noise batch a
            step; otherwise from new ones.
        batch_size: images a step, over all processes.
        init: the trained model to start from: a run's folder, ``zoo:NAME`` or ``hf:user/name``.
        init_classes: what classes that the trained model does not know start from: "new" weights, the "mean" of its
            classes, or the "nearest" of them; see docs/training.md.
        freeze_discriminator: blocks of the discriminator, from the image on, that keep the weights of the trained model
            (Mo et al. 2020).
        origin: the trained model that was started from; recorded, not set.
        micro_batch: images per pass through the discriminator, per process; gradients are summed over the batch. It is
            halved when memory runs out.
        ema_halflife_kimg: half-life of the averaged generator's weights, in thousands of images; 0 for no averaging.
        ema_ramp: upper bound of the half-life, as a share of the images seen so far.
        ema_factors: for each, one more average with half-life and ramp multiplied by it; at the end the tracker
            measures all averages and keeps the best. None are kept without averaging or without tracking.
        length: how long to train.
        seed: decides the initial weights, the order of the data and all noise.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: of the convolutions; "auto" is bfloat16 where the device has it natively.
        log_every: how often statistics are written; None takes 5 kimg or 2 % of the length, whichever is shorter.
        checkpoint_every: how often a checkpoint is saved.
        keep_checkpoints: number of newest checkpoints that are kept.
        samples: which pictures are written, and how often.
        tracking: the metric measured during training, which decides the best generator; none for no tracking.
        guard: which failures are detected, and what is done about them; none stops the training at NaN or infinity.
        callbacks: listeners of your own.
        loggers: copies of the statistics elsewhere than in stats.jsonl.
    """

    preset: str = "custom"
    data: Source | None = None
    preparation: Preparation = Preparation()
    use_labels: bool = True
    balance: Fraction = 0.0
    held_out: Annotated[float, Between(0, 1, open_high=True)] = 0.05
    recipe: Recipe = field(default_factory=default_recipe)
    model: Model = DCGAN()
    loss: Loss = Sigmoid()
    penalties: tuple[Penalty, ...] = ()
    regularizers: tuple[Regularizer, ...] = ()
    augment: Augment | None = None
    generator_optimizer: Optimizer = Adam()
    discriminator_optimizer: Optimizer = Adam()
    discriminator_steps: Annotated[int, Between(1, 1000)] = 1
    reuse_fakes: bool = True
    batch_size: Annotated[int, Between(2, 65_536)] = 64
    micro_batch: Annotated[int, Between(1, 65_536)] | None = None
    init: str | None = None
    init_classes: NewClasses = "mean"
    freeze_discriminator: Annotated[int, Between(0, 1000)] = 0
    origin: Origin | None = None
    ema_halflife_kimg: NonNegative = 10.0
    ema_ramp: Annotated[float, Between(0, 1)] = 0.05
    ema_factors: tuple[Positive, ...] = ()
    length: Length = Duration(10, "min")
    seed: Seed = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    log_every: Duration | None = None
    checkpoint_every: Duration = Duration(10, "%")
    keep_checkpoints: PositiveInt = 2
    samples: PictureWriter = SampleGrid()
    tracking: Tracking | None = Tracking()
    guard: Guard | None = Guard()
    callbacks: tuple[Callback, ...] = ()
    loggers: tuple[Logger, ...] = ()

    @property
    def backbones(self) -> frozenset[str]:
        """Pretrained networks that the discriminator looks through; the tracked metric must use none of them."""
        return find_backbones(self.recipe) | find_backbones(self.model)

    @property
    def source(self) -> Source:
        """Where the images come from.

        Raises:
            ConfigError: ``data`` is not set, as for steps in a loop of one's own.
        """
        if self.data is None:
            raise ConfigError("config.data: missing; name a source, a folder, a zip or an .npz")
        return self.data


def build_config_schema() -> JsonSchema:
    """Return the JSON schema (draft 2020-12) of config.json, with types, ranges, defaults and docstrings."""
    schema = build_schema(Config)
    schema["properties"] |= {
        SEAL: {"type": "string", "description": "digest of all other fields; leave it out of a file that you write"}
    }
    return schema


def differences(old: Component | Mapping[str, Any], new: Component) -> dict[str, tuple[Any, Any]]:
    """Return the dotted paths of the fields that differ, each with its old and new value.

    Fields that ``old`` does not have, as an earlier version wrote it, count as having their defaults.
    """
    if not isinstance(old, Component):
        with suppress(ConfigError):
            old = from_plain(type(new), old, "config")
    old_flat, new_flat = (flat(to_plain(side)) for side in (old, new))
    paths = sorted(old_flat.keys() | new_flat.keys())
    pairs = {path: (old_flat.get(path), new_flat.get(path)) for path in paths}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def flat(plain: Any, path: str = "") -> dict[str, Any]:
    """Dotted paths of plain data to their values."""
    if isinstance(plain, Mapping):
        items = [(str(key), value) for key, value in plain.items()]
    elif isinstance(plain, list) and any(isinstance(item, Mapping) for item in plain):
        items = [(str(i), value) for i, value in enumerate(plain)]
    else:
        return {path: plain}
    leaves: dict[str, Any] = {}
    for key, value in items:
        leaves |= flat(value, f"{path}.{key}" if path else key)
    return leaves


def load_config(path: Path, *, edited: bool = False) -> Config:
    """Read a configuration from JSON.

    Args:
        path: the file.
        edited: accept one that was changed since it was written, as the caller compares it with a checkpoint's.

    Raises:
        ConfigError: no JSON, not the fields of a configuration, or components that $GANSMITH_TRUST does not name.
    """
    try:
        plain = parse_json(path.read_bytes()) if edited else read_json(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read the configuration ({error})") from error
    if edited and isinstance(plain, dict):
        plain.pop(SEAL, None)
    config: Config = from_plain(Config, without_removed_fields(plain), path.name)
    return config


def without_removed_fields(plain: Any) -> Any:
    """Return a plain configuration without the fields that earlier versions wrote and this one has removed."""
    if not isinstance(plain, Mapping):
        return plain
    kept = dict(plain)
    for part, fields in _REMOVED.items():
        if isinstance(kept.get(part), Mapping):
            kept[part] = {name: value for name, value in kept[part].items() if name not in fields}
    return kept

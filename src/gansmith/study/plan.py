"""Read a study from TOML, variants x data settings x seeds, and list its cells."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from gansmith.component import (
    Between,
    Component,
    Positive,
    Seed,
    Side,
    from_plain,
    override,
)
from gansmith.errors import ConfigError, GansmithError
from gansmith.evaluation.options import EvaluationOptions
from gansmith.schedules import Duration, Length
from gansmith.study.results import State
from gansmith.training.config import Config
from gansmith.training.presets import DEFAULT_PRESET, build_config
from gansmith.types import parse_size

__all__ = ["Cell", "DataSetting", "Study", "Variant", "list_cells", "read_study", "shorten_study"]


class _Table:
    """The bound on overrides: fields of the configuration by dotted path, each with its value."""

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)

    def __str__(self) -> str:
        return "a table of fields, such as overrides = { batch_size = 128 }"


Overrides = Annotated[Any, _Table()]


@dataclass(frozen=True, kw_only=True)
class Variant(Component):
    """One of the recipes that are compared.

    Args:
        title: its name.
        preset: where its configuration starts; None for the study's.
        overrides: fields that differ from the preset's, by dotted path.
    """

    title: str
    preset: str | None = None
    overrides: Overrides = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataSetting(Component):
    """The images that every variant is trained on.

    Args:
        title: its name.
        source: a data set's name, or a path.
        root: where a local copy of a named data set lies.
        size: of the images: 64, or "48x64" for width x height; None as the variant's preset has it.
        length: of each training; None for the study's.
        overrides: fields by dotted path.
        thresholds: values of the tracked metric; measured is when each is reached. Empty: the study chooses them.
    """

    title: str
    source: str
    root: str | None = None
    size: Side | str | None = None
    length: Length | None = None
    overrides: Overrides = field(default_factory=dict)
    thresholds: tuple[Positive, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Study(Component):
    """Variants x data settings x seeds.

    Args:
        title: of the study.
        question: that it answers.
        note: what a reader of its results must know.
        preset: of the variants that name none.
        length: of each training, where the data setting has none of its own; None for the preset's.
        seeds: how many, from 0 on, or which; equal seeds make a pair.
        overrides: fields of all cells by dotted path; a data setting's come after, a variant's last.
        variants: what is compared.
        data: the images.
        evaluation: of each run's best and last generator after training; its ``snapshot`` is ignored. None: no
            evaluation.
    """

    title: str
    question: str = ""
    note: str = ""
    preset: str = DEFAULT_PRESET
    length: Length | None = None
    seeds: Annotated[int, Between(1, 1000)] | tuple[Seed, ...] = 5
    overrides: Overrides = field(default_factory=dict)
    variants: tuple[Variant, ...]
    data: tuple[DataSetting, ...]
    evaluation: EvaluationOptions | None = EvaluationOptions()

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """Return the seeds themselves."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


@dataclass(frozen=True, kw_only=True)
class Cell(Component):
    """One run of a study.

    Args:
        title: its name, and that of its run folder.
        data: the data setting's title.
        variant: the variant's title.
        seed: of the run.
        config: all of it.
        state: "diverged" is a result; "failed" is tried again.
        reason: for what is not finished, or why it was not evaluated.
    """

    title: str
    data: str
    variant: str
    seed: Seed
    config: Config
    state: State = "unfinished"
    reason: str = ""

    @property
    def done(self) -> bool:
        """Return whether nothing is left to do."""
        return self.state == "diverged" or (self.state == "finished" and not self.reason)


def read_study(path: Path) -> Study:
    """Read a study from TOML.

    Raises:
        ConfigError: the file cannot be read, or a field of it is wrong; the message names both.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # the last for lists in lists in lists
        raise ConfigError(
            f"{path}: cannot read the study ({error}); expected a TOML file or a study's folder"
        ) from error
    try:
        study: Study = from_plain(Study, plain, "study")
        list_cells(study)
    except GansmithError as error:
        raise ConfigError(f"{path}: {error}") from error
    return study


def shorten_study(
    study: Study, *, length: str | None = None, seeds: int | None = None, root: str | None = None
) -> tuple[Study, tuple[str, ...]]:
    """Return a shortened or relocated copy, and how it was shortened, a clause each.

    Args:
        study: as in its file.
        length: of every training, for all data.
        seeds: the number of the study's seeds to keep, from the first on.
        root: where the named data sets lie.

    Raises:
        ConfigError: not a length, or more seeds than there are.
    """
    cuts = []
    if root is not None:
        study = dataclasses.replace(study, data=tuple(dataclasses.replace(part, root=root) for part in study.data))
    if length is not None:
        wanted = Duration.from_text(length, "--length")
        was = ", ".join(dict.fromkeys(str(part.length or study.length or "the preset's") for part in study.data))
        cuts.append(f"trainings of {wanted} instead of {was}")
        study = dataclasses.replace(study, data=tuple(dataclasses.replace(part, length=wanted) for part in study.data))
    if seeds is not None:
        numbers = study.seed_numbers
        if not 1 <= seeds <= len(numbers):
            raise ConfigError(f"--seeds: expected 1 to {len(numbers)}, which the study has, got {seeds}")
        if seeds < len(numbers):
            cuts.append(f"{seeds} of {len(numbers)} seeds")
        study = dataclasses.replace(study, seeds=numbers[:seeds])
    return study, tuple(cuts)


def list_cells(study: Study) -> list[Cell]:
    """Return all runs of a study in their order: complete pairs as early as possible.

    Raises:
        ConfigError: a name or field is unknown, a value does not fit, or two cells would have one name.
        DataError: neither a source nor a path.
    """
    made: dict[str, Cell] = {}
    configured = list(_configured(study))
    for seed in study.seed_numbers:
        for data, variant, config in configured:
            title = f"{_slug(data.title)}-{_slug(variant.title)}-seed{seed}"
            if title in made:
                raise ConfigError(f"study: two runs would be called {title}; give variants, data and seeds that differ")
            seeded = dataclasses.replace(config, seed=seed)
            made[title] = Cell(title=title, data=data.title, variant=variant.title, seed=seed, config=seeded)
    if not made:
        raise ConfigError("study: nothing to run; expected at least one of [[variants]], of [[data]] and of seeds")
    return list(made.values())


def _configured(study: Study) -> Iterator[tuple[DataSetting, Variant, Config]]:
    for i, data in enumerate(study.data):
        for j, variant in enumerate(study.variants):
            layers = {
                "study": {"init": None},  # "auto" would start some variants from the zoo, and others from noise
                "study.overrides": _dotted(study.overrides),
                f"study.data[{i}]": _own_fields(study, data),
                f"study.data[{i}].overrides": _dotted(data.overrides),
                f"study.variants[{j}].overrides": _dotted(variant.overrides),
            }
            config = build_config(data.source, root=data.root, preset=variant.preset or study.preset)
            for where, changes in layers.items():
                config = override(config, changes, where)
            yield data, variant, config


def _own_fields(study: Study, data: DataSetting) -> dict[str, Any]:
    length = data.length or study.length
    fields: dict[str, Any] = {} if length is None else {"length": length}
    if data.size is not None:
        fields["preparation.size"] = list(parse_size(str(data.size), f"study.data '{data.title}'.size"))
    return fields


def _dotted(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return TOML's nested tables as dotted paths; { model.name = "dense" } means model = "dense"."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        here = f"{path}.{key}" if path else key
        found |= _dotted(value, here) if isinstance(value, Mapping) else {here.removesuffix(".name"): value}
    return found


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "x"

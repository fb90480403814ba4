"""gansmith list WHAT"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from gansmith.cli.options import parse

__all__ = ["main"]

Topic = Literal[
    "presets",
    "data",
    "models",
    "losses",
    "penalties",
    "optimizers",
    "schedules",
    "pictures",
    "callbacks",
    "loggers",
    "fields",
]


@dataclass(frozen=True)
class List:
    """Name what there is to choose from. "fields" are those of the configuration, with the default preset's values."""

    topic: tyro.conf.Positional[Topic] = "presets"
    """what to list"""


def main(arguments: Sequence[str]) -> None:
    """List."""
    topic = parse(List, "list", arguments).topic
    rows = list({"presets": _presets, "fields": _fields}.get(topic, lambda: _members(topic))())
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:{width}}  {text}")


def _presets() -> Iterator[tuple[str, str]]:
    from gansmith.presets import DEFAULT_PRESET, PRESETS

    for name, preset in PRESETS.items():
        yield name, preset.summary + (" (the default)" if name == DEFAULT_PRESET else "")


def _fields() -> Iterator[tuple[str, str]]:
    from gansmith.component import to_plain
    from gansmith.config import flat
    from gansmith.presets import DEFAULT_PRESET, preset

    for path, value in flat(to_plain(preset(DEFAULT_PRESET))).items():
        yield f"--{path.removesuffix('.name')}", str(value)


def _members(topic: str) -> Iterator[tuple[str, str]]:
    from gansmith.component import member, members

    family = _family(topic)
    for name in members(family):
        cls = member(family, name, topic)
        summary = (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".")
        defaults = {field: value.default for field, value in inspect.signature(cls).parameters.items()}
        yield name, f"{summary}. Fields: {', '.join(defaults)}" if defaults else summary


def _family(topic: str) -> Any:
    from gansmith import callbacks, loggers, losses, optimizers, penalties, pictures, schedules
    from gansmith.data.source import Source
    from gansmith.models.model import Model

    families = {
        "data": Source,
        "models": Model,
        "losses": losses.Loss,
        "penalties": penalties.Penalty,
        "optimizers": optimizers.Optimizer,
        "schedules": schedules.Schedule,
        "pictures": pictures.PictureWriter,
        "callbacks": callbacks.Callback,
        "loggers": loggers.Logger,
    }
    return families[topic]

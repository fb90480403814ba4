"""gansmith list WHAT"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

import tyro

from gansmith.cli.options import Flag, parse, print_json
from gansmith.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from gansmith.component import Component

__all__ = ["FAMILIES", "family", "main"]

# topic: the abstract class of its family, imported only when it is needed
FAMILIES = {
    "data": "gansmith.data.source:Source",
    "recipes": "gansmith.training.recipe:Recipe",
    "models": "gansmith.models.model:Model",
    "losses": "gansmith.losses:Loss",
    "penalties": "gansmith.penalties:Penalty",
    "regularizers": "gansmith.regularizers:Regularizer",
    "augmentations": "gansmith.augment.control:Augment",
    "optimizers": "gansmith.optimizers:Optimizer",
    "schedules": "gansmith.schedules:Schedule",
    "pictures": "gansmith.training.sample_sheets:PictureWriter",
    "callbacks": "gansmith.training.callbacks:Callback",
    "loggers": "gansmith.training.loggers:Logger",
    "metrics": "gansmith.metrics.metric:Metric",
    "extractors": "gansmith.metrics.extractor:Extractor",
}


Rows: TypeAlias = Callable[[], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class ListOptions:
    """List the choices of a topic.

    "fields" lists the configuration with the default preset's values, "zoo" the trained generators.
    """

    topic: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[TOPIC]", help=f"presets, fields, zoo, {', '.join(FAMILIES)}"),
    ] = "presets"
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """List."""
    options = parse(ListOptions, "list", arguments)
    topic = options.topic
    topics: dict[str, Rows] = {name: partial(_members, name) for name in FAMILIES}
    topics |= {"presets": _presets, "fields": _fields}
    if topic == "zoo":
        _show_zoo(only_json=options.json)
        return
    if topic not in topics:
        raise ConfigError(f"gansmith list: nothing is called '{topic}'; {did_you_mean(topic, [*topics, 'zoo'])}")
    rows = list(topics[topic]())
    if options.json:
        print_json(dict(rows))
        return
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:{width}}  {text}")


def _presets() -> Iterator[tuple[str, str]]:
    from gansmith.training.presets import DEFAULT_PRESET, PRESETS

    for name, preset in PRESETS.items():
        yield name, preset.summary + (" (the default)" if name == DEFAULT_PRESET else "")


def _fields() -> Iterator[tuple[str, str]]:
    from gansmith.component import to_plain
    from gansmith.training.config import flat
    from gansmith.training.presets import DEFAULT_PRESET, preset

    for path, value in flat(to_plain(preset(DEFAULT_PRESET))).items():
        yield f"--{path.removesuffix('.name')}", str(value)


def _show_zoo(*, only_json: bool) -> None:
    """Print a table of the trained generators."""
    from gansmith.zoo.manifest import PREFIX, read_manifest
    from gansmith.zoo.table import HEADINGS, describe_entry, list_facts

    entries = read_manifest()
    if only_json:
        print_json({f"{PREFIX}{name}": list_facts(entry) for name, entry in entries.items()})
        return
    rows = [describe_entry(entry) for entry in entries.values()]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    for row in (HEADINGS, *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _members(topic: str) -> Iterator[tuple[str, str]]:
    from gansmith.component import member, members

    for name in members(family(topic)):
        cls = member(family(topic), name, topic)
        summary = (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".")
        fields = ", ".join(field.name for field in dataclasses.fields(cls) if field.name[0] != "_")
        yield name, f"{summary}. Fields: {fields}" if fields else summary


def family(topic: str) -> type[Component]:
    """Import the family of components of a topic in ``FAMILIES``."""
    module, _, name = FAMILIES[topic].partition(":")
    found: type[Component] = getattr(importlib.import_module(module), name)
    return found

"""The configuration, data, machine and commands of a run, for its page."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from gansmith.component import to_plain
from gansmith.errors import ConfigError, command
from gansmith.numerals import count
from gansmith.training.config import flat
from gansmith.training.data_facts import DataFacts
from gansmith.training.presets import preset
from gansmith.zoo.manifest import PREFIX

__all__ = ["Bar", "Command", "Settings", "describe_settings", "list_bars", "list_commands", "split_environment"]

MOST_BARS = 1000
NO_SUCH_FIELD = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A configuration.

    Args:
        preset: the one that it started from.
        changes: path, the preset's value, the run's.
        why_none: why the preset's values are unknown, if they are; else empty.
        everything: path and value of each field.
    """

    preset: str
    changes: tuple[tuple[str, str, str], ...]
    why_none: str
    everything: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A class with the number of its images, also as a percentage of the largest class's."""

    name: str
    count: str
    percent: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command and what it is for."""

    purpose: str
    text: str


def describe_settings(config: Mapping[str, Any]) -> Settings:
    """Return the configuration and its differences from its preset."""
    name = config.get("preset")
    changes: tuple[tuple[str, str, str], ...] = ()
    why_none = ""
    try:
        changes = tuple((path, _shown(path, old), _shown(path, new)) for path, (old, new) in _changes(config).items())
    except ConfigError:
        why_none = f"There is no preset called {name}, so the differences from it are unknown."
    everything = tuple((path, _shown(path, value)) for path, value in flat(config).items())
    return Settings(preset=str(name), changes=changes, why_none=why_none, everything=everything)


def _changes(config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields that differ: the preset's value, or a dash if it has no such field, and the run's."""
    usual = flat(to_plain(preset(str(config.get("preset")))))
    pairs = {path: (usual.get(path, NO_SUCH_FIELD), value) for path, value in flat(config).items()}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def _spelled(value: Any) -> str:
    """Return a plain value as a user would type it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(path: str, value: Any) -> str:
    """Return a field's value as the page shows it; of a size, with the order of its sides."""
    is_oblong = path == "preparation.size" and isinstance(value, list) and len(set(value)) > 1
    return f"{_spelled(value)} (height, width)" if is_oblong else _spelled(value)


def list_bars(facts: DataFacts) -> list[Bar]:
    """Return the number of images of each class; nothing if there are too many classes to show."""
    if len(facts.class_names) > MOST_BARS:
        return []
    largest = max(facts.class_counts, default=1) or 1
    return [
        Bar(name=name, count=count(num), percent=round(100 * num / largest))
        for name, num in zip(facts.class_names, facts.class_counts, strict=True)
    ]


def split_environment(plain: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the machine and the versions, and the downgrades, a sentence each."""
    notes = plain.get("notes", [])
    rows = tuple(
        (key.replace("_", " "), _spelled(_count(value) if key == "convolutions" else value))
        for key, value in plain.items()
        if key not in ("notes", "command")
    )
    return rows, tuple(map(_spelled, notes)) if isinstance(notes, list) else (_spelled(notes),)


def _count(chosen: Any) -> Any:
    """Return how many convolutions each algorithm computes, in place of a line for each."""
    if not isinstance(chosen, dict):
        return chosen
    counts = Counter(map(str, chosen.values()))
    return ", ".join(f"{number} {algorithm}" for algorithm, number in counts.most_common())


# --- commands ----------------------------------------------------------------------------------------------


def list_commands(path: str, environment: Mapping[str, Any], config: Mapping[str, Any]) -> list[Command]:
    """Return the command that made the run, and commands to use it.

    Args:
        path: the run's folder, or ``zoo:NAME``, which cannot be continued.
        environment: environment.json, plain; empty if it cannot be read.
        config: config.json, plain; empty if it cannot be read.
    """
    origin = Command(purpose="The command that made this run", text=_recorded(environment))
    if not origin.text and config:
        origin = Command(purpose="The command was not recorded; an equivalent one", text=_equivalent(config))
    rest = {"Continue": "resume", "Generate images": "sample", "Evaluate": "evaluate", "Update this page": "report"}
    if path.startswith(PREFIX):
        del rest["Continue"]
    after = [Command(purpose=purpose, text=command(verb, Path(path))) for purpose, verb in rest.items()]
    return [*([origin] if origin.text else []), *after]


def _recorded(environment: Mapping[str, Any]) -> str:
    """Return the command in environment.json; empty if there is none, or only that of a later session."""
    words = environment.get("command")
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        return ""
    program, *rest = words
    if rest[:1] == ["resume"]:
        return ""
    ours = PurePath(program).name in ("gansmith", "__main__.py")
    return shlex.join((["gansmith"] if ours else ["python", program]) + rest)


def _equivalent(config: Mapping[str, Any]) -> str:
    data, own = config["data"], flat(config)
    words = ["gansmith", "train", str(data.get("path") or data["name"]), "--preset", str(config["preset"])]
    changed = [path for path in _changes(config) if path not in ("preset", "data.name", "data.path")]
    lists = dict.fromkeys(field for path in changed if isinstance(config[field := path.partition(".")[0]], list))
    for field in lists:
        words += [f"--{field}", json.dumps(config[field])]
    for path in changed:
        if path.partition(".")[0] not in lists:
            words += [f"--{path.removesuffix('.name')}", _spelled(own[path])]
    return shlex.join(words)

"""Checks before a run is resumed: is it finished, and are data and configuration those that it was trained with?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gansmith.errors import RunError, command
from gansmith.plain_json import read_json
from gansmith.runs import RunFolder
from gansmith.training.config import Config, differences
from gansmith.training.data_facts import DataFacts
from gansmith.training.parent import Parent, open_parent

__all__ = [
    "describe_finished",
    "describe_value",
    "refuse_other_data",
    "refuse_other_origin",
    "refuse_unnamed_changes",
    "reopen_parent",
]


def describe_finished(folder: RunFolder, config: Config, trained_with: Mapping[str, Any], step: int) -> str:
    """Say in one line that a run is finished, and how to train it longer; "" if there is something left to train.

    Args:
        folder: the run.
        config: what to resume it with.
        trained_with: the plain configuration of its newest undamaged checkpoint.
        step: of that checkpoint; the run is not finished if the last one is damaged.
    """
    try:
        status = read_json(folder.status)
    except (OSError, ValueError):  # a damaged file is written again
        return ""
    finished = isinstance(status, dict) and (status.get("state"), status.get("step")) == ("finished", step)
    if not finished or differences(trained_with, config):
        return ""
    longer = command("resume", folder.path, "--length", "...")
    return f"{folder.path}: finished (length {config.length}, step {step}); train longer with: {longer}"


def refuse_other_data(folder: RunFolder, facts: DataFacts) -> None:
    """Refuse images other than those that the run was trained on.

    Raises:
        RunError: their digests differ.
    """
    if DataFacts.read(folder.data).digest != facts.digest:
        raise RunError(
            f"{folder.path}: the images are not those that this run was trained on (their digest differs); "
            "bring the old ones back, or start a new run"
        )


def refuse_other_origin(path: Path, changes: Mapping[str, Any]) -> None:
    """Refuse to start a run that exists from a trained model.

    Raises:
        RunError: the changes name a trained model.
    """
    for name in changes:
        if name.partition(".")[0] in ("init", "init_classes", "origin"):
            raise RunError(f"{path}: --{name} is read only when a run begins; start a new one with gansmith train")


def reopen_parent(config: Config) -> Parent | None:
    """Read the trained model of a run again that ended before its first checkpoint; None if it has none.

    Raises:
        RunError: the trained model cannot be read, or its weights are not those that the run began with.
    """
    if config.init is None:
        return None
    parent = open_parent(config.init)
    if config.origin and config.origin.digest != parent.digest:
        raise RunError(f"{config.init}: its weights have changed since this run began; start a new run")
    return parent


def refuse_unnamed_changes(
    folder: RunFolder, config: Config, changes: Mapping[str, Any], trained_with: Mapping[str, Any]
) -> None:
    """Refuse a configuration that differs from the checkpoint's in a field that the user has not named.

    Args:
        folder: the run.
        config: what to resume it with.
        changes: the fields that the user has named, by dotted path.
        trained_with: the plain configuration of the newest checkpoint.

    Raises:
        RunError: it differs.
    """
    changed = differences(trained_with, config)
    named = [path for path in changed if any(path == name or path.startswith(f"{name}.") for name in changes)]
    for path, (old, new) in changed.items():
        if path not in named:
            on_purpose = command("resume", folder.path, f"--{path}", describe_value(new))
            raise RunError(
                f"{folder.config}: {path} is {new}, but the run was trained with {old}; "
                f"put it back, or change it on purpose: {on_purpose}"
            )


def describe_value(value: Any) -> str:
    """Return a plain value of a configuration as it is typed on the command line."""
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)

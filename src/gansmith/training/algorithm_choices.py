"""The measured choice of convolution algorithms, kept for a machine in the cache and for a run in environment.json."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from gansmith import dist
from gansmith.data.source import cache_folder
from gansmith.devices import Compute, describe_environment
from gansmith.models.algorithms import AlgorithmTable
from gansmith.plain_json import read_json, write_json
from gansmith.runs import RunFolder
from gansmith.training.data_facts import CONVOLUTIONS

__all__ = ["keep_choices", "open_choices", "repeat_choices"]

MACHINE = "processor", "torch", "threads"  # what choices depend on, besides the problem
VERSION = 1  # raise it when an algorithm becomes faster: choices are then measured again


def open_choices(compute: Compute, folder: RunFolder | None) -> AlgorithmTable | None:
    """Return the choices to train with; all ranks get those of the main process.

    Args:
        compute: the device; None is returned for one that is not a CPU.
        folder: a run that goes on from a checkpoint. On the same machine it makes the same choices again, and so ends
            bit for bit as if it had not stopped. One that began before choices were measured stays with the fixed rule.
            None for a new run, which gets what was measured on this machine before.
    """
    if compute.device.type != "cpu":
        return None
    return dist.from_main(lambda: _of_machine(compute) if folder is None else _of_run(compute, folder))


def keep_choices(table: AlgorithmTable, compute: Compute, folder: RunFolder) -> None:
    """Write new choices to environment.json and to the cache; a cache that cannot be written is left alone."""
    environment, chosen = _read(folder.environment), table.to_plain()
    if environment.get(CONVOLUTIONS) == chosen:
        return
    write_json(folder.environment, {**environment, CONVOLUTIONS: chosen})
    path = _cached_path(compute)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**_machine(compute), CONVOLUTIONS: {**chosen, **_choices(_read(path))}})


def repeat_choices(compute: Compute, environment: Path) -> bool:
    """Let new runs compute convolutions as an earlier run did, so that a repetition gives the same weights.

    Args:
        compute: the device.
        environment: environment.json of the earlier run.

    Returns:
        Whether that run was on a machine like this one; otherwise the choices of this machine stay.
    """
    earlier = _read(environment)
    if CONVOLUTIONS not in earlier or any(earlier.get(key) != value for key, value in _machine(compute).items()):
        return False
    path = _cached_path(compute)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**_machine(compute), CONVOLUTIONS: _choices(earlier)})
    return True


def _of_machine(compute: Compute) -> AlgorithmTable:
    return AlgorithmTable(_choices(_read(_cached_path(compute))))


def _of_run(compute: Compute, folder: RunFolder) -> AlgorithmTable | None:
    environment = _read(folder.environment)
    if CONVOLUTIONS not in environment:
        return None
    same = all(environment.get(key) == value for key, value in _machine(compute).items())
    return AlgorithmTable(_choices(environment)) if same else _of_machine(compute)


def _machine(compute: Compute) -> dict[str, Any]:
    environment = describe_environment(compute)
    return {key: environment[key] for key in MACHINE}


def _cached_path(compute: Compute) -> Path:
    key = hashlib.sha256(json.dumps([VERSION, _machine(compute)]).encode()).hexdigest()[:32]
    return cache_folder() / CONVOLUTIONS / f"{key}.json"


def _choices(plain: dict[str, Any]) -> dict[str, Any]:
    chosen = plain.get(CONVOLUTIONS)
    return chosen if isinstance(chosen, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one if it is missing or damaged."""
    try:
        plain = read_json(path)
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}

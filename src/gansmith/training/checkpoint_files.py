"""The files of a checkpoint: written with their digests, and read only if they are what was written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from gansmith.errors import DamagedCheckpoint, RunError
from gansmith.plain_json import SEAL, parse_json, read_json, seal, unseal
from gansmith.runs import RunFolder

__all__ = [
    "MOST_TRIES",
    "Checkpoint",
    "never_saved",
    "newest_checkpoint",
    "open_checkpoint",
    "read_state",
    "read_tensors",
    "write_files",
]

STATE = "state.json"
LFS = b"version https://git-lfs.github.com/spec/"
MOST_TRIES = 20  # of reading beside a training that replaces what is read

_ABSENT_IN_OLD_CHECKPOINTS: dict[str, Any] = {
    "statistics": [], "config": {}, "tracking_seconds": 0, "num_tracked": 0, "augment_p": 0, "held_out": None,
    "sign": 0, "logit_averages": [0, 0], "num_events": 0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """What a checkpoint's files hold, all of it read and compared with its digests.

    Args:
        path: the folder.
        state: of state.json.
        tensors: by the stem of their file, then by name.
    """

    path: Path
    state: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]


def write_files(folder: Path, files: Mapping[str, Mapping[str, Tensor]], plain: Mapping[str, Any]) -> None:
    """Fill a folder; state.json comes last, holds the SHA-256 of each file and of itself, and makes it whole."""
    digests = {}
    for stem, tensors in files.items():
        content = save(dict(tensors))
        (folder / f"{stem}.safetensors").write_bytes(content)
        digests[f"{stem}.safetensors"] = hashlib.sha256(content).hexdigest()
    (folder / STATE).write_text(seal({**plain, "files": digests}), encoding="utf-8")


def open_checkpoint(folder: Path, needed: Collection[str] | None = None) -> Checkpoint:
    """Read a checkpoint once, and compare each file with its digest; checkpoints of earlier versions have none.

    Args:
        folder: the checkpoint, or the folder of the best generator.
        needed: stems of the files whose tensors are wanted; None for all. The others are compared all the same.

    Raises:
        DamagedCheckpoint: a file is missing or not what was written.
        RunError: a file cannot be read for another reason.
    """
    state = read_state(folder)
    digests: Mapping[str, str | None] = state.get("files") or dict.fromkeys(_expected(folder, state))
    tensors = {}
    for name, digest in digests.items():
        stem = name.removesuffix(".safetensors")
        content = _content(folder / name, digest)
        if needed is None or stem in needed:
            tensors[stem] = _parsed(folder / name, content)
    return Checkpoint(path=folder, state=state, tensors=tensors)


def newest_checkpoint(run: RunFolder, needed: Collection[str] | None = None) -> tuple[Checkpoint, Sequence[str]]:
    """Open the newest checkpoint that is whole.

    Returns:
        The checkpoint, and a sentence for each newer one that is damaged.

    Raises:
        RunError: there is none.
    """
    for _ in range(MOST_TRIES):
        notes: list[str] = []
        for folder in reversed(run.checkpoints(damaged=True)):
            try:
                found = open_checkpoint(folder, needed)
            except DamagedCheckpoint as error:
                if not folder.exists():
                    break  # a training beside us has removed it: look again
                notes.append(str(error))
                continue
            return found, [f"{note}; step {found.state['step']} is used instead" for note in notes]
        else:
            if not notes:
                run.latest_checkpoint()  # says that there is none
            raise RunError(f"{notes[0]}; no other checkpoint is whole: bring one back from a copy, or train anew")
    raise RunError(f"{run.path}: a training removes its checkpoints faster than they can be read; try again")


def never_saved(run: RunFolder) -> bool:
    """Whether a run ended before its first checkpoint, and can begin again at step 0 without a loss."""
    folder = run.checkpoint_folder
    if folder.is_dir() and any(path.name[0] != "." for path in folder.iterdir()):
        return False
    try:
        status = read_json(run.status)
    except (OSError, ValueError):  # not written yet, or damaged
        status = {}
    state, saved = (status.get("state"), "step" in status) if isinstance(status, dict) else (None, False)
    return state == "failed" or (state in (None, "running") and not saved)


def read_state(folder: Path) -> Mapping[str, Any]:
    """What a checkpoint's state.json says.

    Raises:
        DamagedCheckpoint: it is missing or not what was written.
    """
    path = folder / STATE
    try:
        text = _read(path).decode("utf-8")
        plain = parse_json(text)
        if SEAL in plain or "files" in plain:  # absent from both in checkpoints of earlier versions
            plain = unseal(text)
        return _checked({**_ABSENT_IN_OLD_CHECKPOINTS, **plain})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpoint(f"{path}: the checkpoint is damaged ({error})") from error


def _checked(state: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's state whose fields all have the types that they are written with.

    Raises:
        KeyError: a field is missing.
        ValueError: one has another type.
    """
    counts = {name: state[name] for name in ("nimg", "step", "num_tracked", "num_events")}
    numbers = {name: state[name] for name in ("seconds", "tracking_seconds", "augment_p", "sign")}
    averages, files = state["logit_averages"], state.get("files", {})
    sound = {
        **{name: type(value) is int and value >= 0 for name, value in counts.items()},
        **{name: type(value) in (int, float) for name, value in numbers.items()},
        "held_out": type(state["held_out"]) in (int, float, type(None)),
        "logit_averages": isinstance(averages, list)
        and [type(each) in (int, float) for each in averages] == [True] * 2,
        "statistics": isinstance(state["statistics"], list),
        "config": isinstance(state["config"], dict),
        "files": isinstance(files, dict) and all(re.fullmatch(r"\w+\.safetensors", name) for name in files),
    }
    for name, is_sound in sound.items():
        if not is_sound:
            raise ValueError(f"{name} is {str(state[name])[:60]}")
    return state


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file of which no digest is known.

    Raises:
        RunError: it cannot be read.
    """
    return _parsed(path, _read(path))


def _expected(folder: Path, state: Mapping[str, Any]) -> list[str]:
    """The files of a checkpoint of an earlier version, which does not list them."""
    if not folder.name.isdecimal():  # the folder of the best generator, which has one file
        return [path.name for path in folder.glob("generator*.safetensors")] or ["generator_ema.safetensors"]
    averaged = "generator_ema.safetensors"
    config = state["config"] if isinstance(state["config"], dict) else {}
    has_average = config.get("ema_halflife_kimg", (folder / averaged).exists())
    names = [f"{stem}.safetensors" for stem in ("generator", "discriminator", "optimizers")]
    return [*names, averaged] if has_average else names


def _content(path: Path, digest: str | None) -> bytes:
    content = _read(path)
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise DamagedCheckpoint(f"{path}: the checkpoint is damaged (the file differs from its digest)")
    return content


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except PermissionError as error:
        raise RunError(f"{path}: may not be read; ask its owner for permission") from error
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: the checkpoint is damaged ({error.strerror or error})") from error
    if content.startswith(LFS):
        raise RunError(f"{path}: is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull")
    return content


def _parsed(path: Path, content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file; those in half precision, as in the zoo, become float32, in which networks are."""
    try:
        tensors: dict[str, Tensor] = load(content)
    except Exception as error:  # safetensors raises its own class, which it does not export everywhere
        raise DamagedCheckpoint(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    return {name: each.float() if each.dtype == torch.float16 else each for name, each in tensors.items()}

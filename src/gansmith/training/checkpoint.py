"""A training's state in the files of a checkpoint, and back, exactly."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gansmith.component import to_plain
from gansmith.errors import DamagedCheckpoint, RunError
from gansmith.models.model import GeneratorNetwork
from gansmith.runs import RunFolder, set_aside
from gansmith.training.checkpoint_files import Checkpoint, open_checkpoint, read_tensors, write_files
from gansmith.training.config import Config
from gansmith.training.state import TrainState

__all__ = [
    "AVERAGE",
    "go_back",
    "load_state",
    "load_tensors",
    "load_weights",
    "part_of",
    "rebuild_generator",
    "save_generator",
    "save_state",
    "set_damage_aside",
]

AVERAGE = "_ema"  # behind a network's name: the file of its average
COUNTS = ("nimg", "step", "seconds", "tracking_seconds", "num_tracked")


def save_state(state: TrainState, folder: Path, statistics: Sequence[Mapping[str, Any]]) -> None:
    """Fill a checkpoint folder; state.json comes last, and makes it whole.

    Args:
        state: of the main process.
        folder: empty.
        statistics: ``Statistics.to_plain``, which all ranks must have taken part in.
    """
    files = {stem: _tensors(network.state_dict()) for stem, network in _stems(state).items()}
    files["optimizers"] = _optimizer_tensors(state)
    plain = {
        **_counts(state),
        **state.feedback.to_plain(),
        "num_events": state.num_events,
        "statistics": list(statistics),
        "config": to_plain(state.config),
    }
    write_files(folder, files, plain)


def save_generator(
    state: TrainState, folder: Path, facts: Mapping[str, Any], averages: Mapping[str, nn.Module] | None = None
) -> None:
    """Fill a folder with the networks that make images, averaged where there are averages.

    Args:
        state: of the main process.
        folder: empty.
        facts: further fields of state.json.
        averages: one of ``state.other_averages``; None for ``state.averages``.
    """
    networks = {**state.networks, **(averages or state.averages)}
    files = {_stem(state, name): _tensors(networks[name].state_dict()) for name in state.config.recipe.generators}
    write_files(folder, files, {**_counts(state), **facts})


def load_state(state: TrainState, saved: Path | Checkpoint) -> None:
    """Continue from a checkpoint.

    Args:
        state: changed in place.
        saved: the checkpoint's folder, or what was read of it.

    Raises:
        RunError: it is damaged, or holds other networks.
    """
    saved = open_checkpoint(saved) if isinstance(saved, Path) else saved
    plain, tensors = saved.state, dict(saved.tensors)
    if plain["config"].get("ema_halflife_kimg") == 0:  # averaging begins now
        for name in state.averages:
            tensors.setdefault(name + AVERAGE, tensors[name])
    for name, stem in _other_stems(state):  # an average that begins now starts from that which there was
        if name + AVERAGE in tensors:
            tensors.setdefault(stem, tensors[name + AVERAGE])
    for stem, network in _stems(state).items():
        load_tensors(network, part_of(tensors, stem, saved.path), saved.path / f"{stem}.safetensors")
    _load_optimizers(state, part_of(tensors, "optimizers", saved.path), saved.path / "optimizers.safetensors")
    state.nimg, state.step, state.seconds = int(plain["nimg"]), int(plain["step"]), float(plain["seconds"])
    state.tracking_seconds, state.num_tracked = float(plain["tracking_seconds"]), int(plain["num_tracked"])
    state.feedback.load_plain(plain)
    state.num_events = int(plain["num_events"])
    state.statistics.load_plain(plain["statistics"], state.compute.device)


def go_back(state: TrainState, folder: Path, config: Config) -> None:
    """Continue from an earlier checkpoint of this run with other settings; elapsed time is kept.

    Raises:
        RunError: it is damaged.
    """
    elapsed = state.seconds, state.tracking_seconds, state.num_tracked
    load_state(state, folder)
    state.seconds, state.tracking_seconds, state.num_tracked = elapsed
    state.config = config


def rebuild_generator(state: TrainState, saved: Checkpoint) -> GeneratorNetwork:
    """Return a copy of what makes images, with the weights that ``save_generator`` wrote.

    Raises:
        RunError: they are those of other networks.
    """
    copies = {}
    for name in state.config.recipe.generators:
        stem = _stem(state, name)
        copies[name] = copy.deepcopy(state.averages.get(name, state.networks[name]))
        load_tensors(copies[name], part_of(saved.tensors, stem, saved.path), saved.path / f"{stem}.safetensors")
    return state.config.recipe.generator(copies)


def set_damage_aside(folder: RunFolder, step: int) -> list[str]:
    """Rename damaged checkpoints, so that they are neither used nor counted.

    Args:
        folder: the run.
        step: of the checkpoint that is used.

    Returns:
        A sentence if the best generator was damaged.
    """
    folder.set_damaged_aside(step)
    try:
        if folder.best:
            open_checkpoint(folder.best)
    except DamagedCheckpoint as error:
        if folder.best:
            set_aside(folder.best)
        return [f"{error}; it is set aside, and the best generator from now on is kept"]
    return []


# --- networks ----------------------------------------------------------------------------------------------


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network, which may be without memory (on "meta"), from a safetensors file.

    Raises:
        RunError: the file is damaged or of another network.
    """
    load_tensors(network, read_tensors(path), path)


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill a network, which may be without memory (on "meta"), with tensors that were read from a file.

    Raises:
        RunError: names, shapes or dtypes are those of another network.
    """
    own = network.state_dict()
    described = {name: (tensor.shape, tensor.dtype) for name, tensor in own.items()}
    if described != {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}:
        raise RunError(f"{path}: holds the weights of another network than config.json describes")
    without_memory = any(tensor.is_meta for tensor in own.values())
    network.load_state_dict(tensors, assign=without_memory)


def _stems(state: TrainState) -> dict[str, nn.Module]:
    """Return every network and average by the stem of its file."""
    averages = {name + AVERAGE: average for name, average in state.averages.items()}
    others = [average for averages in state.other_averages.values() for average in averages.values()]
    stems = [stem for _, stem in _other_stems(state)]
    return {**state.networks, **averages, **dict(zip(stems, others, strict=True))}


def _other_stems(state: TrainState) -> list[tuple[str, str]]:
    """Return, for each of the other averages, the name of its network and the stem of its file."""
    return [
        (name, name + AVERAGE + "_x" + re.sub(r"\W", "_", f"{factor}"))
        for factor, averages in state.other_averages.items()
        for name in averages
    ]


def _stem(state: TrainState, name: str) -> str:
    return name + AVERAGE if name in state.averages else name


def _counts(state: TrainState) -> dict[str, float]:
    return {name: getattr(state, name) for name in COUNTS}


def part_of(tensors: Mapping[str, Mapping[str, Tensor]], stem: str, folder: Path) -> Mapping[str, Tensor]:
    """Return the tensors of one file of a checkpoint.

    Raises:
        DamagedCheckpoint: there is no such file.
    """
    if stem not in tensors:
        raise DamagedCheckpoint(f"{folder}: the checkpoint has no {stem}.safetensors")
    return tensors[stem]


def _tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _saved(value) for name, value in state.items()}


def _saved(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


# --- optimizers --------------------------------------------------------------------------------------------


def _optimizer_tensors(state: TrainState) -> dict[str, Tensor]:
    return {
        f"{owner}.{kind}.{name}": _saved(value)
        for owner, network in state.networks.items()
        for name, parameter in network.named_parameters()
        for kind, value in state.optimizers[owner].state.get(parameter, {}).items()
    }


def _load_optimizers(state: TrainState, tensors: Mapping[str, Tensor], path: Path) -> None:
    left = dict(tensors)
    for owner, network in state.networks.items():
        optimizer = state.optimizers[owner]
        kinds = _kinds(optimizer)
        for name, parameter in network.named_parameters():
            found = {kind: left.pop(key) for kind in kinds if (key := f"{owner}.{kind}.{name}") in left}
            if found and found.keys() != kinds:
                missing = f"{owner}.{min(kinds - found.keys())}.{name}"
                raise RunError(f"{path}: has no tensor {missing}, which {type(optimizer).__name__} needs")
            optimizer.state[parameter] = {kind: _like(parameter, value, path) for kind, value in found.items()}
    if left:
        raise RunError(f"{path}: holds a tensor that the optimizers do not keep ({min(left)})")


def _kinds(optimizer: torch.optim.Optimizer) -> set[str]:
    """Return the names of what this optimizer keeps of each parameter after a step."""
    probe = copy.copy(optimizer)
    device = optimizer.param_groups[0]["params"][0].device
    parameter = nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros(1, device=device)
    options = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    probe.state, probe.param_groups = defaultdict(dict), [{**options, "params": [parameter]}]
    probe.step()
    return set(probe.state[parameter])


def _like(parameter: nn.Parameter, value: Tensor, path: Path) -> Tensor:
    """Return an optimizer's tensor in the parameter's memory format, which fused updates need."""
    if value.dim() == 0:  # the step count, which fused optimizers keep beside the parameter
        return value.to(parameter.device)
    if value.shape != parameter.shape or value.dtype != parameter.dtype:
        raise RunError(f"{path}: holds the optimizer of another network than config.json describes")
    return torch.empty_like(parameter, requires_grad=False).copy_(value)

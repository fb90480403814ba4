"""A trained model to start from: its folder is read once, and checked, before training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gansmith.component import fields_set, member_name, override, to_plain
from gansmith.data.integrity import hash_tensors
from gansmith.errors import ConfigError, RunError, tell
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.checkpoint_files import newest_checkpoint, open_checkpoint
from gansmith.training.config import Config, differences, flat, load_config
from gansmith.training.data_facts import DataFacts
from gansmith.training.presets import PRESETS
from gansmith.training.snapshots import Snapshot, find_snapshot, load_generator
from gansmith.types import ImageSpec

__all__ = ["Parent", "follow_parent", "open_parent"]

MODEL = "config.model"


@dataclass(frozen=True, kw_only=True, eq=False)
class Parent:
    """A trained model to start from.

    Args:
        name: as given with ``--init``.
        folder: its run folder.
        config: its configuration.
        facts: what it was trained on.
        snapshot: its generator.
        structures: its networks without memory, by name.
        tensors: their weights; of the networks that make images, the averaged ones of the snapshot.
        digest: SHA-256 of all these weights.
    """

    name: str
    folder: RunFolder
    config: Config
    facts: DataFacts
    snapshot: Snapshot
    structures: Mapping[str, nn.Module]
    tensors: Mapping[str, Mapping[str, Tensor]]
    digest: str

    @property
    def spec(self) -> ImageSpec:
        """Size, channels and classes of its images."""
        return self.facts.spec(self.config.use_labels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that its networks know."""
        return self.facts.class_names if self.config.use_labels else ()

    def generator(self) -> TrainedGenerator:
        """Return its generator, ready to sample from."""
        return load_generator(self.folder, self.snapshot)


def open_parent(name: str) -> Parent:
    """Read a trained model.

    Args:
        name: the run's folder, ``zoo:NAME`` or ``hf:user/name``.

    Raises:
        RunError: it is no run, has no weights, or they are damaged, not finite or those of other networks.
        ConfigError: its configuration cannot be read, or names components that $GANSMITH_TRUST does not list.
    """
    folder = RunFolder.open(Path(name))
    config, facts = load_config(folder.config), DataFacts.read(folder.data)
    snapshot = find_snapshot(folder)
    structures = _build_without_memory(config, facts.spec(config.use_labels))
    tensors = {**_others(folder, snapshot, structures), **snapshot.tensors}
    tensors = {name: _to_float32(each) for name, each in tensors.items()}
    for each, weights in tensors.items():
        _check(structures[each], weights, f"{folder.path}: the weights of its {each}")
    return Parent(
        name=name,
        folder=folder,
        config=config,
        facts=facts,
        snapshot=snapshot,
        structures={name: network for name, network in structures.items() if name in tensors},
        tensors=tensors,
        digest=_digest(tensors),
    )


def _build_without_memory(config: Config, spec: ImageSpec) -> dict[str, nn.Module]:
    with torch.device("meta"):  # the files decide whether the sizes are true
        return {name: build() for name, build in config.recipe.networks(config, spec).items()}


def _others(folder: RunFolder, snapshot: Snapshot, names: Mapping[str, Any]) -> dict[str, Mapping[str, Tensor]]:
    """Return the networks that make no images: those saved with the generator, else those of the newest checkpoint."""
    missing = [name for name in names if name not in snapshot.tensors]
    if not missing:
        return {}
    beside = open_checkpoint(snapshot.folder, missing).tensors
    if missing[0] not in beside and folder.checkpoints(damaged=True):
        saved, notes = newest_checkpoint(folder, missing)
        for note in notes:
            tell(note)
        beside = saved.tensors
    return {name: beside[name] for name in missing if name in beside}


def _to_float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.float() if each.is_floating_point() else each for name, each in tensors.items()}


def _check(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    own = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    if own != {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}:
        raise RunError(f"{what} are those of another network than config.json describes; choose another --init")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise RunError(f"{what} contain NaN or infinity; choose another --init")


def _digest(networks: Mapping[str, Mapping[str, Tensor]]) -> str:
    return hash_tensors({f"{name}/{key}": each for name, weights in networks.items() for key, each in weights.items()})


# --- the configuration that follows from it ----------------------------------------------------------------


def follow_parent(config: Config, parent: Parent) -> Config:
    """Return a configuration with the trained model's architecture, and its size where none is given.

    Args:
        config: as the user has set it; the fields of ``model`` that the user has set are kept.
        parent: the trained model.

    Raises:
        ConfigError: the user has set an architecture that the weights do not fit.
    """
    changes: dict[str, Any] = {}
    if config.preparation.size is None:
        changes["preparation.size"] = [parent.facts.height, parent.facts.width]
    if config.preset in PRESETS and "model" not in fields_set(config):
        given = flat(to_plain(config))
        kept = {path: given[path] for path in fields_set(config) if path.startswith("model.")}
        changes |= {"model": parent.config.model, **kept}
    followed = override(config, changes)
    _refuse_other_architecture(followed, parent)
    return followed


def _refuse_other_architecture(config: Config, parent: Parent) -> None:
    """Refuse a model whose networks for the trained model's images have other weights than it has."""
    with suppress(ConfigError):  # it cannot be built for these images
        built = _build_without_memory(config, parent.spec)
        if all(_shapes(built[name]) == _shapes(parent.structures[name]) for name in _shared(config, parent, built)):
            return
    raise ConfigError(_explain(config, parent))


def _shared(config: Config, parent: Parent, built: Mapping[str, nn.Module]) -> Sequence[str]:
    """Return the networks that have to fit: of another recipe, only those that make images."""
    same = type(config.recipe) is type(parent.config.recipe)
    return [name for name in built if name in parent.structures and (same or name in config.recipe.generators)]


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _explain(config: Config, parent: Parent) -> str:
    old, new = parent.config.model, config.model
    if type(old) is not type(new):
        names = member_name(new), member_name(old)
        return (
            f"{MODEL}: {names[0]}, but {parent.name} is a {names[1]}; choose --model {names[1]}, or leave --model out"
        )
    changed = [(path, *pair) for path, pair in differences(old, new).items()]
    if not changed:
        return f"{MODEL}: its networks cannot take the weights of {parent.name}; choose another --init"
    path, was, now = next((each for each in changed if each[0] == "width"), changed[0])
    return (
        f"{MODEL}.{path}: {now}, but {parent.name} was trained with {was}, so its weights do not fit; "
        f"choose --model.{path} {was}, or leave it out"
    )

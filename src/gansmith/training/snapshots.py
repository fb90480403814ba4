"""Which of a run's generators: the best one that was kept, or that of the newest checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from gansmith.data.store import Store
from gansmith.devices import choose_compute
from gansmith.errors import DamagedCheckpoint, RunError, tell
from gansmith.images.sheets import SheetRows, choose_classes, num_present
from gansmith.models.model import GeneratorNetwork
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.checkpoint import AVERAGE, load_tensors, part_of
from gansmith.training.checkpoint_files import MOST_TRIES, Checkpoint, newest_checkpoint, open_checkpoint
from gansmith.training.config import Config, load_config
from gansmith.training.data_facts import DataFacts
from gansmith.training.state import place
from gansmith.types import ImageSpec
from gansmith.zoo.places import describe_run, entry_name

__all__ = ["Snapshot", "Which", "find_snapshot", "load_generator", "make_sampler", "real_rows"]

Which: TypeAlias = Literal["best", "last"]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A generator's weights on disk.

    Args:
        which: what was found: "best" by the figure that training tracked, or "last".
        folder: the checkpoint.
        tensors: of each network that makes images, by its name.
        ema: whether they are averaged.
        nimg: real images that training had seen.
        step: generator updates that it had made.
        seconds: that it had taken.
    """

    which: Which
    folder: Path
    tensors: Mapping[str, Mapping[str, Tensor]] = field(repr=False)
    ema: bool
    nimg: int
    step: int
    seconds: float


def find_snapshot(folder: RunFolder, which: Which = "best", *, ema: bool = True) -> Snapshot:
    """Read a run's generator.

    Args:
        folder: the run.
        which: "best" takes the last one where no best was kept.
        ema: the averaged weights where there are any; without, it is always the last.

    Raises:
        RunError: the run has no checkpoint, or a damaged one.
    """
    names = load_config(folder.config).recipe.generators
    if which == "best" and ema and (best := _open_best(folder)) is not None:
        return _snapshot("best", best, names, ema=True)
    if entry_name(folder.path) is not None:
        raise RunError(
            f"{describe_run(folder.path)}: has the averaged weights of one generator only; omit --snapshot and --no-ema"
        )
    stems = [*names, *(name + AVERAGE for name in names)]
    saved, notes = newest_checkpoint(folder, stems)
    for note in notes:
        tell(note)
    return _snapshot("last", saved, names, ema=ema)


def _open_best(folder: RunFolder) -> Checkpoint | None:
    """The best generator that was kept; None if there is none, or a damaged one, which is told."""
    for _ in range(MOST_TRIES):
        home = folder.best
        if home is None:
            return None
        before = _identity(home)
        try:
            return open_checkpoint(home)
        except DamagedCheckpoint as error:
            if before == _identity(home):
                tell(f"{error}; the newest checkpoint is used instead of the best generator")
                return None
    raise RunError(f"{folder.path}: a training replaces its best generator faster than it can be read; try again")


def _identity(home: Path) -> tuple[int, int] | None:
    """Of a folder, to see whether a training beside us has replaced it."""
    try:
        status = home.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _snapshot(which: Which, saved: Checkpoint, names: Sequence[str], *, ema: bool) -> Snapshot:
    """Return the networks of these names, averaged where there are averages and they are wanted."""
    stems = {name: name + AVERAGE if ema and name + AVERAGE in saved.tensors else name for name in names}
    return Snapshot(
        which=which,
        folder=saved.path,
        tensors={name: part_of(saved.tensors, stem, saved.path) for name, stem in stems.items()},
        ema=any(stem != name for name, stem in stems.items()),
        nimg=int(saved.state["nimg"]),
        step=int(saved.state["step"]),
        seconds=float(saved.state["seconds"]),
    )


def load_generator(folder: RunFolder, snapshot: Snapshot, *, device: str = "cpu") -> TrainedGenerator:
    """Return a run's generator, ready to sample from.

    Raises:
        RunError: the weights are damaged, or of another network.
    """
    config, facts = load_config(folder.config), DataFacts.read(folder.data)
    builders = config.recipe.networks(config, facts.spec(config.use_labels))
    networks = {}
    for name, tensors in snapshot.tensors.items():
        # no memory yet: the weights' file decides whether the sizes are true
        with torch.device("meta"), _WithoutDrawing():
            networks[name] = builders[name]()
        load_tensors(networks[name], tensors, snapshot.folder / f"{name}{AVERAGE if snapshot.ema else ''}.safetensors")
        place(networks[name], choose_compute(device, "float32").device).eval()
    return make_sampler(config.recipe.generator(networks), config, facts)


class _WithoutDrawing(TorchFunctionMode):
    """Draws no initial weights: on "meta" they have no values, and drawing them imports torch's compiler (1 s)."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        keywords = keywords or {}
        if (
            function in (torch.Tensor.normal_, torch.Tensor.uniform_)
            or getattr(function, "__module__", "") == init.__name__
        ):
            return keywords["tensor"] if "tensor" in keywords else arguments[0]
        return function(*arguments, **keywords)


def make_sampler(network: GeneratorNetwork, config: Config, facts: DataFacts) -> TrainedGenerator:
    """A network with what is needed to sample from it."""
    spec = facts.spec(config.use_labels)
    names = facts.class_names if spec.num_classes else ()
    counts = facts.class_counts if spec.num_classes else ()
    return TrainedGenerator(network=network, model=config.model, spec=spec, class_names=names, class_counts=counts)


def real_rows(store: Store, spec: ImageSpec, columns: int = 8) -> SheetRows:
    """Return real images in rows, as samples are: of classes, or a square."""
    order = np.random.default_rng(0).permutation(len(store.images))
    if not spec.num_classes or store.labels is None:
        images = store.images[np.sort(order[: columns * columns])]
        white = np.full((-len(images) % columns, *images.shape[1:]), 255, np.uint8)
        return SheetRows(images=np.concatenate([images, white]).reshape(-1, columns, *images.shape[1:]))
    counts = np.bincount(store.labels, minlength=spec.num_classes).tolist()
    rows, shown = [], choose_classes(spec.num_classes, counts)
    for label in shown:
        chosen = order[store.labels[order] == label][:columns]
        row = np.full((columns, *store.images.shape[1:]), 255, np.uint8)
        row[: len(chosen)] = store.images[chosen]
        rows.append(row)
    return SheetRows(
        images=np.stack(rows),
        classes=tuple(shown),
        class_names=store.class_names,
        num_present=num_present(spec.num_classes, counts),
    )

"""Training of our own feature extractors, once per data set, and their cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gansmith import dist
from gansmith.component import member_name, to_plain
from gansmith.data.batches import Batches, Indices, split
from gansmith.data.integrity import check_files, hash_file
from gansmith.data.source import cache_folder
from gansmith.data.store import Store
from gansmith.data.writer import write_folder_atomically
from gansmith.devices import choose_compute
from gansmith.errors import DataError
from gansmith.metrics.backbone import Backbone, BackboneNetwork
from gansmith.metrics.extractor import Extractor
from gansmith.plain_json import seal, unseal
from gansmith.types import Batch

__all__ = ["LEARNING_SEED", "Pace", "Progress", "fit", "minimise", "split_validation", "train_once"]

Progress: TypeAlias = Callable[[int, int], object]

RECIPE = 1  # raise it when training or the backbone changes: cached extractors are then trained anew
LEARNING_SEED = 0
WEIGHTS = "weights.safetensors"
MOST_EPOCHS = 30  # of a data set that is too small for the requested kimg
WARM_UP, WEIGHT_DECAY = 0.25, 0.05
HELD_OUT = 0.1
SPLIT_SEED = 1  # differs from that of training and held-out images, so that the splits choose other groups


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long and how fast a network is trained.

    Args:
        kimg: length of training, in thousands of images with repetitions; at most 30 passes over the data.
        batch_size: images per step.
        lr: the highest learning rate.
    """

    kimg: float
    batch_size: int = 64
    lr: float = 4e-3


def train_once(
    extractor: Extractor, store: Store, training: Indices, backbone: Backbone, train: Callable[[torch.device], str]
) -> BackboneNetwork:
    """Return a trained backbone from the cache; if it is not there, the main process trains it for all ranks.

    If several programs need it at the same time, one trains it and the others wait. A cached backbone that is damaged
    or of an earlier version is replaced.

    Args:
        extractor: the settings.
        store: the real images.
        training: indices of the images that it is trained on.
        backbone: changed in place.
        train: trains it on a device and returns its quality in one clause.

    Raises:
        DataError: the cache cannot be written.
    """
    device, path = choose_compute("auto", "auto").device, _cached_path(extractor, store, training)
    with dist.main_first():
        note = _load(path, backbone)
        if note is None:
            note = _train_alone(
                path, backbone, {"extractor": to_plain(extractor), "data": store.title}, lambda: train(device)
            )
    return BackboneNetwork(member_name(extractor), backbone, store.spec, device, note)


def _train_alone(path: Path, backbone: Backbone, about: Mapping[str, Any], train: Callable[[], str]) -> str:
    with _lock(path):
        note = _load(path, backbone)  # another process may have trained it meanwhile
        if note is None:
            note = train()
            _save(path, backbone, {**about, "note": note})
        return note


def _load(path: Path, backbone: Backbone) -> str | None:
    """Load cached weights into a backbone and return the note on their quality; None if they cannot be used."""
    try:
        about = unseal((path / "about.json").read_text(encoding="utf-8"))
        if about["name"] != path.name:
            return None
        check_files(path, about["files"])
        backbone.load_state_dict(load_file(path / WEIGHTS))
        return str(about["note"])
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError):
        return None


def _lock(path: Path) -> contextlib.AbstractContextManager[object]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{path}.lock").acquire()
    except OSError as error:
        raise _unwritable(path, error) from error


def _save(path: Path, backbone: Backbone, about: Mapping[str, Any]) -> None:
    weights = {name: tensor.cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    try:
        with write_folder_atomically(path, replacing=True) as unfinished:
            save_file(weights, unfinished / WEIGHTS)
            kept = {**about, "name": path.name, "files": {WEIGHTS: hash_file(unfinished / WEIGHTS)}}
            (unfinished / "about.json").write_text(seal(kept), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> DataError:
    remedy = "free disk space, or set GANSMITH_CACHE to another folder"
    return DataError(f"{path.parent}: cannot be written ({error}); {remedy}")


def _cached_path(extractor: Extractor, store: Store, training: Indices) -> Path:
    chosen = hashlib.sha256(training.tobytes()).hexdigest()
    described = json.dumps([RECIPE, to_plain(extractor), store.digest, chosen])
    key = hashlib.sha256(described.encode()).hexdigest()[:32]
    return cache_folder() / "extractors" / f"{type(extractor).__name__.lower()}-{key}"


def split_validation(store: Store, training: Indices) -> tuple[Indices, Indices]:
    """Split the images into those that a network is trained on and a validation set.

    Groups stay whole, and each class of the validation set is in the training set too.
    """
    validation = np.intersect1d(training, split(store, HELD_OUT, seed=SPLIT_SEED)[1])
    learnt = np.setdiff1d(training, validation)
    if store.labels is None:
        return learnt, validation
    known = np.isin(store.labels[validation], store.labels[learnt])
    return np.union1d(learnt, validation[~known]), validation[known]


def fit(
    network: nn.Module,
    loss: Callable[[Batch], Tensor],
    store: Store,
    chosen: Indices,
    pace: Pace,
    progress: Progress | None = None,
) -> None:
    """Minimise a loss with AdamW (Loshchilov and Hutter 2019) and a one-cycle learning rate (Smith and Topin 2018).

    Args:
        network: the network, on its device.
        loss: of a batch, which is on the CPU.
        store: the images.
        chosen: indices of the images to train on, at least one.
        pace: length, batch size and learning rate.
        progress: called with the number of images so far and in all.
    """
    batches = Batches(store=store, batch_size=pace.batch_size, seed=LEARNING_SEED, subset=chosen)
    steps = math.ceil(min(1000 * pace.kimg, MOST_EPOCHS * len(chosen)) / pace.batch_size)
    for step in minimise(network, lambda step: loss(batches.batch(step * pace.batch_size)), steps, pace.lr):
        if progress:
            progress((step + 1) * pace.batch_size, steps * pace.batch_size)


def minimise(network: nn.Module, loss: Callable[[int], Tensor], steps: int, lr: float) -> Iterator[int]:
    """Minimise a loss with AdamW and a one-cycle learning rate, as ``fit`` does; yield the number of each step done.

    Args:
        network: the network, on its device.
        loss: of a step, by its number from 0.
        steps: how many.
        lr: the highest learning rate.
    """
    compute = choose_compute("auto", "auto")
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps + 1, pct_start=WARM_UP)
    network.train()
    for step in range(steps):
        with torch.enable_grad(), compute.autocast():
            value = loss(step)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        cycle.step()
        yield step

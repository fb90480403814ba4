"""How our own feature networks learn from a data set, once, and where they are kept afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Mapping
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

__all__ = ["LEARNING_SEED", "Progress", "fit", "split_validation", "train_once"]

Progress: TypeAlias = Callable[[int, int], object]

RECIPE = 1  # raise it when anything here or in the backbone changes what is learnt: all is then learnt anew
LEARNING_SEED = 0
WEIGHTS = "weights.safetensors"
BATCH_SIZE = 64
MOST_EPOCHS = 30  # of a data set too small for the kimg asked for
RATE, WARM_UP, WEIGHT_DECAY = 4e-3, 0.25, 0.05
JUDGED = 0.1
JUDGE_SEED = 1  # another than that of training and held-out images, lest both splits take the same groups


def train_once(
    extractor: Extractor, store: Store, training: Indices, backbone: Backbone, teach: Callable[[torch.device], str]
) -> BackboneNetwork:
    """A backbone with what it has learnt: from the cache, else the main process teaches it now, for all.

    Of several programs that ask at the same time one teaches and the others wait.

    What is damaged in the cache, or was kept by an earlier version, is learnt anew.

    Args:
        extractor: the recipe.
        store: the real images.
        training: which of them it learns from.
        backbone: changed in place.
        teach: teaches it on a device, and says in one clause how good it has become.

    Raises:
        DataError: the cache cannot be written.
    """
    device, path = choose_compute("auto", "auto").device, _cached_path(extractor, store, training)
    with dist.main_first():
        note = _load(path, backbone)
        if note is None:
            note = _teach(
                path, backbone, {"extractor": to_plain(extractor), "data": store.title}, lambda: teach(device)
            )
    return BackboneNetwork(member_name(extractor), backbone, store.spec, device, note)


def _teach(path: Path, backbone: Backbone, about: Mapping[str, Any], teach: Callable[[], str]) -> str:
    with _alone(path):
        note = _load(path, backbone)  # another process may have taught it meanwhile
        if note is None:
            note = teach()
            _keep(path, backbone, {**about, "note": note})
        return note


def _load(path: Path, backbone: Backbone) -> str | None:
    """Give a backbone the weights that are kept, and return what is known of them; None if they cannot be used."""
    try:
        about = unseal((path / "about.json").read_text(encoding="utf-8"))
        if about["name"] != path.name:
            return None
        check_files(path, about["files"])
        backbone.load_state_dict(load_file(path / WEIGHTS))
        return str(about["note"])
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError):
        return None


def _alone(path: Path) -> contextlib.AbstractContextManager[object]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{path}.lock").acquire()
    except OSError as error:
        raise _unwritable(path, error) from error


def _keep(path: Path, backbone: Backbone, about: Mapping[str, Any]) -> None:
    weights = {name: tensor.cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    try:
        with write_folder_atomically(path, replacing=True) as unfinished:
            save_file(weights, unfinished / WEIGHTS)
            kept = {**about, "name": path.name, "files": {WEIGHTS: hash_file(unfinished / WEIGHTS)}}
            (unfinished / "about.json").write_text(seal(kept), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> DataError:
    remedy = "make room there, or set GANSMITH_CACHE to another folder"
    return DataError(f"{path.parent}: cannot be written ({error}); {remedy}")


def _cached_path(extractor: Extractor, store: Store, training: Indices) -> Path:
    chosen = hashlib.sha256(training.tobytes()).hexdigest()
    described = json.dumps([RECIPE, to_plain(extractor), store.digest, chosen])
    key = hashlib.sha256(described.encode()).hexdigest()[:32]
    return cache_folder() / "extractors" / f"{type(extractor).__name__.lower()}-{key}"


def split_validation(store: Store, training: Indices) -> tuple[Indices, Indices]:
    """What a network learns from, and what it is judged on: no group is parted, and no class goes unlearnt."""
    judged = np.intersect1d(training, split(store, JUDGED, seed=JUDGE_SEED)[1])
    learnt = np.setdiff1d(training, judged)
    if store.labels is None:
        return learnt, judged
    known = np.isin(store.labels[judged], store.labels[learnt])
    return np.union1d(learnt, judged[~known]), judged[known]


def fit(
    network: nn.Module,
    loss: Callable[[Batch], Tensor],
    store: Store,
    chosen: Indices,
    kimg: float,
    progress: Progress | None = None,
) -> None:
    """Minimise a loss with AdamW (Loshchilov and Hutter 2019) and one cycle of the rate (Smith and Topin 2018).

    Args:
        network: what learns, on its device.
        loss: of a batch, which is on the CPU.
        store: the images.
        chosen: which of them it learns from, at least one.
        kimg: thousands of images to see, repetitions counted; fewer if that were too often each.
        progress: called with the number of images seen and to be seen.
    """
    compute = choose_compute("auto", "auto")
    batches = Batches(store=store, batch_size=BATCH_SIZE, seed=LEARNING_SEED, subset=chosen)
    steps = math.ceil(min(1000 * kimg, MOST_EPOCHS * len(chosen)) / BATCH_SIZE)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps + 1, pct_start=WARM_UP)
    network.train()
    for step in range(steps):
        with torch.enable_grad(), compute.autocast():
            value = loss(batches.batch(step * BATCH_SIZE))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        cycle.step()
        if progress:
            progress((step + 1) * BATCH_SIZE, steps * BATCH_SIZE)

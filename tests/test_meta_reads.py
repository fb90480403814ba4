"""What is read back from a GPU that is not there, by whom and how often: sampling, features, the guard, a whole run."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gansmith
from gansmith.component import from_plain
from gansmith.data.npz import Npz
from gansmith.data.store import Store, prepare
from gansmith.metrics import EXTRACTORS, inception
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import extract
from gansmith.models import MODELS
from gansmith.models.model import Model
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.walks import interpolate
from gansmith.training.config import Config
from gansmith.training.data_facts import DataFacts
from gansmith.training.guard.probes import open_probes
from gansmith.training.snapshots import make_sampler
from gansmith.training.state import TrainState
from gansmith.types import ImageSpec, Pixels
from pretend_gpu import PRETEND_GPU, pretend_compute, pretend_gpu

SPEC = ImageSpec(height=16, width=12, channels=3, num_classes=3)
TO_ARRAY, EXTRACT = "images.pixels:to_array", "metrics.features:extract"
# Who may wait for the device in a whole run, and when.
READERS = {
    TO_ARRAY: "samples, at their interval; a measurement's images",
    EXTRACT: "a measurement's features",
    "data.integrity:hash_tensors": "the digest of a feature extractor, once",
    "metrics.learning:_save": "the weights of a feature extractor, once",
    "training.statistics:collect": "a line of stats.jsonl",
    "training.statistics:to_plain": "a checkpoint",
    "training.feedback:to_plain": "a checkpoint",
    "training.checkpoint:_saved": "a checkpoint",
    "training.state:is_finite": "before a line, a measurement, a checkpoint; a trial's clock",
    "training.guard.probes:_overfitting": "a line of stats.jsonl",
    "training.guard.probes:_coarse": "a line of stats.jsonl",
}
# Who moves networks to the device, before it works.
MOVERS = (
    *("metrics.backbone:__init__", "metrics.classifier:train", "metrics.self_supervised:train"),
    "metrics.efficientnet:__init__",
    *("metrics.mirror_asymmetry:measure_mirror_asymmetry", "training.state:create"),
)


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANSMITH_TRUST", __name__)
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part of the package chooses the pretended GPU."""
    for module in list(sys.modules.values()):
        if module.__name__.startswith("gansmith.") and hasattr(module, "choose_compute"):
            monkeypatch.setattr(module, "choose_compute", lambda *_: pretend_compute("bfloat16"))


def make_generator(model: str, num_classes: int = 3) -> TrainedGenerator:
    made: Model = from_plain(Model, {"name": model, "width": 4, "z_dim": 6}, "model")
    spec = dataclasses.replace(SPEC, num_classes=num_classes)
    return TrainedGenerator(network=made.generator(spec).to(PRETEND_GPU), model=made, spec=spec)


# --- sampling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("model", MODELS)
def test_sampling_reads_each_batch_once(model: str, num_classes: int) -> None:
    generator = make_generator(model, num_classes)
    with pretend_gpu(TO_ARRAY) as gpu:
        found = generator.sample(70, seed=3, truncation=0.7)
    assert found.images.shape == (70, 16, 12, 3) and gpu.read == [TO_ARRAY] * 2
    labels = [(64,), (6,)] if num_classes else []
    assert sorted(gpu.sent) == sorted([(64, 6), (6, 6), *labels])


def test_a_walk_reads_its_images_once() -> None:
    generator = make_generator("dcgan")
    with pretend_gpu(TO_ARRAY) as gpu:
        assert len(interpolate(generator, 1, 2, steps=5)) == 5
    assert gpu.read == [TO_ARRAY]


# --- features ----------------------------------------------------------------------------------------------


def means(pixels: Pixels) -> Tensor:
    """What the extractor "function" is given, which computes on the CPU."""
    return pixels.float().mean(dim=(2, 3))


class _Miniature(nn.Module):
    """Is called as the true Inception export is."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(3, 5)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return img.to(torch.float32).mean(dim=[2, 3])


def make_store(folder: Path, num: int = 80) -> Store:
    draw = np.random.default_rng(0)
    path = folder / "noise.npz"
    np.savez(path, images=draw.integers(0, 256, (num, 16, 12, 3), np.uint8), labels=np.arange(num) % 3)
    return prepare(Npz(path=path))


def make_extractor(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Extractor:
    fields: dict[str, Any] = {"classifier": {"width": 8, "num_features": 6, "kimg": 0.3}}
    fields["self-supervised"], fields["random-conv"] = fields["classifier"], {"width": 8, "num_features": 6}
    fields["function"] = {"path": f"{__name__}:means"}
    if name == "inception":
        content = b"stands for the true file"
        (folder / "copy.pt").write_bytes(content)
        pinned = {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size_bytes": len(content)}
        monkeypatch.setattr(inception, "INCEPTION", dataclasses.replace(inception.INCEPTION, **pinned))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            script = torch.jit.script(_Miniature()).to(PRETEND_GPU)
        monkeypatch.setattr(torch.jit, "load", lambda *_, **__: script)  # which loads nothing to "meta"
        fields["inception"] = {"path": folder / "copy.pt"}
    return from_plain(Extractor, {"name": name, **fields.get(name, {})}, "extractor")


@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize("name", EXTRACTORS)
def test_features_and_logits_of_a_batch_are_read_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extractor that is learnt waits only for its accuracy and its weights, at the end."""
    store, extractor = make_store(tmp_path), make_extractor(name, tmp_path, monkeypatch)
    learnt = ("metrics.self_supervised:_describe_accuracy", "metrics.learning:_save", "data.integrity:hash_tensors")
    with pretend_gpu(EXTRACT, *learnt, movers=MOVERS) as gpu:
        network = extractor.network(store, np.arange(60))
        before = len(gpu.read)
        pixels = np.zeros((200, 16, 12, 3), np.uint8)
        values, logits = extract(network, [pixels])
    assert len(values) == 200 and (logits is not None) == bool(network.num_classes)
    reads = 0 if name == "function" else 2 * (2 if network.num_classes else 1)
    assert gpu.read[before:] == reads * [EXTRACT]


# --- the guard, and all together ---------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_guard_reads_the_samples_and_four_numbers(precision: str, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    config = Config(data=Npz(path=tmp_path / "noise.npz"), batch_size=8, model=make_generator("dcgan").model)
    facts = DataFacts.of(store)
    state = TrainState.create(config, facts.spec(use_labels=True), pretend_compute(precision), epoch_size=60)
    sampler = make_sampler(state.generator, config, facts)
    probes = open_probes(32, store, np.arange(60), 60 + np.arange(20), sampler)
    overfitting, coarse = "training.guard.probes:_overfitting", "training.guard.probes:_coarse"
    with pretend_gpu(overfitting, coarse, TO_ARRAY) as gpu:
        found = probes.measure(state)
    assert found["guard/overfitting"] == 1
    assert Counter(gpu.read) == {overfitting: 2, coarse: 1, TO_ARRAY: 1}


@pytest.mark.usefixtures("on_gpu")
def test_a_whole_run_waits_only_where_something_is_written(tmp_path: Path) -> None:
    make_store(tmp_path)
    every = dict.fromkeys(("samples.every", "checkpoint_every", "tracking.every"), "4 steps")
    sizes = {"model.width": 4, "model.z_dim": 6, "batch_size": 8, "tracking.num": 32, "guard.num": 2, "held_out": 0.3}
    learnt = {"tracking.extractor": "classifier", "tracking.extractor.width": 8, "tracking.extractor.kimg": 0.3}
    overrides = {**every, **sizes, **learnt, "log_every": "3 steps"}
    with pretend_gpu(*READERS, movers=MOVERS) as gpu:
        run = gansmith.train(tmp_path / "noise.npz", run=tmp_path / "run", length="8 steps", overrides=overrides)
    assert run.stats()[-1]["progress/step"] == 8 and run.measurements()
    assert set(gpu.read) == set(READERS)

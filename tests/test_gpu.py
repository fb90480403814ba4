"""What only a GPU can show: the CPU's numbers, exact resuming, memory that runs out, and that no step is waited for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gansmith
from gansmith import api
from gansmith.component import from_plain, override
from gansmith.data.batches import Batches
from gansmith.data.npz import Npz
from gansmith.data.resident import place_batches
from gansmith.data.store import prepare
from gansmith.devices import Compute, choose_compute
from gansmith.metrics.backbone import Backbone, BackboneNetwork
from gansmith.metrics.features import extract
from gansmith.models import MODELS
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import Model
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, ImageSpec, send
from unwaited import unwaited

pytestmark = pytest.mark.gpu

SPEC = ImageSpec(height=16, width=16, channels=3, num_classes=3)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
PENALTIES = [{"name": "r1", "every": 2}, {"name": "wgan-gp"}, {"name": "lecam"}]
SETTINGS: dict[str, Any] = {
    "penalties": PENALTIES, "loss": "relativistic", "augment": {"name": "fixed", "operations": ["color", "shift"]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _precise(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Float32 means float32: without TF32, which convolutions use by default."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


@contextmanager
def deterministic() -> Iterator[None]:
    """Use kernels that add in the same order each time, where there are such kernels."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations that have no such kernel
        patch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(False)


def make_state(device: torch.device, precision: str = "float32", model: str = "dcgan", **changes: Any) -> TrainState:
    made: Model = from_plain(Model, {"name": model, "width": 8, "z_dim": 6}, "model")
    config = Config(data=Npz(path=Path("nowhere.npz")), model=made, batch_size=8, seed=3)
    compute = Compute(device=device, precision="bfloat16" if precision == "bfloat16" else "float32")
    return TrainState.create(override(config, changes), SPEC, compute, epoch_size=8)


def make_batch() -> Batch:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 16, 16, 3), generator=stream, dtype=torch.uint8).permute(0, 3, 1, 2)
    return Batch(images, torch.arange(8) % 3)


def take_steps(state: TrainState, num: int = 3) -> dict[str, float]:
    batch = make_batch()
    for _ in range(num):
        train_step(state, lambda *_: batch)
    return state.statistics.collect()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixty-four images of two classes, lighter and darker."""
    labels = np.arange(64) % 2
    images = np.random.default_rng(0).integers(0, 128, (64, 16, 16, 3)) + 127 * labels[:, None, None, None]
    np.savez(tmp_path / "pictures.npz", images=images.astype(np.uint8), labels=labels)
    return tmp_path / "pictures.npz"


# --- the same numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_three_steps_have_the_losses_of_the_cpu(model: str) -> None:
    """Weights, latents, augmentation and penalties' noise are drawn on the CPU, so only rounding differs."""
    found, wanted = (take_steps(make_state(device, model=model, **SETTINGS)) for device in (GPU, CPU))
    assert found.keys() == wanted.keys()
    keys = [key for key in wanted if key.startswith(("loss/", "logits/", "penalty/", "gradient/"))]
    for key in (key for key in keys if not key.endswith(".std")):
        assert found[key] == pytest.approx(wanted[key], rel=0.02, abs=2e-3), key


def test_mixed_precision_computes_in_bfloat16_and_has_about_the_same_losses() -> None:
    state = make_state(GPU, "bfloat16", penalties=PENALTIES)
    dtypes = set()
    for network in state.networks.values():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                layer.register_forward_hook(lambda *given: dtypes.add(given[2].dtype))
    found, wanted = take_steps(state), take_steps(make_state(CPU, penalties=PENALTIES))
    assert dtypes == {torch.bfloat16}
    for name in ("discriminator", "generator"):
        assert found[f"loss/{name}"] == pytest.approx(wanted[f"loss/{name}"], rel=0.2, abs=0.1)
        assert {weight.dtype for weight in state.networks[name].parameters()} == {torch.float32}


def test_a_resumed_training_equals_one_that_never_stopped(pictures: Path, tmp_path: Path) -> None:
    tracking = {"extractor": "random-conv", "every": "2 steps", "num": 8, "num_real": 8, "max_share": 1.0}
    small = {"model.width": 8, "batch_size": 8, "device": "cuda", "log_every": "2 steps", "tracking": tracking}

    def weights(run: api.Run) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in run.folder.latest_checkpoint().glob("*.safetensors")}

    with deterministic():
        whole = gansmith.train(pictures, run=tmp_path / "whole", preset="dcgan-r1", length="6 steps", overrides=small)
        gansmith.train(pictures, run=tmp_path / "parts", preset="dcgan-r1", length="3 steps", overrides=small)
        parts = api.resume(tmp_path / "parts", length="6 steps")
    assert weights(parts) == weights(whole)


def test_a_seed_is_the_cpus_image_in_any_batch() -> None:
    model = DCGAN(width=8, z_dim=6)
    torch.manual_seed(0)
    network = model.generator(SPEC)
    on_cpu = TrainedGenerator(network=network, model=model, spec=SPEC).sample(70, seed=5)
    moved = TrainedGenerator(network=network.to(GPU), model=model, spec=SPEC)
    found = moved.sample(70, seed=5)
    assert np.abs(found.images.astype(int) - on_cpu.images).max() <= 1
    assert np.abs(found.images[3].astype(int) - moved.sample(1, seed=8).images[0]).max() <= 1


def test_features_are_those_of_the_cpu() -> None:
    images = np.random.default_rng(0).integers(0, 256, (140, 16, 16, 3), np.uint8)
    spec = ImageSpec(height=16, width=16, channels=3)
    found, wanted = (
        extract(
            BackboneNetwork("x", Backbone(spec, width=8, num_features=6, num_classes=3), spec, device, ""), [images]
        )
        for device in (GPU, CPU)
    )
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours is not None and theirs is not None and ours.device == CPU
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


# --- nothing is waited for ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", MODELS)
def test_no_step_is_waited_for(model: str, precision: str) -> None:
    state = make_state(GPU, precision, model, **SETTINGS)
    take_steps(state)  # which asks the libraries for their fastest kernels
    batch = make_batch()
    with unwaited():
        for _ in range(4):
            train_step(state, lambda *_: batch)
    assert state.is_finite()


def test_what_is_sent_is_not_waited_for_and_arrives() -> None:
    images = make_batch().images
    with unwaited():
        sent = send(images, GPU)
    assert torch.equal(sent.cpu(), images) and sent.stride() == images.stride() and send(sent, GPU) is sent


def test_data_stay_on_the_device_and_no_step_is_waited_for(pictures: Path) -> None:
    batches = Batches(store=prepare(Npz(path=pictures)), batch_size=8)
    batch_at, state = place_batches(GPU, batches), make_state(GPU)
    found, wanted = batch_at(24, 0, 1), batches.batch(24)
    assert found.images.is_cuda and torch.equal(found.images.cpu(), wanted.images)
    assert found.labels is not None and wanted.labels is not None and torch.equal(found.labels.cpu(), wanted.labels)
    train_step(state, batch_at)
    with unwaited():
        train_step(state, batch_at)


# --- memory ------------------------------------------------------------------------------------------------


def test_where_memory_runs_out_micro_batches_have_the_same_sums() -> None:
    """The discriminator's passes need most of a step's memory, so a quarter less of it makes their batch smaller."""
    spec, size = ImageSpec(height=64, width=64, channels=3), 256
    model = DCGAN(width=32, z_dim=8, discriminator_norm="none", generator_norm="none")
    config = Config(data=Npz(path=Path("nowhere.npz")), model=model, batch_size=size, reuse_fakes=False)
    images = torch.randint(0, 256, (size, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batch, compute = Batch(images.permute(0, 3, 1, 2), None), Compute(device=GPU, precision="float32")

    def take_one() -> TrainState:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        state = TrainState.create(config, spec, compute, epoch_size=size)
        train_step(state, lambda *_: batch)
        return state

    whole = take_one()
    wanted = whole.statistics.collect()
    limit = 0.75 * torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(GPU).total_memory
    del whole
    torch.cuda.set_per_process_memory_fraction(limit)
    try:
        in_parts = take_one()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert in_parts.micro_batch < size and "memory ran out" in in_parts.notices[0]
    measured = in_parts.statistics.collect()
    for key in ("loss/discriminator", "loss/generator", "gradient/discriminator", "gradient/generator"):
        assert measured[key] == pytest.approx(wanted[key], rel=1e-3), key


def test_auto_chooses_for_a_gpu(pictures: Path, tmp_path: Path) -> None:
    run = gansmith.train(pictures, run=tmp_path / "run", length="2 s", tracking=None)
    facts = run.folder.environment.read_text(encoding="utf-8")
    assert choose_compute("auto", "auto").device.type == "cuda" and '"device": "cuda' in facts
    assert run.status()["state"] == "finished" and os.path.getsize(run.folder.stats) > 0

"""The adversarial steps and the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gansmith import api
from gansmith.augment import draw
from gansmith.component import override
from gansmith.data.batches import Batches
from gansmith.data.npz import Npz
from gansmith.data.resident import copy_to_device
from gansmith.data.store import Preparation, prepare
from gansmith.devices import Compute, choose_compute
from gansmith.errors import ConfigError, TrainingDiverged
from gansmith.losses import Sigmoid
from gansmith.models.dcgan import DCGAN
from gansmith.optimizers import Adam
from gansmith.penalties import R1
from gansmith.training.adversarial import discriminator_step, generator_step
from gansmith.training.config import Config
from gansmith.training.presets import configure
from gansmith.training.state import TrainState, random_stream
from gansmith.training.steps import draw_latents, generate, train_step
from gansmith.types import Batch, ImageSpec
from unwaited import unwaited

CPU = Compute(device=torch.device("cpu"), precision="float32")


def make_state(**changes: Any) -> TrainState:
    config = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6), batch_size=8)
    spec = ImageSpec(height=8, width=8, channels=1, num_classes=3)
    return TrainState.create(override(config, changes), spec, CPU, epoch_size=100)


def make_batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    return Batch(torch.randint(0, 256, (8, 1, 8, 8), generator=draw).to(torch.uint8), torch.arange(8) % 3)


def weights(network: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(before: list[torch.Tensor], network: torch.nn.Module) -> bool:
    return any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_each_step_moves_its_own_network_only() -> None:
    state, batch = make_state(), make_batch()
    fake = generate(state, draw_latents(state, salt=0), batch.labels)
    generator, discriminator = weights(state.generator), weights(state.networks["discriminator"])
    discriminator_step(state, batch, fake.detach())
    assert moved(discriminator, state.networks["discriminator"])
    assert not moved(generator, state.generator)
    discriminator = weights(state.networks["discriminator"])
    generator_step(state, batch, fake, draw_latents(state, salt=0))
    assert moved(generator, state.generator)
    assert not moved(discriminator, state.networks["discriminator"])
    assert all(parameter.requires_grad for parameter in state.networks["discriminator"].parameters())


def test_the_discriminators_gradient_is_that_of_the_written_loss() -> None:
    """Adam's first step is lr * sign(gradient), so the signs tell whether the loss was the right one."""
    changes = {"model.discriminator_norm": "none", "penalties": [{"name": "r1", "gamma": 2.0, "every": 1}]}
    state, batch = make_state(**changes), make_batch()
    assert state.config.loss == Sigmoid()
    assert state.config.penalties == (R1(gamma=2.0),)
    fake = generate(state, draw_latents(state, salt=0), batch.labels).detach()
    real = (batch.images.float() / 127.5 - 1).requires_grad_()
    logits = state.networks["discriminator"](real, batch.labels)
    (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    scores = state.networks["discriminator"](fake, batch.labels)
    loss = entropy(logits, torch.ones(8)) + entropy(scores, torch.zeros(8)) + slope.square().sum((1, 2, 3)).mean()
    wanted = torch.autograd.grad(loss, list(state.networks["discriminator"].parameters()))
    before = weights(state.networks["discriminator"])
    discriminator_step(state, batch, fake)
    for old, new, gradient in zip(before, state.networks["discriminator"].parameters(), wanted, strict=True):
        clear = gradient.abs() > 1e-5
        assert torch.equal(torch.sign(old - new)[clear], torch.sign(gradient)[clear])
    means = state.statistics.collect()
    assert means["loss/discriminator"] + 2 * means["penalty/r1"] == pytest.approx(loss.item(), rel=1e-5)


def test_a_lazy_penalty_is_due_every_so_many_steps_and_counts_as_much() -> None:
    state, batch = make_state(penalties=[{"name": "r1", "gamma": 1.0, "every": 3}]), make_batch()
    seen = []
    for _ in range(6):
        discriminator_step(state, batch, generate(state, draw_latents(state, salt=0), batch.labels).detach())
        seen.append("penalty/r1" in state.statistics.collect())
        state.nimg += state.config.batch_size
    assert seen == [True, False, False, True, False, False]


def gradients(**changes: Any) -> list[torch.Tensor]:
    state, batch = make_state(**changes), make_batch()
    fake = generate(state, draw_latents(state, salt=0), batch.labels)
    discriminator_step(state, batch, fake.detach())
    generator_step(state, batch, fake, draw_latents(state, salt=0))
    networks = (state.networks["discriminator"], state.generator)
    return [parameter.grad for network in networks for parameter in network.parameters() if parameter.grad is not None]


EVERYTHING: dict[str, Any] = {
    "loss": "relativistic",
    "penalties": "r1,r2,wgan-gp,consistency,lecam",
    "augment": {"name": "fixed", "p": 0.5, "operations": ["translation"]},
    "model.discriminator_norm": "none",
}


def test_micro_batches_have_the_sums_of_the_whole() -> None:
    whole, in_parts = gradients(**EVERYTHING), gradients(**EVERYTHING, micro_batch=3)
    for one, other in zip(whole, in_parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


class Small(torch.nn.Module):
    """A discriminator for which there is memory for four images."""

    def __init__(self, discriminator: torch.nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        if len(images) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return self.discriminator(images, labels)


def test_where_memory_runs_out_micro_batches_shrink_and_nothing_else() -> None:
    changes: dict[str, Any] = {"model.discriminator_norm": "none", "micro_batch": 7}
    state, same, batch = make_state(**changes), make_state(**changes), make_batch()
    state.networks["discriminator"] = Small(state.networks["discriminator"])
    for each in (state, same):
        fake = generate(each, draw_latents(each, salt=0), batch.labels)
        discriminator_step(each, batch, fake.detach())
        generator_step(each, batch, fake, draw_latents(each, salt=0))
    assert state.micro_batch == 3
    assert state.notices == ["memory ran out: the discriminator now sees 3 images at once, with the same sums"]
    for one, other in zip(state.generator.parameters(), same.generator.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_what_does_not_fit_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    state, batch = make_state(**{"model.depth": 2}), make_batch()
    state.networks["discriminator"] = Small(state.networks["discriminator"])
    with pytest.raises(ConfigError, match=r"8 images do not fit .* its batch normalisation needs all at once"):
        discriminator_step(state, batch, generate(state, draw_latents(state, salt=0), batch.labels).detach())
    other = RuntimeError("something else")
    monkeypatch.setattr(Small, "forward", lambda *_: (_ for _ in ()).throw(other))
    with pytest.raises(RuntimeError, match="something else"):
        discriminator_step(state, batch, generate(state, draw_latents(state, salt=0), batch.labels).detach())


def test_the_logits_averages_are_kept_for_those_who_read_them() -> None:
    batch = make_batch()
    with_lecam, without = make_state(penalties="lecam"), make_state(penalties="r1")
    for state in (with_lecam, without):
        discriminator_step(state, batch, generate(state, draw_latents(state, salt=0), batch.labels).detach())
    means = with_lecam.statistics.last_means()
    wanted = torch.tensor([means["logits/real"], means["logits/fake"]]) * 0.01
    torch.testing.assert_close(with_lecam.feedback.logit_averages, wanted)
    assert (without.feedback.logit_averages == 0).all()


def test_augmentation_follows_the_discriminators_signs() -> None:
    augment = {"name": "adaptive", "target": 0.6, "kimg": 0.08, "operations": ["translation"]}
    state, batch = make_state(augment=augment), make_batch()
    seen = []
    for logit in (1.0, 1.0, -1.0):
        state.feedback.learn_from_logits(state.config, torch.full((8,), logit), torch.zeros(8))
        seen.append(state.feedback.augment_p.item())
    assert seen == pytest.approx([0.1, 0.2, 0.1])
    discriminator_step(state, batch, generate(state, draw_latents(state, salt=0), batch.labels).detach())
    assert state.statistics.last_means()["augment/p"] == pytest.approx(state.feedback.augment_p.item())


def test_with_pairs_the_signs_are_those_of_their_distance() -> None:
    state = make_state(loss="relativistic", augment={"name": "adaptive", "kimg": 0.08, "operations": ["translation"]})
    far, seen = torch.full((8,), 100.0), []
    for less in (1.0, -1.0):
        state.feedback.learn_from_logits(state.config, far, far - less)
        seen.append(state.feedback.augment_p.item())
    assert seen == pytest.approx([0.1, 0.0])


def test_augmentation_follows_unseen_images_where_that_is_asked_for() -> None:
    augment = {"name": "adaptive", "by": "held-out", "kimg": 0.08, "operations": ["translation"]}
    state, seen = make_state(augment=augment), []
    for figures in ({"guard/overfitting": 0.7}, {}, {"guard/diversity": 1.0}):  # {}: nobody looked, the last one stands
        state.feedback.learn_from_probes(figures)
        state.feedback.learn_from_logits(state.config, -torch.ones(8), torch.zeros(8))  # the sign says the opposite
        seen.append(state.feedback.augment_p.item())
    assert seen == pytest.approx([0.1, 0.2, 0.1])


def test_a_penalty_that_reads_overfitting_gets_the_average_sign_while_unseen_images_tell_nothing() -> None:
    state = make_state(penalties=["noise-consistency"])
    for real, wanted in ((1.0, 0.01), (1.0, 0.0199), (-1.0, 0.009701)):
        state.feedback.learn_from_logits(state.config, torch.full((8,), real), torch.zeros(8))
        assert state.feedback.overfitting.item() == pytest.approx(wanted)
    state.feedback.learn_from_probes({"guard/overfitting": 0.7})
    assert state.feedback.overfitting.item() == pytest.approx(0.7)


def test_augmentation_that_never_happens_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    state, batch = make_state(augment={"name": "adaptive", "operations": ["translation"]}), make_batch()
    drawn: list[int] = []
    monkeypatch.setattr("gansmith.training.steps.draw", lambda *given: drawn.append(1) or draw(*given))
    for p, wanted in ((0.0, False), (0.5, True)):
        state.feedback.augment_p.fill_(p)
        discriminator_step(state, batch, generate(state, draw_latents(state, salt=0), batch.labels).detach())
        assert bool(drawn) == wanted


@pytest.mark.gpu
def test_a_step_on_a_gpu_is_not_waited_for() -> None:
    """Neither with penalties, nor without; with augmentation and averages of logits."""
    penalties = [{"name": "r1", "every": 2}, {"name": "r2", "every": 2}, {"name": "lecam"}]
    augment = {"name": "adaptive", "operations": ["translation", "cutout", "hue"]}
    config = configure(preset="dcgan-r1", overrides={"augment": augment, "penalties": penalties, "batch_size": 8})
    compute, spec = choose_compute("cuda", "auto"), ImageSpec(height=32, width=32, channels=3, num_classes=3)
    state = TrainState.create(config, spec, compute, epoch_size=100)
    state.feedback.augment_p.fill_(0.5)
    batch = Batch(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), torch.arange(8) % 3)
    train_step(state, lambda *_: batch)  # which asks the libraries for their fastest kernels
    train_step(state, lambda *_: batch)
    with unwaited():
        for _ in range(4):
            train_step(state, lambda *_: batch)
    assert state.is_finite()


def test_batches_on_the_device_are_those_from_the_disk(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(20) % 4)
    batches = Batches(store=prepare(Npz(path=tmp_path / "x.npz"), Preparation()), batch_size=6)
    there = copy_to_device(torch.device("cpu"), batches)
    for place in ((0, 0, 1), (600, 1, 2)):
        one, other = there(*place), batches.batch(*place)
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
        assert one.images.stride() == other.images.stride()


def test_rates_follow_their_schedules(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((16, 8, 8, 1), np.uint8))
    rates: dict[str, Any] = {"schedule": {"name": "linear", "end": 0.5}}
    seen = []

    class Spy(Adam):
        def set_rates(self, optimizer: torch.optim.Optimizer, fraction: float) -> None:
            super().set_rates(optimizer, fraction)
            seen.append(optimizer.param_groups[0]["lr"])

    config = configure(tmp_path / "x.npz", overrides={"batch_size": 4, "model.width": 2, "length": "4 steps"})
    spy = Spy(lr=0.1, schedule=override(Adam(), rates).schedule)
    config = override(config, {})
    object.__setattr__(config, "generator_optimizer", spy)
    state = TrainState.create(config, ImageSpec(height=8, width=8, channels=1), CPU, epoch_size=16)
    for step in range(4):
        state.step = step
        config.generator_optimizer.set_rates(state.optimizers["generator"], config.length.fraction(state.progress))
    assert seen == pytest.approx([0.1, 0.0875, 0.075, 0.0625])


def test_randomness_depends_on_the_place_alone() -> None:
    first = torch.rand(5, generator=random_stream(3, 640, 1))
    assert torch.equal(first, torch.rand(5, generator=random_stream(3, 640, 1)))
    for other in [(4, 640, 1), (3, 641, 1), (3, 640, 2)]:
        assert not torch.equal(first, torch.rand(5, generator=random_stream(*other)))


def test_the_seed_decides_the_weights() -> None:
    one, same, other = make_state(), make_state(), make_state(seed=1)
    assert not moved(weights(one.generator), same.generator)
    assert moved(weights(one.generator), other.generator)


def test_an_ema_of_no_halflife_is_the_generator_itself() -> None:
    assert make_state(ema_halflife_kimg=0).generator_ema.parameters is not None
    state = make_state(ema_halflife_kimg=0)
    assert state.generator_ema is state.generator


def test_divergence_stops_and_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), np.uint8))
    explosive = {"loss": "wasserstein", "penalties": [], "generator_optimizer.lr": 1e30, "batch_size": 4}
    options: dict[str, Any] = {"model.width": 4, "checkpoint_every": "1 steps", "log_every": "1 steps"}
    with pytest.raises(TrainingDiverged, match=r"training stopped at step \d+: .* NaN or infin") as caught:
        api.train(tmp_path / "x.npz", length="200 steps", run=tmp_path / "run", overrides={**explosive, **options})
    assert "\n" not in str(caught.value)
    run = api.open_run(tmp_path / "run")
    assert run.status()["state"] == "failed"
    for checkpoint in run.folder.checkpoints():
        assert str(run.folder.checkpoints()[-1]) in str(caught.value)
        assert checkpoint.is_dir()


def test_labels_are_used_or_left_alone_as_asked(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((16, 8, 8, 1), np.uint8), labels=np.arange(16) % 2)
    changes = {"batch_size": 4, "model.width": 2, "tracking": None}
    with_labels = api.train(tmp_path / "x.npz", length="1 steps", run=tmp_path / "a", overrides=changes)
    assert with_labels.generator().spec.num_classes == 2
    without = {**changes, "use_labels": False}
    unlabelled = api.train(tmp_path / "x.npz", length="1 steps", run=tmp_path / "b", overrides=without)
    assert unlabelled.generator().spec.num_classes == 0
    with pytest.raises(ConfigError, match="trained without labels"):
        unlabelled.generator().sample(1, label=1)


def test_statistics_are_written_at_intervals_and_at_the_end(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((16, 8, 8, 1), np.uint8))
    changes = {"batch_size": 4, "model.width": 2, "log_every": "2 steps", "tracking": None}
    run = api.train(tmp_path / "x.npz", length="5 steps", run=tmp_path / "run", overrides=changes)
    lines = run.stats()
    assert [line["progress/step"] for line in lines] == [2, 4, 5]
    assert [line["progress/nimg"] for line in lines] == [8, 16, 20]
    assert {"loss/generator", "loss/discriminator", "logits/real", "accuracy/fake"} <= lines[0].keys()

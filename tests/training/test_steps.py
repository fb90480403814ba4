"""One step: what it counts, whom it asks how often, what it leaves alone, and that ranks make the same one together."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith import dist
from gansmith.augment import draw
from gansmith.component import override
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.losses import Loss
from gansmith.models.dcgan import DCGAN
from gansmith.training import adversarial
from gansmith.training.adversarial import discriminator_step, generator_step
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import _step_if, draw_latents, generate, train_step
from gansmith.types import Batch, ImageSpec
from thread_ranks import Ranks

CPU = Compute(device=torch.device("cpu"), precision="float32")
SPEC = ImageSpec(height=8, width=8, channels=1, num_classes=3)
PLAIN: dict[str, Any] = {"batch_size": 8, "model.discriminator_norm": "none", "model.generator_norm": "none"}
LATENTS, DROPOUT, PENALTIES, NEIGHBOURS = 1, 2, 6, 8  # purposes of random streams, in every checkpoint's future


def make_state(**changes: Any) -> TrainState:
    config = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6, init="torch"), seed=3)
    return TrainState.create(override(config, {**PLAIN, **changes}), SPEC, CPU, epoch_size=100)


def whole_batch() -> Batch:
    stream = torch.Generator().manual_seed(0)
    return Batch(torch.randint(0, 256, (8, 1, 8, 8), generator=stream).to(torch.uint8), torch.arange(8) % 3)


def make_fakes(state: TrainState) -> tuple[Tensor, Tensor]:
    """Fakes with their graph, and their latents."""
    z = draw_latents(state, salt=0)
    return generate(state, z, whole_batch().labels), z


def batch_at(nimg: int, rank: int, world_size: int) -> Batch:
    batch, share = whole_batch(), 8 // world_size
    rows = slice(rank * share, (rank + 1) * share)
    assert batch.labels is not None
    return Batch(batch.images[rows], batch.labels[rows])


def networks_of(state: TrainState) -> dict[str, nn.Module]:
    return {**state.networks, "generator_ema": state.generator_ema}


def stream(*place: int) -> torch.Generator:
    """The random numbers of a place in a training of seed 3."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([3, *place]).generate_state(1, np.uint64)[0]) >> 1)


def norm(loss: Tensor, network: nn.Module) -> float:
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return sum(float(each.square().sum()) for each in gradients) ** 0.5


# --- what is counted ---------------------------------------------------------------------------------------


def test_the_statistics_of_a_step() -> None:
    state, batch = make_state(penalties=[{"name": "r1", "gamma": 0.5}]), whole_batch()
    g, d = copy.deepcopy(state.generator), copy.deepcopy(state.networks["discriminator"])
    train_step(state, batch_at)
    fake = g(torch.randn(8, 6, generator=stream(0, LATENTS, 0)), batch.labels)
    real = (batch.images.float() / 127.5 - 1).requires_grad_()
    on_real, on_fake = d(real, batch.labels), d(fake.detach(), batch.labels)
    (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    penalty = slope.square().sum((1, 2, 3)) / 2
    loss = F.softplus(-on_real) + F.softplus(on_fake)
    again = F.softplus(-state.networks["discriminator"](fake, batch.labels))
    wanted: dict[str, Tensor] = {
        "loss/discriminator": loss, "logits/real": on_real, "logits/fake": on_fake, "penalty/r1": penalty,
        "accuracy/real": (on_real > 0).float(), "accuracy/fake": (on_fake < 0).float(), "loss/generator": again,
        "gradient/discriminator": torch.tensor([norm((loss + 0.5 * penalty).mean(), d)]),
        "gradient/generator": torch.tensor([norm(again.mean(), g)]),
        "skipped/discriminator": torch.zeros(1), "skipped/generator": torch.zeros(1),
    }  # fmt: skip
    found = state.statistics.collect()
    assert found.keys() == {*wanted, *(f"{key}.std" for key in wanted)}
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values.mean().item(), rel=1e-4, abs=1e-6), key
        assert found[f"{key}.std"] == pytest.approx(values.std(correction=0).item(), rel=1e-3, abs=1e-4), key


class Flat(nn.Module):
    """A discriminator whose logits are all one number, which its one weight is added to."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit, self.weight = logit, nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[bool, bool]] = []  # whether images, and the weight, ask for gradients

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        self.seen.append((images.requires_grad, self.weight.requires_grad))
        return self.logit + self.weight + 0 * images.sum((1, 2, 3))


def with_flat(logit: float = 0.0, **changes: Any) -> tuple[TrainState, Flat]:
    state, flat = make_state(**changes), Flat(logit)
    state.networks["discriminator"] = flat  # type: ignore[assignment]
    state.optimizers["discriminator"] = state.config.discriminator_optimizer.build(flat.parameters())
    return state, flat


@pytest.mark.parametrize(("logit", "real", "fake"), [(0.0, 0.0, 0.0), (0.5, 1.0, 0.0), (-0.5, 0.0, 1.0)])
def test_a_logit_of_0_is_right_about_neither(logit: float, real: float, fake: float) -> None:
    state, _ = with_flat(logit, penalties=[], augment={"name": "fixed", "p": 0.0, "operations": ["mirror"]})
    discriminator_step(state, whole_batch(), torch.zeros(8, 1, 8, 8))
    found = state.statistics.collect()
    assert (found["accuracy/real"], found["accuracy/fake"], found["augment/p"]) == (real, fake, 0)


# --- whom it asks ------------------------------------------------------------------------------------------


def test_only_penalties_need_gradients_of_images() -> None:
    for penalties, wanted in (([], False), ("r1", True)):
        state, flat = with_flat(penalties=penalties)
        discriminator_step(state, whole_batch(), torch.zeros(8, 1, 8, 8))
        assert flat.seen == [(wanted, True)] * 2


def test_the_discriminator_is_frozen_while_the_generator_learns() -> None:
    for loss, calls in (("sigmoid", [(True, False)]), ("relativistic", [(True, False), (False, False)])):
        state, flat = with_flat(penalties=[], loss=loss)
        fake = generate(state, draw_latents(state, salt=0), whole_batch().labels)
        generator_step(state, whole_batch(), fake, draw_latents(state, salt=0))
        assert flat.seen == calls and flat.weight.requires_grad and flat.weight.grad is None
        flat.forward = lambda *_: (_ for _ in ()).throw(ValueError("broken"))  # type: ignore[method-assign]
        with pytest.raises(ValueError, match="broken"):
            generator_step(state, whole_batch(), *make_fakes(state))
        assert flat.weight.requires_grad


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spy(Loss):
    """Remembers how many logits of real images the generator's loss was shown."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        assert len(real) == 0
        return -fake


def test_a_loss_that_does_not_pair_is_shown_no_real_logits() -> None:
    state = make_state(penalties=[])
    object.__setattr__(state.config, "loss", Spy())
    generator_step(state, whole_batch(), *make_fakes(state))
    assert state.statistics.collect()["loss/generator.std"] > 0


# --- updates that are left out -----------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_that_is_no_number_changes_no_weight(fused: bool) -> None:
    state, flat = with_flat(float("nan"), penalties=[])
    state.optimizers["discriminator"] = torch.optim.Adam(flat.parameters(), lr=0.1, fused=fused)
    fake = torch.zeros(8, 1, 8, 8)
    discriminator_step(state, whole_batch(), fake)
    assert flat.weight.item() == 0 and state.statistics.collect()["skipped/discriminator"] == 1
    flat.logit = 0.5
    discriminator_step(state, whole_batch(), fake)
    assert flat.weight.item() == pytest.approx(-0.1, rel=1e-3)  # Adam's first step, whose size is the rate
    assert state.statistics.collect()["skipped/discriminator"] == 0


@pytest.mark.parametrize("fused", [True, False])
def test_a_fused_optimizer_is_told_what_is_finite_and_another_is_not_called(fused: bool) -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, fused=fused)
    for finite, wanted in ((False, 1.0), (True, 0.5)):
        weight.grad = torch.full((1,), 0.5)
        _step_if(torch.tensor([finite]), optimizer)
        assert weight.item() == wanted and hasattr(optimizer, "found_inf") == fused


def test_a_norm_of_a_network_counts_weights_that_have_a_gradient() -> None:
    state, flat = with_flat(0.0, penalties=[])
    flat.unused = nn.Parameter(torch.ones(3))
    discriminator_step(state, whole_batch(), torch.zeros(8, 1, 8, 8))
    assert state.statistics.collect()["gradient/discriminator"] == pytest.approx(0, abs=1e-7)


class Forgetful(nn.Module):
    """A discriminator for which memory runs out once, at a call of this number."""

    def __init__(self, network: nn.Module, at: int) -> None:
        super().__init__()
        self.network, self.left = network, at

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        logits: Tensor = self.network(images, labels)
        return logits


def test_what_was_summed_before_memory_ran_out_does_not_count_twice() -> None:
    gradients = []
    for at in (0, 2):  # never, and in the second of two parts
        state = make_state(micro_batch=4, penalties=[])
        state.networks["discriminator"] = Forgetful(state.networks["discriminator"], at)  # type: ignore[assignment]
        generator_step(state, whole_batch(), *make_fakes(state))
        gradients.append([parameter.grad for parameter in state.generator.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


# --- random numbers ----------------------------------------------------------------------------------------


def test_the_numbers_of_penalties_are_their_own() -> None:
    penalties = [{"name": "wgan-gp"}, {"name": "consistency", "operations": ["shift", "brightness"]}, {"name": "lecam"}]
    state, batch = make_state(penalties=penalties), whole_batch()
    state.nimg = 80
    state.feedback.logit_averages.copy_(torch.tensor([0.5, -0.25]))
    fake = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    d, numbers = copy.deepcopy(state.networks["discriminator"]), stream(80, PENALTIES)
    discriminator_step(state, batch, fake)
    real = batch.images.float() / 127.5 - 1
    share = torch.rand(8, 1, 1, 1, generator=numbers)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(d(between, batch.labels).sum(), between)
    wanted = {"penalty/wgangp": (slope.flatten(1).norm(dim=1) - 1).square().mean().item()}
    distance = torch.zeros(8)
    for images in (real, fake):
        changed = draw(("shift", "brightness"), 8, SPEC, numbers)(images, 1.0)
        distance += (d(changed, batch.labels) - d(images, batch.labels)).square()
    wanted["penalty/consistency"] = distance.mean().item()
    on_real, on_fake = d(real, batch.labels), d(fake, batch.labels)
    wanted["penalty/lecam"] = ((on_real + 0.25) ** 2 + (on_fake - 0.5) ** 2).mean().item()
    found = state.statistics.collect()
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-4)


def test_penalties_on_features_are_those_of_the_written_discriminator() -> None:
    """Of a network that is written out: two convolutions, and a head that reads the second's activations."""
    penalties = [{"name": "noise-consistency", "deviation": 0.8}, {"name": "fake-contrast", "deviation": 0.5}]
    state, batch = make_state(penalties=penalties, **{"model.depth": 2}), whole_batch()
    state.nimg = 80
    state.feedback.held_out.fill_(0.25)
    g, d = (copy.deepcopy(each) for each in (state.generator, state.networks["discriminator"]))
    first, second = (each for each in d.modules() if isinstance(each, nn.Conv2d))

    def features(images: Tensor, noise: Tensor | float = 1.0) -> Tensor:
        maps = F.leaky_relu(F.conv2d(images, first.weight, first.bias, 2, 1), 0.2) * noise
        return F.leaky_relu(F.conv2d(maps, second.weight, second.bias, 2, 1), 0.2).permute(0, 2, 3, 1).flatten(1)

    z, real = torch.randn(8, 6, generator=stream(80, LATENTS, 0)), batch.images.float() / 127.5 - 1
    fake, numbers = g(z, batch.labels).detach(), stream(80, PENALTIES)
    noise = [1 + 0.2 * torch.randn(8, 4, 1, 1, generator=numbers) for _ in range(4)]
    one, two, three, four = map(features, (real, real, fake, fake), noise)
    wanted = {"penalty/noiseconsistency": ((one - two) ** 2 + (three - four) ** 2).mean()}
    moved = (z + 0.5 * torch.randn(8, 6, generator=stream(80, NEIGHBOURS))) / 1.25**0.5
    keys = F.normalize(features(g(moved, batch.labels).detach()), dim=1).detach()
    likeness = F.normalize(features(fake), dim=1) @ keys.T / 0.07
    wanted["penalty/fakecontrast"] = (likeness.logsumexp(1) - likeness.diagonal()).mean()
    adversarial = F.softplus(-d(real, batch.labels)).mean() + F.softplus(d(fake, batch.labels)).mean()
    total = adversarial + 10 * wanted["penalty/noiseconsistency"] + 0.2 * wanted["penalty/fakecontrast"]
    gradients = torch.autograd.grad(total, (first.weight, second.weight))
    discriminator_step(state, batch, fake)
    found = state.statistics.collect()
    for key, each in wanted.items():
        assert found[key] == pytest.approx(each.item(), rel=1e-4)
    trained = [each for each in state.networks["discriminator"].modules() if isinstance(each, nn.Conv2d)]
    for module, gradient in zip(trained, gradients, strict=True):
        torch.testing.assert_close(module.weight.grad, gradient, rtol=1e-3, atol=1e-6)


def test_features_are_collected_only_for_penalties_that_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    state = make_state(penalties=[{"name": "fake-contrast", "every": 2}])
    whole = adversarial.score
    monkeypatch.setattr(
        adversarial, "score", lambda *given, features=False: asked.append(features) or whole(*given, features=features)
    )
    for _ in range(2):
        train_step(state, batch_at)
    assert asked == [True, True, False, False, False, False]


def test_dropout_has_the_numbers_of_its_place_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    state = make_state(penalties=[], discriminator_steps=2, batch_size=4)
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    monkeypatch.setattr(dist, "rank", lambda: 1)
    monkeypatch.setattr(dist, "local_share", lambda size: slice(0, size))
    train_step(state, lambda nimg, rank, world_size: Batch(whole_batch().images[:4], whole_batch().labels[:4]))  # type: ignore[index]
    assert seeds == [stream(nimg, DROPOUT, 1).initial_seed() for nimg in (0, 4)]


# --- ranks -------------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "loss": "relativistic",
    "penalties": "r1,r2,wgan-gp,consistency,lecam,noise-consistency,fake-contrast",
    "augment": {"name": "fixed", "p": 0.6, "operations": ["translation", "brightness", "cutout"]},
    "generator_optimizer.eps": 1e-3,
    "discriminator_optimizer.eps": 1e-3,
}


@pytest.mark.parametrize("micro_batch", [None, 3])
@pytest.mark.parametrize("fresh_fakes", [False, True])
def test_two_ranks_make_the_step_of_one(
    monkeypatch: pytest.MonkeyPatch, micro_batch: int | None, fresh_fakes: bool
) -> None:
    changes = {**EVERYTHING, "reuse_fakes": not fresh_fakes}
    one, two = make_state(**changes), [make_state(**changes, micro_batch=micro_batch) for _ in range(2)]
    for each in (one, *two):
        each.feedback.held_out.fill_(0.5)
    for _ in range(2):
        train_step(one, batch_at)
    ranks = Ranks(2)
    monkeypatch.setattr(dist, "torch_dist", ranks)

    def train(rank: int) -> None:
        for _ in range(2):
            train_step(two[rank], batch_at)

    ranks.run(train)
    for name, network in networks_of(one).items():
        for key, wanted in network.state_dict().items():
            found = [networks_of(each)[name].state_dict()[key] for each in two]
            assert torch.equal(*found)
            torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5, msg=f"{name}.{key}")
    torch.testing.assert_close(two[0].feedback.logit_averages, one.feedback.logit_averages)
    monkeypatch.undo()
    for key in ("logits/real", "logits/fake", "loss/generator"):
        values = [each.statistics.last_means()[key] for each in two]
        assert np.mean(values) == pytest.approx(one.statistics.last_means()[key], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("step", [discriminator_step, generator_step])
def test_networks_compute_in_the_chosen_precision(step: Callable[..., None]) -> None:
    state, batch = make_state(penalties=[], loss="relativistic"), whole_batch()
    state.compute = Compute(device=torch.device("cpu"), precision="bfloat16")
    types: list[bool] = []
    fake = generate(state, draw_latents(state, salt=0), batch.labels)
    for module in state.networks["discriminator"].modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_: types.append(torch.is_autocast_enabled("cpu")))
    step(state, batch, *([fake.detach()] if step is discriminator_step else make_fakes(state)))
    assert types and all(types)


def test_fakes_are_made_in_the_chosen_precision() -> None:
    state = make_state()
    state.compute = Compute(device=torch.device("cpu"), precision="bfloat16")
    types: list[bool] = []
    state.generator.register_forward_hook(lambda *_: types.append(torch.is_autocast_enabled("cpu")))
    generate(state, draw_latents(state, salt=0), whole_batch().labels)
    assert types == [True]

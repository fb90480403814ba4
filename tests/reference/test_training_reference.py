"""The engine's weights against three steps that are written here in plain PyTorch.

The reference has its own losses, penalties, schedules, average and optimizers. It shares with the engine the
networks' first weights, the batches and the rule of the random numbers: a function of seed, nimg and purpose.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.augment import draw
from gansmith.component import override
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.models.dcgan import DCGAN
from gansmith.training.config import Config
from gansmith.training.presets import preset
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, ImageSpec

SEED, STEPS = 5, 3
LATENTS, DROPOUT, REAL, FAKE, GENERATED = 1, 2, 3, 4, 5


def stream(*place: int) -> torch.Generator:
    """The random numbers of a place in training."""
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([SEED, *place]).generate_state(1, np.uint64)[0]) >> 1
    )


@dataclasses.dataclass(kw_only=True)
class Recipe:
    """What the reference needs to know of a training; numbers and formulas, no component of ours."""

    batch: int
    z_dim: int
    critic_loss: Callable[[Tensor, Tensor], Tensor]
    generator_loss: Callable[[Tensor, Tensor], Tensor]
    rates: Callable[[float], tuple[float, float]]  # of generator and discriminator, after a fraction of training
    betas: Callable[[float], tuple[float, float]]
    eps: float = 1e-8
    length: float = math.inf  # images
    pairs: bool = False  # whether the generator's loss reads logits of real images
    d_steps: int = 1
    fresh_fakes: bool = False
    gammas: Callable[[int, float], tuple[float, float]] = lambda update, fraction: (0.0, 0.0)  # of R1 and R2
    augment: tuple[str, ...] = ()
    augment_p: Callable[[float], float] = lambda fraction: 0.0
    halflife: float = 0.0  # images; 0 for no average
    ramp: float = 0.05
    latent: str = "normal"
    low: float = -1.0  # the darkest pixel; the brightest is 1


@dataclasses.dataclass(kw_only=True)
class Trained:
    """Networks and optimizers of the reference."""

    g: nn.Module
    d: nn.Module
    average: nn.Module
    g_adam: torch.optim.Optimizer
    d_adam: torch.optim.Optimizer


def batch_at(recipe: Recipe, spec: ImageSpec) -> Callable[..., Batch]:
    def batch(nimg: int, rank: int = 0, world_size: int = 1) -> Batch:
        rng = np.random.default_rng(nimg)
        images = rng.integers(0, 256, (recipe.batch, spec.height, spec.width, spec.channels), np.uint8)
        labels = torch.from_numpy(rng.integers(0, 3, recipe.batch))
        return Batch(torch.from_numpy(images).permute(0, 3, 1, 2), labels)

    return batch


def train_plainly(recipe: Recipe, spec: ImageSpec, g: nn.Module, d: nn.Module) -> Trained:
    """Three steps, written out."""
    average = copy.deepcopy(g)
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), eps=recipe.eps, foreach=False) for net in (g, d))
    nimg = update = 0
    get_batch = batch_at(recipe, spec)

    def fakes(salt: int) -> Tensor:
        numbers = (
            torch.randn
            if recipe.latent == "normal"
            else lambda *s, generator: torch.rand(*s, generator=generator) * 2 - 1
        )
        return g(numbers(recipe.batch, recipe.z_dim, generator=stream(nimg, LATENTS, salt)), labels)

    def augmented(images: Tensor, purpose: int) -> Tensor:
        if not p:
            return images
        return draw(recipe.augment, recipe.batch, spec, stream(nimg, purpose))(images, p, (recipe.low, 1.0))

    for _ in range(STEPS):
        fraction = min(1.0, nimg / recipe.length)
        p = recipe.augment_p(fraction)
        for adam, rate in zip((g_adam, d_adam), recipe.rates(fraction), strict=True):
            adam.param_groups[0].update(lr=rate, betas=recipe.betas(fraction))
        for _ in range(recipe.d_steps):
            batch = get_batch(nimg)
            labels = batch.labels if spec.num_classes else None
            torch.manual_seed(stream(nimg, DROPOUT, 0).initial_seed())
            fake = fakes(0)
            real = (batch.images.float() * (1 - recipe.low) / 255 + recipe.low).requires_grad_()
            copied = fake.detach().requires_grad_()
            real_logits, fake_logits = d(augmented(real, REAL), labels), d(augmented(copied, FAKE), labels)
            loss = recipe.critic_loss(real_logits, fake_logits).mean()
            terms = zip(
                recipe.gammas(update, nimg / recipe.length), (real_logits, fake_logits), (real, copied), strict=True
            )
            for gamma, logits, images in terms:
                if gamma:
                    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
                    loss = loss + gamma / 2 * slope.square().sum((1, 2, 3)).mean()
            d_adam.zero_grad()
            loss.backward()
            d_adam.step()
            nimg, update = nimg + recipe.batch, update + 1
        if recipe.fresh_fakes:
            fake = fakes(1)
        fake_logits = d(augmented(fake, GENERATED), labels)
        real_logits = d(augmented(real.detach(), REAL), labels) if recipe.pairs else fake_logits
        g_adam.zero_grad()
        recipe.generator_loss(real_logits, fake_logits).mean().backward()
        g_adam.step()
        if recipe.halflife:
            kept = 0.5 ** (recipe.batch * recipe.d_steps / min(recipe.halflife, nimg * recipe.ramp))
            with torch.no_grad():
                for old, new in zip(average.state_dict().values(), g.state_dict().values(), strict=True):
                    if old.is_floating_point():
                        old.copy_(kept * old + (1 - kept) * new)
    return Trained(g=g, d=d, average=average if recipe.halflife else g, g_adam=g_adam, d_adam=d_adam)


def train_ours(config: Config, recipe: Recipe, spec: ImageSpec) -> TrainState:
    """The state before the first step; ``run`` it after copying its networks."""
    compute = Compute(device=torch.device("cpu"), precision="float32")
    return TrainState.create(dataclasses.replace(config, seed=SEED), spec, compute, epoch_size=1000)


def compare(state: TrainState, plain: Trained, first: Mapping[str, Tensor], atol: float = 2e-6) -> None:
    """All weights, averages, statistics of normalisation and optimizers' moments."""
    pairs = (
        (state.generator, plain.g),
        (state.networks["discriminator"], plain.d),
        (state.generator_ema, plain.average),
    )
    for ours, theirs in pairs:
        for (name, mine), wanted in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            if mine.is_floating_point():  # the average does not count batches
                torch.testing.assert_close(
                    mine, wanted, rtol=2e-5, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
                )
    optimizers = ((state.optimizers["generator"], plain.g_adam), (state.optimizers["discriminator"], plain.d_adam))
    for adam, reference in optimizers:
        for mine, wanted in zip(adam.param_groups[0]["params"], reference.param_groups[0]["params"], strict=True):
            for kind in ("step", "exp_avg", "exp_avg_sq"):
                scale = reference.state[wanted][kind].abs().max().item()
                torch.testing.assert_close(
                    adam.state[mine][kind], reference.state[wanted][kind], rtol=1e-3, atol=2e-5 * scale + 1e-12
                )
    assert any((value - first[name]).abs().max() > 1e-4 for name, value in state.generator.state_dict().items())


def run(state: TrainState, recipe: Recipe, spec: ImageSpec, g: nn.Module, d: nn.Module, atol: float = 2e-6) -> None:
    """Take three steps each way; ``atol`` is for weights whose gradient is all but 0, which Adam blows up."""
    first = {name: value.clone() for name, value in state.generator.state_dict().items()}
    plain = train_plainly(recipe, spec, g, d)
    for _ in range(STEPS):
        train_step(state, batch_at(recipe, spec))
    assert (state.step, state.nimg) == (STEPS, STEPS * recipe.batch * recipe.d_steps)
    compare(state, plain, first, atol)


# --- everything at once ------------------------------------------------------------------------------------


def relativistic(**changes: Any) -> Recipe:
    half_cosine = lambda fraction: (1 + math.cos(math.pi * fraction)) / 2  # noqa: E731
    plain: dict[str, Any] = {
        "batch": 8, "z_dim": 6, "eps": 1e-4, "length": 80, "d_steps": 2, "pairs": True,
        "critic_loss": lambda real, fake: F.softplus(fake - real),
        "generator_loss": lambda real, fake: F.softplus(real - fake),
        "rates": lambda fraction: (0.01 * (1 - fraction), 0.02 * half_cosine(fraction)),
        "betas": lambda fraction: (0.3, 0.99 + (0.9 - 0.99) * half_cosine(fraction)),
        "gammas": lambda update, fraction: (0.7 * (1 - 0.5 * fraction), 0.4 * 2 if update % 2 == 0 else 0.0),
        "augment": ("brightness", "mirror", "translation", "cutout"),
        "augment_p": lambda fraction: 0.4 + 0.6 * fraction,
        "halflife": 20, "ramp": 0.9,
    }  # fmt: skip
    return Recipe(**{**plain, **changes})


EVERYTHING: dict[str, Any] = {
    "batch_size": 8, "discriminator_steps": 2, "length": "0.08 kimg", "loss": "relativistic",
    "model.discriminator_norm": "none", "ema_halflife_kimg": 0.02, "ema_ramp": 0.9,
    "penalties": [
        {"name": "r1", "gamma": 0.7, "schedule": {"name": "linear", "end": 0.5}},
        {"name": "r2", "gamma": 0.4, "every": 2},
    ],
    "augment": {
        "name": "fixed", "operations": ["brightness", "mirror", "translation", "cutout"],
        "schedule": {"name": "linear", "begin": 0.4, "end": 1.0},
    },
    "generator_optimizer": {
        "name": "adam", "lr": 0.01, "betas": [0.3, 0.9], "eps": 1e-4, "schedule": "linear", "beta2_end": 0.99,
    },
    "discriminator_optimizer": {
        "name": "adam", "lr": 0.02, "betas": [0.3, 0.9], "eps": 1e-4, "schedule": "cosine", "beta2_end": 0.99,
    },
}  # fmt: skip
LABELLED = ImageSpec(height=12, width=16, channels=3, num_classes=3)


@pytest.mark.parametrize("fresh_fakes", [False, True])
@pytest.mark.parametrize("labelled", [True, False])
def test_three_steps_with_everything(fresh_fakes: bool, labelled: bool) -> None:
    recipe, spec = relativistic(fresh_fakes=fresh_fakes), dataclasses.replace(LABELLED, num_classes=3 * labelled)
    config = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6, init="torch"))
    state = train_ours(override(config, {**EVERYTHING, "reuse_fakes": not fresh_fakes}), recipe, spec)
    run(state, recipe, spec, copy.deepcopy(state.generator), copy.deepcopy(state.networks["discriminator"]))


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "sigmoid": (
        lambda r, f: -torch.log(torch.sigmoid(r)) - torch.log(1 - torch.sigmoid(f)),
        lambda r, f: -torch.log(torch.sigmoid(f)),
    ),
    "least-squares": (lambda r, f: 0.5 * (r - 1) ** 2 + 0.5 * f**2, lambda r, f: 0.5 * (f - 1) ** 2),
    "hinge": (lambda r, f: (1 - r).clamp(min=0) + (1 + f).clamp(min=0), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_three_steps_of_each_loss_in_pixels_from_0(loss: str) -> None:
    critic, generator = LOSSES[loss]
    recipe = relativistic(critic_loss=critic, generator_loss=generator, pairs=False, low=0.0, latent="uniform")
    model = DCGAN(width=4, z_dim=6, init="torch", output="sigmoid", latent="uniform")
    config = Config(data=Npz(path=Path("nowhere.npz")), model=model)
    state = train_ours(override(config, {**EVERYTHING, "loss": loss}), recipe, LABELLED)
    run(state, recipe, LABELLED, copy.deepcopy(state.generator), copy.deepcopy(state.networks["discriminator"]))


# --- the paper's and the tutorial's networks, layer by layer -----------------------------------------------


class Paper(nn.Module):
    """DCGAN's generator (Radford et al. 2016): ReLU, batch normalisation, transposed convolutions of 4x4."""

    def __init__(self, width: int, stages: int, channels: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(stages)][::-1]
        self.stem = nn.Linear(100, widths[0] * 16, bias=False)
        self.rest = nn.Sequential(nn.BatchNorm2d(widths[0]), nn.ReLU())
        for inputs, outputs in itertools.pairwise(widths):
            up = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
            self.rest.extend([up, nn.BatchNorm2d(outputs), nn.ReLU()])
        self.rest.append(nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False))

    def forward(self, z: Tensor, labels: None) -> Tensor:
        start = self.stem(z)
        return torch.tanh(self.rest(start.view(len(z), 4, 4, start.shape[1] // 16).permute(0, 3, 1, 2)))


class Flat(nn.Sequential):
    """Convolutions, then one linear logit of all numbers, channels last."""

    def forward(self, images: Tensor, labels: None) -> Tensor:  # type: ignore[override]
        *stages, last = self
        for stage in stages:
            images = stage(images)
        return last(images.permute(0, 2, 3, 1).flatten(1)).squeeze(1)


def paper_critic(width: int, stages: int, channels: int, size: int) -> nn.Module:
    widths = [width * 2**i for i in range(stages)]
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    return Flat(*layers, nn.Linear(widths[-1] * (size >> stages) ** 2, 1))


class Tutorial(nn.Module):
    """The tutorial's generator: 7x7 from a dense layer, leaky ReLU of 0.3, kernels of 5x5, TensorFlow's "same"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Linear(100, 49 * 4 * width, bias=False)
        self.norm = nn.BatchNorm1d(49 * 4 * width)
        self.one = nn.ConvTranspose2d(4 * width, 2 * width, 5, 1, 2, bias=False)
        self.one_norm = nn.BatchNorm2d(2 * width)
        self.two = nn.ConvTranspose2d(2 * width, width, 5, 2, 1, bias=False)
        self.two_norm = nn.BatchNorm2d(width)
        self.three = nn.ConvTranspose2d(width, 1, 5, 2, 1, bias=False)

    def forward(self, z: Tensor, labels: None) -> Tensor:
        leaky = nn.LeakyReLU(0.3)
        start = leaky(self.norm(self.stem(z)))
        x = leaky(self.one_norm(self.one(start.view(len(z), 7, 7, start.shape[1] // 49).permute(0, 3, 1, 2))))
        x = leaky(self.two_norm(self.two(x)[:, :, :14, :14]))
        return torch.tanh(self.three(x)[:, :, :28, :28])


class Dropped(nn.Module):
    """Dropout of 0.3 with the engine's bits: 16 a number, in the order of the memory."""

    def forward(self, x: Tensor) -> Tensor:
        words = np.random.SFC64(int(torch.empty((), dtype=torch.int64).random_())).random_raw((x.numel() + 3) // 4)
        n, c, h, w = x.shape
        bits = torch.from_numpy(words.view(np.int16)[: x.numel()].astype(np.float64)).view(n, h, w, c)
        keep = (bits + 32768) / 65536 >= round(0.3 * 65536) / 65536
        return x * keep.permute(0, 3, 1, 2) / (1 - round(0.3 * 65536) / 65536)


def tutorial_critic(width: int) -> nn.Module:
    one, two = nn.Conv2d(1, width, 5, 2, 2), nn.Conv2d(width, 2 * width, 5, 2, 2)
    return Flat(one, nn.LeakyReLU(0.3), Dropped(), two, nn.LeakyReLU(0.3), Dropped(), nn.Linear(49 * 2 * width, 1))


def cross_entropy(lr: float, beta1: float, **more: Any) -> Recipe:
    critic, generator = (
        lambda r, f: (
            F.binary_cross_entropy_with_logits(r, torch.ones_like(r), reduction="none")
            + F.binary_cross_entropy_with_logits(f, torch.zeros_like(f), reduction="none")
        ),
        lambda r, f: F.binary_cross_entropy_with_logits(f, torch.ones_like(f), reduction="none"),
    )
    rates, betas = (lambda fraction: (lr, lr)), (lambda fraction: (beta1, 0.999))
    return Recipe(z_dim=100, critic_loss=critic, generator_loss=generator, rates=rates, betas=betas, **more)


def shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(value.shape) for value in network.state_dict().values()]


def fill(network: nn.Module, other: nn.Module) -> nn.Module:
    values = [value.clone() for value in other.state_dict().values()]
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    return network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]


SMALL = {"batch_size": 8, "model.width": 4}


@pytest.mark.parametrize(("name", "size", "batch"), [("dcgan-64", 64, 64), ("dcgan-cifar10", 32, 128)])
def test_three_steps_of_the_papers_network(name: str, size: int, batch: int) -> None:
    config, spec = preset(name), ImageSpec(height=size, width=size, channels=3)
    stages = int(math.log2(size / 4))
    assert (config.batch_size, config.ema_halflife_kimg, config.augment, config.penalties) == (batch, 0, None, ())
    assert shapes(config.model.generator(spec)) == shapes(Paper(64, stages, 3))
    assert shapes(config.model.discriminator(spec)) == shapes(paper_critic(64, stages, 3, size))
    state = train_ours(override(config, SMALL), relativistic(), spec)
    g, d = (
        fill(Paper(4, stages, 3), state.generator),
        fill(paper_critic(4, stages, 3, size), state.networks["discriminator"]),
    )
    run(state, cross_entropy(2e-4, 0.5, batch=8), spec, g, d, atol=1e-5)


def test_the_papers_weights_start_normal_with_a_deviation_of_two_hundredths() -> None:
    state = train_ours(preset("dcgan-64"), relativistic(), ImageSpec(height=32, width=32, channels=3))
    for network in (state.generator, state.networks["discriminator"]):
        for name, value in network.named_parameters():
            if value.dim() > 1:
                assert value.std().item() == pytest.approx(0.02, rel=0.05) and abs(value.mean().item()) < 1e-3, name
            elif name.endswith("weight"):
                assert value.mean().item() == pytest.approx(1, abs=0.01) and 0.01 < value.std().item() < 0.03, name
            elif name.endswith("bias") and "stages" in name:
                assert not value.any(), name


def test_three_steps_of_the_tutorials_network() -> None:
    config, spec = preset("dcgan-mnist"), ImageSpec(height=28, width=28, channels=1)
    assert (config.batch_size, config.augment, config.penalties) == (256, None, ())
    assert shapes(config.model.generator(spec)) == shapes(Tutorial(64))
    assert shapes(config.model.discriminator(spec)) == shapes(tutorial_critic(64))
    state = train_ours(override(config, SMALL), relativistic(), spec)
    g, d = fill(Tutorial(4), state.generator), fill(tutorial_critic(4), state.networks["discriminator"])
    run(state, cross_entropy(1e-4, 0.9, eps=1e-7, batch=8, halflife=20_000), spec, g, d, atol=1e-5)


def test_the_tutorials_weights_start_as_keras_has_them() -> None:
    state = train_ours(preset("dcgan-mnist"), relativistic(), ImageSpec(height=28, width=28, channels=1))
    fans = {(12544, 100): 12644, (256, 128, 5, 5): 25 * 384, (128, 64, 5, 5): 25 * 192, (64, 1, 5, 5): 25 * 65}
    fans |= {(64, 1, 5, 5): 25 * 65, (128, 64, 5, 5): 25 * 192, (1, 6272): 6273}
    weights = [p for net in (state.generator, state.networks["discriminator"]) for p in net.parameters() if p.dim() > 1]
    assert len(weights) == 7
    for value in weights:
        limit = math.sqrt(6 / fans[tuple(value.shape)])  # Glorot's uniform
        assert 0.98 * limit < value.abs().max().item() <= limit

"""What the probes measure: known answers for networks whose behaviour is known, and nothing left changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.component import override
from gansmith.data.npz import Npz
from gansmith.data.store import Store, prepare
from gansmith.devices import Compute
from gansmith.images.pixels import to_array, to_uint8
from gansmith.metrics.copies import Originals
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork
from gansmith.training.config import Config
from gansmith.training.data_facts import DataFacts
from gansmith.training.guard.probes import Probes, open_probes
from gansmith.training.snapshots import make_sampler
from gansmith.training.state import TrainState

CPU = Compute(device=torch.device("cpu"), precision="float32")
NUM = 24  # training images; as many again are held out
SIDE = 12


class Makes(GeneratorNetwork):
    """A generator that makes what it is told, of latents and labels."""

    def __init__(self, make: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        self.make = make
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.make(z, labels)


class Says(DiscriminatorNetwork):
    """A discriminator that says what it is told, of images."""

    def __init__(self, say: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.say = say
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.say(images)


def noisy(folder: Path, num: int) -> Store:
    """Images of noise about the two grays of two classes."""
    draw = np.random.default_rng(0)
    labels = np.arange(num) % 2
    images = draw.normal(100 + 60 * labels[:, None, None, None], 25, (num, SIDE, SIDE, 1))
    np.savez(folder / "noise.npz", images=images.clip(0, 255).astype(np.uint8), labels=labels)
    return prepare(Npz(path=folder / "noise.npz"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """As many images to train on as are held out."""
    return noisy(tmp_path_factory.mktemp("data"), 2 * NUM)


def real(store: Store, indices: Any) -> Tensor:
    """Images as the networks see them."""
    return torch.from_numpy(store.images[indices].astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1


def measured(
    store: Store,
    make: Callable[[Tensor, Tensor | None], Tensor],
    say: Callable[[Tensor], Tensor] = lambda images: images.mean(dim=(1, 2, 3)),
    held_out: int = NUM,
    num: int = NUM,
    **changes: Any,
) -> dict[str, float]:
    """The figures of two such networks."""
    config = Config(data=Npz(path=Path("nowhere.npz")), batch_size=8, model=DCGAN(z_dim=SIDE * SIDE))
    config = override(config, changes)
    spec = DataFacts.of(store).spec(use_labels=True)
    state = TrainState.create(
        config,
        spec,
        CPU,
        NUM,
        networks=lambda: {"generator": Makes(make), "discriminator": Says(say)},
    )
    sampler = make_sampler(state.generator, config, DataFacts.of(store))
    return opened(store, sampler, held_out, num).measure(state)


def opened(store: Store, sampler: Any, held_out: int = NUM, num: int = NUM) -> Probes:
    num_training = len(store) // 2
    return open_probes(num, store, np.arange(num_training), num_training + np.arange(held_out), sampler)


def noise(z: Tensor, labels: Tensor | None) -> Tensor:
    """Images that are varied as the data are: each class its gray."""
    assert labels is not None
    gray = (100 + 60 * labels[:, None, None, None]) / 127.5 - 1
    return (gray + 25 / 127.5 * z.view(-1, 1, SIDE, SIDE)).clamp(-1, 1)


def test_samples_as_varied_as_the_data_have_a_diversity_of_one(store: Store) -> None:
    figures = measured(store, noise)
    assert figures["guard/diversity"] == pytest.approx(1, abs=0.1)
    assert figures["guard/class_diversity"] == pytest.approx(1, abs=0.1)
    assert figures["guard/copies"] == figures["guard/copies_held_out"] == 0


def test_collapse_shows_and_so_does_that_of_each_class(store: Store) -> None:
    assert measured(store, lambda z, labels: torch.zeros(len(z), 1, SIDE, SIDE))["guard/diversity"] == 0
    figures = measured(store, lambda z, labels: noise(torch.zeros_like(z), labels))
    assert figures["guard/class_diversity"] == 0 < 0.4 < figures["guard/diversity"]


def test_a_generator_of_training_images_copies(store: Store) -> None:
    training = real(store, np.arange(NUM))
    figures = measured(store, lambda z, labels: training[: len(z)])
    assert figures["guard/copies"] == 1
    assert figures["guard/copies_held_out"] == 0
    half = torch.cat([training[: NUM // 2], torch.zeros(NUM // 2, 1, SIDE, SIDE)])
    assert measured(store, lambda z, labels: half)["guard/copies"] == 0.5


@pytest.mark.parametrize("change", ["mirrored", "shifted", "recoloured"])
def test_near_copies_are_copies_as_for_the_metric(store: Store, change: str) -> None:
    training = real(store, np.arange(NUM))
    changed = {
        "mirrored": training.flip(-1),
        "shifted": training.roll(1, dims=-1),
        "recoloured": training + 8 / 127.5,
    }[change].clamp(-1, 1)
    figures = measured(store, lambda z, labels: changed[: len(z)])
    assert figures["guard/copies"] > 0.9 and figures["guard/copies_held_out"] == 0
    images = np.stack([to_array(to_uint8(image[None]))[0] for image in changed])
    assert figures["guard/copies"] == pytest.approx(
        Originals.of(store.images[:NUM]).find_copies(images).mean(), abs=0.05
    )


def test_images_that_are_held_out_but_twins_of_training_images_are_counted(store: Store) -> None:
    twins = dataclasses.replace(store, images=np.concatenate([store.images[:NUM]] * 2))
    figures = measured(twins, noise)
    assert figures["guard/copies_held_out"] == 1 and figures["guard/copies"] == 0


def test_overfitting_is_where_unseen_images_lie_between_training_images_and_samples(store: Store) -> None:
    training, unseen = (real(store, np.arange(start, start + NUM)) for start in (0, NUM))

    def knowing(known: Tensor, value: float) -> Callable[[Tensor], Tensor]:
        def say(images: Tensor) -> Tensor:
            at_home = (images[:, None] - known[None]).abs().amax(dim=(2, 3, 4)).amin(dim=1) < 1e-3
            among_training = (images[:, None] - training[None]).abs().amax(dim=(2, 3, 4)).amin(dim=1) < 1e-3
            return among_training.float() * 4 + at_home.float() * value

        return say

    for value in (0.0, 1.0, 4.0):
        figures = measured(store, noise, knowing(unseen, value))
        assert figures["guard/overfitting"] == pytest.approx(1 - value / 4)


def test_figures_without_meaning_are_left_out(store: Store) -> None:
    figures = measured(store, noise, held_out=5)  # too few to tell
    assert figures.keys() == {"guard/diversity", "guard/class_diversity", "guard/copies"}
    backwards = measured(store, noise, lambda images: -torch.ones(len(images)) * images.std(dim=(1, 2, 3)).lt(9))
    assert "guard/overfitting" not in backwards  # no gap between training images and samples to lie in
    broken = measured(
        store, lambda z, labels: torch.full((len(z), 1, SIDE, SIDE), torch.nan), lambda images: images[:, 0, 0, 0]
    )
    assert all(np.isfinite(value) for value in broken.values())


def test_data_of_one_image_again_and_again_have_no_diversity(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "same.npz", images=np.full((2 * NUM, SIDE, SIDE, 1), 90, np.uint8), labels=np.arange(2 * NUM) % 2
    )
    figures = measured(prepare(Npz(path=tmp_path / "same.npz")), noise)
    assert figures.keys() == {"guard/copies", "guard/copies_held_out"} | ({"guard/overfitting"} & figures.keys())


def test_nothing_is_left_changed_and_the_same_comes_again(store: Store) -> None:
    """Batch statistics, spectral norms, modes, random numbers: training goes on as if nobody had looked."""
    model = DCGAN(width=4, depth=2, z_dim=8, dropout=0.5, spectral_norm=True)
    config = Config(data=Npz(path=Path("nowhere.npz")), batch_size=8, model=model)
    state = TrainState.create(config, DataFacts.of(store).spec(use_labels=True), CPU, NUM)
    sampler = make_sampler(state.generator, config, DataFacts.of(store))
    before = [
        {name: each.clone() for name, each in net.state_dict().items()}
        for net in (state.generator, state.networks["discriminator"])
    ]
    random = torch.get_rng_state()
    probes = opened(store, sampler, num=100)
    figures = probes.measure(state)
    assert probes.measure(state) == figures and figures
    assert torch.equal(random, torch.get_rng_state())
    for net, kept in zip((state.generator, state.networks["discriminator"]), before, strict=True):
        assert net.training and all(torch.equal(each, kept[name]) for name, each in net.state_dict().items())
        assert all(parameter.grad is None for parameter in net.parameters())

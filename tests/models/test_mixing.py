"""Classes between classes, and layers of other samples: against networks whose embeddings are written by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gansmith.models.dcgan import DCGAN
from gansmith.models.dense import Dense
from gansmith.models.layers import ConditionalNorm
from gansmith.models.mixing import can_mix_classes, generate_images, list_entries, mix_entries
from gansmith.models.model import GeneratorNetwork, Model, suspend_training
from gansmith.models.projected import Projected
from gansmith.models.r3 import R3
from gansmith.models.resnet import ResNet
from gansmith.types import Images, ImageSpec, Labels, Latents

SPEC = ImageSpec(height=8, width=8, channels=3, num_classes=4)
MODELS: dict[str, Model] = {
    "dcgan": DCGAN(width=4, z_dim=6),
    "dcgan-embedding": DCGAN(width=4, z_dim=6, conditioning="embedding"),
    "dense": Dense(width=8, z_dim=6),
    "resnet": ResNet(width=4, z_dim=6),
    "r3": R3(width=4, z_dim=6),
    "projected": Projected(width=4, z_dim=6),
}


def perturbed(model: Model, spec: ImageSpec = SPEC) -> GeneratorNetwork:
    """A generator whose classes differ, as after training."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = model.generator(spec).eval()
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return network


class OneHot(GeneratorNetwork):
    """Reads the class as a one-hot vector, and through an embedding too if asked."""

    def __init__(self, *, embedded: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(6 + 4, 3)
        self.embedding = nn.Embedding(4, 6) if embedded else None

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        assert labels is not None
        if self.embedding is not None:
            z = z + self.embedding(labels)
        seen = self.layer(torch.cat([z, F.one_hot(labels, 4).float()], dim=1))
        return torch.tanh(seen)[:, :, None, None].expand(-1, -1, 8, 8)


Z = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_mixture_is_the_image_of_the_mean_embedding(name: str) -> None:
    network = perturbed(MODELS[name])
    labels = torch.tensor([0, 3, 2])
    assert can_mix_classes(network, Z[:1], 4)
    torch.testing.assert_close(generate_images(network, Z, torch.eye(4)[labels]), network(Z, labels))
    weights = torch.tensor([[0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 0]])
    mixed = generate_images(network, Z, weights)
    for i, row in enumerate(weights):
        by_hand = copy.deepcopy(network)
        for module in by_hand.modules():
            if isinstance(module, nn.Embedding):
                module.weight[0] = sum(share * module.weight[k].clone() for k, share in enumerate(row.tolist()))
        torch.testing.assert_close(mixed[i : i + 1], by_hand(Z[i : i + 1], torch.tensor([0])), rtol=1e-4, atol=1e-5)
    assert (mixed[0] - network(Z[:1], labels[:1])[0]).abs().max() > 0.02


@pytest.mark.parametrize("embedded", [True, False])
def test_a_network_that_reads_the_class_in_another_way_cannot_mix(embedded: bool) -> None:
    assert not can_mix_classes(OneHot(embedded=embedded), Z[:1], 4)
    assert not can_mix_classes(perturbed(DCGAN(width=4, z_dim=6), ImageSpec(height=8, width=8, channels=3)), Z[:1], 0)


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("dcgan", ["stages.0"]),
        ("dcgan-embedding", ["embedding"]),
        ("dense", ["embedding"]),
        ("resnet", ["blocks.0.residual.0", "blocks.0.residual.3", "last.0"]),
        ("r3", ["embedding"]),
        ("projected", ["stages.0.0"]),
    ],
)
def test_layers_that_read_the_class_in_the_order_in_which_they_compute(name: str, entries: list[str]) -> None:
    assert list(list_entries(perturbed(MODELS[name]), Z[:1], torch.tensor([0]), 4)) == entries


@torch.no_grad()
def test_layers_of_another_class_are_those_of_its_embeddings() -> None:
    network = perturbed(ResNet(width=4, z_dim=6))
    own, other = torch.tensor([0, 1, 2]), torch.tensor([3, 3, 0])
    entries = list_entries(network, Z[:1], own[:1], 4)
    pair = (Z, own), (torch.randn(3, 6), other)  # no gates, so the other latent has no effect
    torch.testing.assert_close(mix_entries(network, *pair, (), 4), network(Z, own))
    torch.testing.assert_close(mix_entries(network, *pair, entries, 4), network(Z, other))
    mixed = mix_entries(network, *pair, ["last.0"], 4)
    by_hand = copy.deepcopy(network)
    late = by_hand.get_submodule("last.0")
    assert isinstance(late, ConditionalNorm)
    for table in (late.scale.weight, late.shift.weight):
        table[own] = table[other].clone()  # 0, 1, 2 become 3, 3, 0
    torch.testing.assert_close(mixed, by_hand(Z, own))
    assert (mixed - network(Z, own)).abs().max() > 0.02 < (mixed - network(Z, other)).abs().max()


@pytest.mark.parametrize("num_classes", [0, 4])
@torch.no_grad()
def test_gates_bring_the_other_latent_into_late_layers(num_classes: int) -> None:
    spec = ImageSpec(height=64, width=64, channels=3, num_classes=num_classes)
    network: Any = perturbed(Projected(width=2, max_multiple=2, z_dim=6), spec)
    labels = torch.tensor([0, 1, 2]) if num_classes else None
    entries = list_entries(network, Z[:1], None if labels is None else labels[:1], num_classes)
    assert entries[-1] == "gates.0" and len(entries) == (1 + 4 if num_classes else 1)
    mixed = mix_entries(network, (Z, labels), (Z.flip(0), labels), ["gates.0"], num_classes)
    small: list[torch.Tensor] = []
    hook = network.gates[0].register_forward_pre_hook(lambda module, given: small.append(given[0]))
    network(Z.flip(0), labels)
    hook.remove()
    hook = network.gates[0].register_forward_pre_hook(lambda module, given: (small[0],))
    by_hand = network(Z, labels)
    hook.remove()
    torch.testing.assert_close(mixed, by_hand)
    assert (mixed - network(Z, labels)).abs().max() > 0.01
    same = mix_entries(network, (Z, labels), (Z, labels), entries, num_classes)
    torch.testing.assert_close(same, network(Z, labels))


def test_training_goes_on_after_the_block_also_after_an_error() -> None:
    network = perturbed(Dense(width=8, z_dim=6)).train()
    with pytest.raises(KeyError), suspend_training(network):
        assert not network.training and not torch.is_grad_enabled()
        raise KeyError
    assert network.training and torch.is_grad_enabled()

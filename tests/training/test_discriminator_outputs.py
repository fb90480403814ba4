"""Discriminators with several heads, features and class logits; and what is added to the generator's loss."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import override_as_user
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.errors import ConfigError
from gansmith.losses import Hinge, RelativisticPairing, Sigmoid, discriminator_loss, generator_loss
from gansmith.penalties import DiscriminatorPass, Penalty, PerSample
from gansmith.regularizers import FeatureMatching, GeneratorPass, ModeSeeking
from gansmith.training.adversarial import discriminator_step, generator_step
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import draw_latents, generate, train_step
from gansmith.types import Batch, DiscriminatorOutput, Images, ImageSpec, Labels

CPU = Compute(device=torch.device("cpu"), precision="float32")
SPEC = ImageSpec(height=8, width=8, channels=1, num_classes=3)


class Rich(nn.Module):
    """A discriminator with a map of logits, a head for the whole image, a feature map and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.patches = nn.Conv2d(1, 4, 4, 2, 1), nn.Conv2d(4, 1, 3, 1, 1)
        self.whole, self.classes = nn.Linear(64, 1), nn.Linear(64, 3)

    def forward(self, images: Images, labels: Labels | None = None) -> DiscriminatorOutput:
        features = F.leaky_relu(self.first(images), 0.2)
        flat = features.flatten(1)
        heads = (self.whole(flat).squeeze(1), self.patches(features).squeeze(1))
        return DiscriminatorOutput(heads=heads, features=(features,), class_logits=self.classes(flat))


@dataclass(frozen=True, kw_only=True)
class AuxiliaryClassifier(Penalty):
    """Cross-entropy of the classes of real and fake images (Odena et al. 2017)."""

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        assert scored.labels is not None and scored.real.class_logits is not None
        assert scored.fake.class_logits is not None
        of_real = F.cross_entropy(scored.real.class_logits, scored.labels, reduction="none")
        return of_real + F.cross_entropy(scored.fake.class_logits, scored.labels, reduction="none")


def make_state(**changes: Any) -> TrainState:
    config = Config(data=Npz(path=Path("nowhere.npz")), seed=3)
    fields = {"model.width": 4, "model.z_dim": 6, "model.generator_norm": "none", "batch_size": 8}
    config = override_as_user(config, {**fields, **changes})
    torch.manual_seed(0)
    pair = {"generator": config.model.generator(SPEC), "discriminator": Rich()}
    return TrainState.create(config, SPEC, CPU, epoch_size=8, networks=lambda: pair)


def make_batch() -> Batch:
    stream = torch.Generator().manual_seed(0)
    return Batch(torch.randint(0, 256, (8, 1, 8, 8), generator=stream).to(torch.uint8), torch.arange(8) % 3)


def test_a_plain_tensor_is_one_head_and_a_list_several() -> None:
    logits = torch.tensor([1.0, 2.0])
    assert DiscriminatorOutput.of(logits).logits is logits
    several = DiscriminatorOutput.of([logits, torch.tensor([[1.0, 3.0], [0.0, 4.0]])])
    assert several.logits.tolist() == [3.0, 4.0]
    assert DiscriminatorOutput.of(several) is several


@pytest.mark.parametrize("loss", [Sigmoid(), Hinge(), RelativisticPairing()])
def test_the_loss_of_several_heads_is_the_sum_of_their_means(loss: Any) -> None:
    real, fake = (
        DiscriminatorOutput.of([torch.randn(4, generator=stream), torch.randn(4, 2, 3, generator=stream)])
        for stream in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    )

    def by_hand(function: Any) -> Tensor:
        positions = [function(real.heads[1][:, i, j], fake.heads[1][:, i, j]) for i in range(2) for j in range(3)]
        mean: Tensor = sum(positions) / 6
        whole: Tensor = function(real.heads[0], fake.heads[0])
        return whole + mean

    torch.testing.assert_close(discriminator_loss(loss, real, fake), by_hand(loss.discriminator))
    given = real if loss.pairs else None
    torch.testing.assert_close(
        generator_loss(loss, given, fake),
        by_hand(loss.generator if loss.pairs else lambda _, logits: loss.generator(logits.new_empty(0), logits)),
    )


def test_a_discriminator_with_everything_trains_with_penalties_on_all_of_it() -> None:
    state, batch = make_state(penalties=["r1", f"{__name__}:AuxiliaryClassifier"]), make_batch()
    before = copy.deepcopy(state.networks)
    for _ in range(3):
        train_step(state, lambda *_: batch)
    record = state.statistics.collect()
    assert {"penalty/r1", "penalty/auxiliaryclassifier", "logits/real"} <= record.keys()
    for name, network in state.networks.items():
        changed = [not torch.equal(a, b) for a, b in zip(network.parameters(), before[name].parameters(), strict=True)]
        assert all(changed), name


def test_the_auxiliary_classifiers_gradient_is_that_of_cross_entropy() -> None:
    state, batch = make_state(penalties=[f"{__name__}:AuxiliaryClassifier"]), make_batch()
    plain = copy.deepcopy(state.networks["discriminator"])
    fake = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(5)).clamp(-1, 1)
    discriminator_step(state, batch, fake)
    logits = [plain(images).class_logits for images in (batch.images.float() / 127.5 - 1, fake)]
    assert batch.labels is not None
    loss = sum(F.cross_entropy(each, batch.labels) for each in logits)
    (wanted,) = torch.autograd.grad(loss, plain.classes.weight)  # which adversarial logits do not reach
    torch.testing.assert_close(state.networks["discriminator"].classes.weight.grad, wanted)


def test_feature_matching_compares_the_means_of_features() -> None:
    state, batch = make_state(regularizers=[{"name": "feature-matching", "gamma": 2.5}]), make_batch()
    g, d = copy.deepcopy(state.networks["generator"]), copy.deepcopy(state.networks["discriminator"])
    z = draw_latents(state, salt=0)
    generator_step(state, batch, generate(state, z, batch.labels), z)
    real, fake = d(batch.images.float() / 127.5 - 1), d(g(z, batch.labels))
    distance = (fake.features[0].mean(0) - real.features[0].mean(0)).square().mean()
    adversarial = sum(F.softplus(-head).mean() for head in fake.heads)
    wanted = torch.autograd.grad(adversarial + 2.5 * distance, list(g.parameters()))
    for found, gradient in zip(state.networks["generator"].parameters(), wanted, strict=True):
        torch.testing.assert_close(found.grad, gradient, rtol=1e-4, atol=1e-7)
    assert state.statistics.last_means()["regularizer/featurematching"] == pytest.approx(distance.item(), rel=1e-4)


def test_feature_matching_needs_features() -> None:
    images, logits = torch.zeros(2, 1, 8, 8), DiscriminatorOutput.of(torch.zeros(2))
    scored = GeneratorPass(
        generate=lambda z, labels: images,
        latents=torch.zeros(2, 3),
        fresh_latents=lambda: torch.ones(2, 3),
        labels=None,
        fake_images=images,
        fake=logits,
        real=logits,
    )
    with pytest.raises(ConfigError, match="feature-matching needs a discriminator that returns features"):
        FeatureMatching().per_sample(scored)


def test_mode_seeking_is_the_latents_distance_over_that_of_the_images() -> None:
    z, other = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 2.0]])

    def generate_doubled(z: Tensor, labels: Labels | None) -> Images:
        return (2 * z).reshape(-1, 1, 1, 2)

    scored = GeneratorPass(
        generate=generate_doubled,
        latents=z,
        fresh_latents=lambda: other,
        labels=None,
        fake_images=generate_doubled(z, None),
        fake=DiscriminatorOutput.of(torch.zeros(2)),
        real=None,
    )
    assert ModeSeeking().per_sample(scored).tolist() == pytest.approx([1.5 / 3, 2 / 4], rel=1e-4)


def test_a_regularizer_acts_at_its_steps_with_its_weight_and_reaches_the_generator() -> None:
    often, rare = make_state(regularizers="mode-seeking"), make_state(regularizers="mode-seeking")
    rare.config = override_as_user(rare.config, {"regularizers.0.every": 2})
    plain, batch = make_state(), make_batch()
    for state in (often, rare, plain):
        train_step(state, lambda *_: batch)
        state.statistics.collect()
        train_step(state, lambda *_: batch)
    weights = [next(iter(state.networks["generator"].parameters())) for state in (often, rare, plain)]
    assert not torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])
    assert "regularizer/modeseeking" in often.statistics.collect()
    assert "regularizer/modeseeking" not in rare.statistics.collect()


def test_regularizers_have_the_sums_of_the_whole_in_micro_batches() -> None:
    gradients = []
    for size in (8, 3):
        state, batch = make_state(regularizers="mode-seeking", micro_batch=size), make_batch()
        z = draw_latents(state, salt=0)
        generator_step(state, batch, generate(state, z, batch.labels), z)
        gradients.append([parameter.grad for parameter in state.networks["generator"].parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_discriminator_with_another_number_of_weights_than_heads_is_refused() -> None:
    heads = (torch.zeros(2), torch.ones(2))
    assert DiscriminatorOutput(heads=heads, weights=(0.5, 1.0)).logits.tolist() == [1, 1]
    with pytest.raises(ConfigError, match="returned 2 heads and 1 weights; expected one weight for each head, or none"):
        DiscriminatorOutput(heads=heads, weights=(0.5,))

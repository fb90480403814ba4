"""Every model makes a generator and a discriminator that work, for any image, with and without classes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gansmith.component import from_plain, member, to_plain
from gansmith.models import MODELS
from gansmith.models.model import Model
from gansmith.types import DiscriminatorOutput, ImageSpec, Labels

SPECS = [
    ImageSpec(height=28, width=28, channels=1),
    ImageSpec(height=32, width=32, channels=3, num_classes=5),
    ImageSpec(height=47, width=30, channels=4),
    ImageSpec(height=64, width=48, channels=3, num_classes=3),
    ImageSpec(height=8, width=8, channels=1),
    ImageSpec(height=128, width=128, channels=3),
    ImageSpec(height=17, width=23, channels=1, num_classes=2),
    ImageSpec(height=3, width=3, channels=4),
    ImageSpec(height=2, width=9, channels=1),
]
PLAIN, CLASSES = SPECS[4], ImageSpec(height=16, width=12, channels=3, num_classes=3)


def small(name: str, **fields: Any) -> Model:
    return member(Model, name, "model")(width=4, z_dim=6, **fields)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def inputs(spec: ImageSpec, num: int = 6) -> tuple[Tensor, Labels | None]:
    z = torch.randn(num, 6, generator=torch.Generator().manual_seed(0))
    return z, torch.arange(num) % spec.num_classes if spec.num_classes else None


def networks(model: Model, spec: ImageSpec, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Both networks, each parameter pushed away from where it starts, as training would."""
    torch.manual_seed(seed)
    pair = model.generator(spec), model.discriminator(spec)
    with torch.no_grad():
        for parameter in [*pair[0].parameters(), *pair[1].parameters()]:
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return pair


def apply(network: nn.Module, x: Tensor, labels: Labels | None) -> Tensor:
    """Images, or one logit for each image."""
    values = network(x, labels)
    return values if isinstance(values, Tensor) else DiscriminatorOutput.of(values).logits


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_shapes_and_types(name: str, spec: ImageSpec) -> None:
    z, labels = inputs(spec, num=2)
    generator, discriminator = networks(small(name), spec)
    images = generator(z, labels)
    assert images.shape == (2, spec.channels, spec.height, spec.width) and images.dtype == torch.float32
    logits = apply(discriminator, images, labels)
    assert logits.shape == (2,) and logits.dtype == torch.float32 and logits.isfinite().all()


@pytest.mark.parametrize(("output", "low", "high"), [("tanh", -1.0, 1.0), ("sigmoid", 0.0, 1.0)])
def test_pixels_fill_the_range_of_the_output(name: str, output: str, low: float, high: float) -> None:
    model = small(name, output=output)
    generator, _ = networks(model, CLASSES)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(5)
    images = generator(*inputs(CLASSES)).detach()
    assert model.value_range == (low, high)
    assert low <= images.min() < low + 0.05 and high - 0.05 < images.max() <= high


@pytest.mark.parametrize(("latent", "low", "deviation"), [("normal", -6.0, 1.0), ("uniform", -1.0, 3**-0.5)])
def test_latents_are_drawn_from_the_stream(name: str, latent: str, low: float, deviation: float) -> None:
    model = small(name, latent=latent)
    first, again = (model.draw_latents(5000, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (5000, 6) and first.dtype == torch.float32
    assert low <= first.min() and first.mean().abs() < 0.02 and (first.std() - deviation).abs() < 0.02


@pytest.mark.parametrize("spec", [PLAIN, CLASSES], ids=str)
def test_weights_survive_a_state_dict(name: str, spec: ImageSpec) -> None:
    z, labels = inputs(spec)
    images = torch.randn(6, spec.channels, spec.height, spec.width)
    pairs = zip(networks(small(name), spec), networks(small(name), spec, seed=1), (z, images), strict=True)
    for network, twin, x in pairs:
        network.eval(), twin.eval()
        assert not torch.equal(apply(network, x, labels), apply(twin, x, labels))
        twin.load_state_dict(copy.deepcopy(network.state_dict()))
        assert torch.equal(apply(network, x, labels), apply(twin, x, labels))


def test_each_class_has_its_own_images_and_logits(name: str) -> None:
    generator, discriminator = (network.eval() for network in networks(small(name), CLASSES))
    z = torch.randn(1, 6).expand(3, 6)
    images = generator(z, torch.arange(3))
    logits = apply(discriminator, images[:1].expand(3, -1, -1, -1), torch.arange(3))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (images[a] - images[b]).abs().max() > 1e-3 and logits[a] != logits[b]


def test_without_classes_labels_are_ignored(name: str) -> None:
    generator, discriminator = (network.eval() for network in networks(small(name), PLAIN))
    z, _ = inputs(PLAIN)
    images = generator(z, None)
    assert torch.equal(generator(z, torch.arange(6)), images)
    assert torch.equal(apply(discriminator, images, torch.arange(6)), apply(discriminator, images, None))


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("spec", [PLAIN, CLASSES], ids=str)
def test_it_says_truly_whether_a_batch_s_images_depend_on_each_other(name: str, norm: str, spec: ImageSpec) -> None:
    fields = {field: norm for field in ("generator_norm", "discriminator_norm") if hasattr(small(name), field)}
    model = small(name, **fields)
    z, labels = inputs(spec)
    generator, discriminator = (network.train() for network in networks(model, spec))
    images = generator(z, labels).detach()
    depends = depends_on_the_batch(generator, z, labels) or depends_on_the_batch(discriminator, images, labels)
    assert depends == model.batch_statistics


def depends_on_the_batch(network: nn.Module, x: Tensor, labels: Labels | None) -> bool:
    twins = [copy.deepcopy(network) for _ in range(2)]
    three, six = (
        apply(twin, x[:n], None if labels is None else labels[:n]) for twin, n in zip(twins, (3, 6), strict=True)
    )
    return bool((three - six[:3]).abs().max() > 1e-4)


@pytest.mark.parametrize("spec", [PLAIN, CLASSES], ids=str)
def test_the_first_weights_follow_torch_s_seed(name: str, spec: ImageSpec) -> None:
    first, again, other = (networks(small(name), spec, seed) for seed in (7, 7, 8))
    for a, b, c in zip(first, again, other, strict=True):
        assert all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())
        assert all(not torch.equal(*pair) for pair in zip(a.parameters(), c.parameters(), strict=True))


@pytest.mark.parametrize(("init", "small_weights"), [("dcgan", True), ("torch", False)])
def test_weights_start_as_asked_for(name: str, init: str, small_weights: bool) -> None:
    if not hasattr(small(name), "init"):
        pytest.skip("its weights start in one way only")
    torch.manual_seed(0)
    model, spec = small(name, init=init), ImageSpec(height=12, width=12, channels=1)
    for network in (model.generator(spec), model.discriminator(spec)):
        weights = [parameter for parameter in network.parameters() if parameter.dim() > 1 and parameter.numel() > 100]
        close = [abs(weight.std().item() / 0.02 - 1) < 0.2 for weight in weights]
        assert close and all(close) == small_weights


@pytest.mark.parametrize("spec", [PLAIN, CLASSES], ids=str)
def test_gradients_reach_every_parameter(name: str, spec: ImageSpec) -> None:
    z, labels = inputs(spec)
    generator, discriminator = networks(small(name), spec)
    apply(discriminator, generator(z, labels), labels).square().sum().backward()
    for network in (generator, discriminator):
        missed = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert missed == []


@pytest.mark.parametrize("spec", [PLAIN, CLASSES], ids=str)
def test_under_autocast_images_and_logits_are_still_float32(name: str, spec: ImageSpec) -> None:
    pair = networks(small(name), spec)
    generator, discriminator = (network.to(memory_format=torch.channels_last) for network in pair)
    z, labels = inputs(spec)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(z, labels)
        logits = apply(discriminator, images, labels)
    assert images.dtype == logits.dtype == torch.float32  # the last digits matter to the loss


def test_it_survives_plain_data(name: str) -> None:
    assert from_plain(Model, to_plain(small(name)), "model") == small(name)

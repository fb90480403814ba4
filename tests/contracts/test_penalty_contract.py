"""Every penalty: closed forms on discriminators simple enough to have one, and what all penalties have in common."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from gansmith.component import member
from gansmith.errors import ConfigError
from gansmith.feature_penalties import FakeContrast, NoiseConsistency
from gansmith.penalties import (
    PENALTIES,
    R1,
    R2,
    Consistency,
    DiscriminatorPass,
    Dragan,
    FeatureViews,
    LeCam,
    Penalty,
    WganGp,
    scaled_gamma,
)
from gansmith.schedules import Linear
from gansmith.types import DiscriminatorOutput, Images, ImageSpec, Labels

SHAPE = (5, 2, 3, 4)


class Quadratic(nn.Module):
    """D(x) = w.x + a |x|^2 / 2, whose gradient is w + a x."""

    def __init__(self, slope: float, curvature: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(SHAPE[1:], generator=torch.Generator().manual_seed(1)) * slope)
        self.a = nn.Parameter(torch.tensor(float(curvature)))

    def forward(self, images: Images, labels: Labels | None) -> Tensor:
        return (self.w * images + self.a / 2 * images**2).sum(dim=(1, 2, 3))


def scored_by(discriminator: Callable[[Images, Labels | None], Tensor]) -> DiscriminatorPass:
    stream = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(SHAPE, generator=stream).requires_grad_() for _ in range(2))

    def output(images: Images) -> DiscriminatorOutput:
        features = torch.cat([discriminator(images * factor, None)[:, None] for factor in (1, 2, -1)], dim=1)
        return DiscriminatorOutput(heads=(discriminator(images, None),), features=(features,))

    def modulated(images: Images, deviation: Tensor) -> Tensor:
        return output(images * (1 + deviation * torch.randn(SHAPE[0], 1, 1, 1, generator=stream))).features[0]

    views = FeatureViews(
        modulated=modulated,
        neighbours=lambda deviation: output(torch.cat([fake, fake.flip(0)]) * (1 + deviation)).features[0].detach(),
        rows=torch.arange(SHAPE[0]),
        overfitting=torch.tensor(0.5),
    )
    return DiscriminatorPass(
        score=discriminator,
        real_images=real,
        fake_images=fake,
        labels=None,
        real=output(real),
        fake=output(fake),
        uniform=lambda shape: torch.rand(SHAPE[0], *shape, generator=stream),
        augmented=lambda operations, images: images.roll(1, dims=3),
        real_average=torch.tensor(0.5),
        fake_average=torch.tensor(-0.25),
        views=views,
    )


def squares(x: Tensor) -> Tensor:
    return x.square().sum(dim=(1, 2, 3))


@pytest.fixture(params=PENALTIES)
def penalty(request: pytest.FixtureRequest) -> Penalty:
    return member(Penalty, request.param, "penalty")()


@pytest.mark.parametrize("penalty", [R1(), R2()])
def test_on_a_linear_discriminator_it_is_half_the_squared_weight(penalty: Penalty) -> None:
    discriminator = Quadratic(slope=1, curvature=0)
    expected = (discriminator.w.detach().square().sum() / 2).expand(SHAPE[0])
    torch.testing.assert_close(penalty.per_sample(scored_by(discriminator)).detach(), expected)


@pytest.mark.parametrize(("penalty", "images"), [(R1(), "real_images"), (R2(), "fake_images")])
def test_on_a_quadratic_one_value_and_second_gradient_have_a_closed_form(penalty: Penalty, images: str) -> None:
    discriminator = Quadratic(slope=0.3, curvature=0.7)
    scored = scored_by(discriminator)
    w, a, x = discriminator.w.detach(), discriminator.a.detach(), getattr(scored, images).detach()
    values = penalty.per_sample(scored)
    torch.testing.assert_close(values.detach(), squares(w + a * x) / 2)
    values.mean().backward()
    torch.testing.assert_close(discriminator.w.grad, (w + a * x).mean(dim=0))
    torch.testing.assert_close(discriminator.a.grad, ((w + a * x) * x).sum(dim=(1, 2, 3)).mean())


def test_it_is_per_sample_and_unweighted(penalty: Penalty) -> None:
    scored = scored_by(Quadratic(slope=0.3, curvature=0.7))
    values = penalty.per_sample(scored).detach()
    assert values.shape == SHAPE[:1] and values.dtype == torch.float32 and (values > 0).all()
    assert len(values.unique()) == SHAPE[0]
    heavier = type(penalty)(gamma=10, every=4).per_sample(scored_by(Quadratic(slope=0.3, curvature=0.7)))
    torch.testing.assert_close(heavier.detach(), values)


@pytest.mark.parametrize("penalty", [R1(), R2(), Consistency()])
def test_it_vanishes_where_the_discriminator_is_flat(penalty: Penalty) -> None:
    assert (penalty.per_sample(scored_by(Quadratic(slope=0, curvature=0))) == 0).all()


@pytest.mark.parametrize("penalty", [WganGp(), Dragan()])
def test_a_slope_is_to_be_one(penalty: Penalty) -> None:
    flat, steep = Quadratic(slope=0, curvature=0), Quadratic(slope=1, curvature=0)
    torch.testing.assert_close(penalty.per_sample(scored_by(flat)).detach(), torch.ones(SHAPE[0]))
    wanted = (steep.w.detach().norm() - 1).square().expand(SHAPE[0])
    torch.testing.assert_close(penalty.per_sample(scored_by(steep)).detach(), wanted)
    with torch.no_grad():
        steep.w /= steep.w.norm()
    torch.testing.assert_close(penalty.per_sample(scored_by(steep)).detach(), torch.zeros(SHAPE[0]), atol=1e-6, rtol=0)


def test_wgan_gp_looks_between_each_real_image_and_its_fake() -> None:
    scored = dataclasses.replace(scored_by(Quadratic(slope=0, curvature=1)), uniform=lambda shape: torch.full((), 0.25))
    middle = 0.25 * scored.real_images + 0.75 * scored.fake_images
    torch.testing.assert_close(WganGp().per_sample(scored), (squares(middle).sqrt() - 1).square())


def test_dragan_looks_half_a_deviation_around_the_real_images() -> None:
    scored = dataclasses.replace(scored_by(Quadratic(slope=0, curvature=1)), uniform=lambda shape: torch.full((), 0.8))
    near = scored.real_images + 0.4 * scored.real_images.std()
    torch.testing.assert_close(Dragan().per_sample(scored), (squares(near).sqrt() - 1).square())


@pytest.mark.parametrize(("penalty", "wanted"), [(WganGp(), (1, 1, 1)), (Dragan(), SHAPE[1:])])
def test_a_random_number_an_image_or_a_pixel(penalty: Penalty, wanted: tuple[int, ...]) -> None:
    asked: list[tuple[int, ...]] = []
    scored = scored_by(Quadratic(slope=0, curvature=1))
    uniform = scored.uniform
    penalty.per_sample(dataclasses.replace(scored, uniform=lambda shape: asked.append(tuple(shape)) or uniform(shape)))
    assert asked == [wanted]


def test_consistency_compares_an_image_with_its_augmented_self() -> None:
    asked: list[tuple[str, ...]] = []

    def doubled(operations: Sequence[str], images: Images) -> Images:
        asked.append(tuple(operations))
        return 2 * images

    scored = dataclasses.replace(scored_by(Quadratic(slope=1, curvature=0)), augmented=doubled)
    wanted = scored.real_logits.square() + scored.fake_logits.square()
    torch.testing.assert_close(Consistency(operations=("mirror",)).per_sample(scored), wanted)
    assert asked == [("mirror",), ("mirror",)]


def test_lecam_draws_each_kind_to_the_others_average() -> None:
    scored = scored_by(Quadratic(slope=1, curvature=0))
    wanted = (scored.real_logits + 0.25).square() + (scored.fake_logits - 0.5).square()
    torch.testing.assert_close(LeCam().per_sample(scored), wanted)


@pytest.mark.parametrize(("overfitting", "deviation"), [(0.25, 0.2), (-3.0, 0.0), (7.0, 0.8)])
def test_noise_consistency_compares_features_under_two_noises(overfitting: float, deviation: float) -> None:
    asked: list[tuple[Tensor, float]] = []
    answers = iter(torch.randn(4, SHAPE[0], 6, generator=torch.Generator().manual_seed(2)))
    kept = [each.clone() for each in torch.randn(4, SHAPE[0], 6, generator=torch.Generator().manual_seed(2))]
    scored = scored_by(Quadratic(slope=1, curvature=0))
    assert scored.views is not None
    views = dataclasses.replace(
        scored.views,
        modulated=lambda images, spread: asked.append((images, spread.item())) or next(answers),
        overfitting=torch.tensor(overfitting),
    )
    found = NoiseConsistency(deviation=0.8).per_sample(dataclasses.replace(scored, views=views))
    differences = ((kept[0] - kept[1]) ** 2, (kept[2] - kept[3]) ** 2)
    assert found.tolist() == pytest.approx(
        [sum(float(each[i].sum()) / 6 for each in differences) for i in range(SHAPE[0])]
    )
    assert [images is scored.real_images for images, _ in asked] == [True, True, False, False]
    assert [images is scored.fake_images for images, _ in asked] == [False, False, True, True]
    assert [spread for _, spread in asked] == pytest.approx([deviation] * 4)


def test_fake_contrast_is_the_share_of_an_images_own_neighbour() -> None:
    stream = torch.Generator().manual_seed(3)
    queries, keys = torch.randn(SHAPE[0], 4, generator=stream), torch.randn(9, 4, generator=stream)
    asked: list[float] = []
    scored = scored_by(Quadratic(slope=1, curvature=0))
    assert scored.views is not None
    views = dataclasses.replace(
        scored.views, neighbours=lambda deviation: asked.append(deviation) or keys, rows=torch.tensor([3, 4, 5, 6, 8])
    )
    fake = DiscriminatorOutput(heads=(scored.fake_logits,), features=(torch.zeros(0), queries.reshape(-1, 2, 2)))
    penalty = FakeContrast(temperature=0.5, deviation=0.7)
    found = penalty.per_sample(dataclasses.replace(scored, fake=fake, views=views))
    wanted = []
    for query, own in zip(queries.tolist(), (3, 4, 5, 6, 8), strict=True):
        dots = [sum(a * b for a, b in zip(query, key, strict=True)) for key in keys.tolist()]
        sizes = [math.hypot(*query) * math.hypot(*key) for key in keys.tolist()]
        shares = [math.exp(dot / size / 0.5) for dot, size in zip(dots, sizes, strict=True)]
        wanted.append(-math.log(shares[own] / sum(shares)))
    assert found.tolist() == pytest.approx(wanted, rel=1e-4) and asked == [0.7]


@pytest.mark.parametrize("penalty", [FakeContrast(), NoiseConsistency()])
def test_features_that_are_missing_are_asked_for(penalty: Penalty) -> None:
    scored = scored_by(Quadratic(slope=1, curvature=0))
    with pytest.raises(ConfigError, match="need a recipe that provides features"):
        penalty.per_sample(dataclasses.replace(scored, views=None))
    if isinstance(penalty, FakeContrast):
        without = dataclasses.replace(scored, fake=DiscriminatorOutput.of(scored.fake_logits))
        with pytest.raises(ConfigError, match="need a discriminator that returns features"):
            penalty.per_sample(without)


def test_gamma_follows_a_schedule_and_the_interval() -> None:
    penalty = R1(gamma=2, every=4, schedule=Linear(end=0.5))
    assert [penalty.weight(fraction) for fraction in (0.0, 0.5, 1.0)] == pytest.approx([8, 6, 4])


def test_gamma_is_scaled_by_pixels_and_batch() -> None:
    image = ImageSpec(height=32, width=32, channels=3)
    assert scaled_gamma(image, 64, gamma=0.5) == pytest.approx(0.5)
    assert scaled_gamma(image, 64) == pytest.approx(1.0)
    assert scaled_gamma(dataclasses.replace(image, height=16 * 32), 32, gamma=0.5) == pytest.approx(2.0)


def test_it_teaches_the_discriminator(penalty: Penalty) -> None:
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Softplus(), nn.Flatten(), nn.Linear(6, 1), nn.Flatten(0))
    weights = [parameter for parameter in layers.parameters() if parameter.dim() > 1]
    values = penalty.per_sample(scored_by(lambda images, labels: layers(images)))
    gradients = torch.autograd.grad(values.mean(), weights)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_pixels_are_summed_not_averaged() -> None:
    discriminator = Quadratic(slope=0, curvature=0)
    with torch.no_grad():
        discriminator.w[0, 0, 0] = 2.0
    torch.testing.assert_close(R1().per_sample(scored_by(discriminator)).detach(), torch.full(SHAPE[:1], 2.0))

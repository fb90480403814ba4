"""Every penalty: closed forms on discriminators simple enough to have one, and what all penalties have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gansmith.component import member
from gansmith.penalties import PENALTIES, R1, R2, DiscriminatorPass, Penalty
from gansmith.types import Images, Labels

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
    return DiscriminatorPass(
        score=discriminator,
        real_images=real,
        fake_images=fake,
        labels=None,
        real_logits=discriminator(real, None),
        fake_logits=discriminator(fake, None),
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


def test_it_vanishes_where_the_discriminator_is_flat(penalty: Penalty) -> None:
    assert (penalty.per_sample(scored_by(Quadratic(slope=0, curvature=0))) == 0).all()


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

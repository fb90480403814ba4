"""Every loss: closed forms and their gradients, and what all losses have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gansmith.component import member
from gansmith.losses import LOSSES, Hinge, LeastSquares, Loss, RelativisticPairing, Sigmoid, Wasserstein

REAL = torch.tensor([-3.0, -1.2, -0.1, 0.0, 0.4, 1.7, 5.0])
FAKE = torch.tensor([2.0, -0.7, 0.3, 0.0, -4.0, 1.1, 0.9])


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> Loss:
    return member(Loss, request.param, "loss")()


def cross_entropy(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), reduction="none")


def positive_part(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


Formula = Callable[[Tensor, Tensor], Tensor]
FORMULAS: list[tuple[Loss, Formula, Formula]] = [
    (Sigmoid(), lambda r, f: cross_entropy(r, 1) + cross_entropy(f, 0), lambda r, f: cross_entropy(f, 1)),
    (
        Sigmoid(saturating=True),
        lambda r, f: cross_entropy(r, 1) + cross_entropy(f, 0),
        lambda r, f: torch.log(1 - torch.sigmoid(f)),
    ),
    (LeastSquares(), lambda r, f: 0.5 * (r - 1) ** 2 + 0.5 * f**2, lambda r, f: 0.5 * (f - 1) ** 2),
    (Hinge(), lambda r, f: positive_part(1 - r) + positive_part(1 + f), lambda r, f: -f),
    (Wasserstein(), lambda r, f: f - r, lambda r, f: -f),
    (RelativisticPairing(), lambda r, f: cross_entropy(r - f, 1), lambda r, f: cross_entropy(f - r, 1)),
]


def values_and_gradients(formula: Formula) -> list[Tensor]:
    real, fake = REAL.double().requires_grad_(), FAKE.double().requires_grad_()
    values = formula(real, fake)
    return [values, *torch.autograd.grad(values.sum(), (real, fake), allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize(("loss", "discriminator", "generator"), FORMULAS, ids=lambda item: type(item).__name__)
def test_values_and_gradients_are_those_of_the_paper(loss: Loss, discriminator: Formula, generator: Formula) -> None:
    for ours, formula in ((loss.discriminator, discriminator), (loss.generator, generator)):
        torch.testing.assert_close(values_and_gradients(ours), values_and_gradients(formula))


def test_every_loss_has_a_formula_here() -> None:
    assert {type(loss) for loss, _, _ in FORMULAS} == {member(Loss, name, "loss") for name in LOSSES}


def test_a_sample_s_loss_is_its_own(loss: Loss) -> None:
    for function in (loss.discriminator, loss.generator):
        whole = function(REAL, FAKE)
        assert whole.shape == REAL.shape and whole.dtype == torch.float32
        alone = [function(REAL[i : i + 1], FAKE[i : i + 1]) for i in range(len(REAL))]
        torch.testing.assert_close(whole, torch.cat(alone))


def test_the_discriminator_wants_real_up_and_fake_down(loss: Loss) -> None:
    for logit in (-0.5, 0.0, 0.5):
        real, fake = torch.full((1,), logit, requires_grad=True), torch.full((1,), logit, requires_grad=True)
        loss.discriminator(real, fake).sum().backward()
        assert real.grad is not None and fake.grad is not None
        if not isinstance(loss, LeastSquares) or 0 < logit < 1:  # its targets are 0 and 1
            assert real.grad < 0 < fake.grad


def test_the_generator_wants_fake_up(loss: Loss) -> None:
    for logit in (-0.5, 0.0, 0.5):
        fake = torch.full((1,), logit, requires_grad=True)
        loss.generator(torch.zeros(1), fake).sum().backward()
        assert fake.grad is not None and fake.grad < 0


def test_real_logits_are_needed_by_pairing_losses_alone(loss: Loss) -> None:
    moved = not torch.equal(loss.generator(REAL, FAKE), loss.generator(REAL + 1, FAKE))
    assert moved == loss.pairs
    if not loss.pairs:
        assert torch.equal(loss.generator(torch.empty(0), FAKE), loss.generator(REAL, FAKE))


def test_pairing_losses_see_differences_alone() -> None:
    loss = RelativisticPairing()
    for function in (loss.discriminator, loss.generator):
        torch.testing.assert_close(function(REAL + 8, FAKE + 8), function(REAL, FAKE))
        assert not torch.equal(function(REAL, FAKE), function(REAL, FAKE + 8))


def test_large_logits_stay_numbers(loss: Loss) -> None:
    huge = torch.tensor([-1e4, 1e4], requires_grad=True)
    for function in (loss.discriminator, loss.generator):
        values = function(huge, -huge)
        (gradient,) = torch.autograd.grad(values.sum(), huge)
        assert values.isfinite().all() and gradient.isfinite().all()


def test_the_saturating_generator_has_no_gradient_while_d_wins() -> None:
    fake = torch.tensor([-30.0], requires_grad=True)
    for saturating, slope in ((True, 0.0), (False, -1.0)):
        (gradient,) = torch.autograd.grad(Sigmoid(saturating=saturating).generator(fake, fake).sum(), fake)
        torch.testing.assert_close(gradient, torch.tensor([slope]))

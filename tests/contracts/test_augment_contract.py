"""Every operation: what it leaves alone, that it can be learnt through, and that ranks and p change none of it.

Every family member: a probability that stays one, and plain data.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gansmith.augment import AUGMENTS, OPERATIONS, Augment, Transform, draw
from gansmith.component import from_plain, member, to_plain
from gansmith.images.pixels import SIGNED, UNIT
from gansmith.types import Images, ImageSpec
from unwaited import unwaited

SPECS = [
    ImageSpec(height=8, width=8, channels=3),
    ImageSpec(height=7, width=12, channels=1),
    ImageSpec(height=9, width=5, channels=4),
]
MANY = 400


@pytest.fixture(params=OPERATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SPECS, ids=str)
def spec(request: pytest.FixtureRequest) -> ImageSpec:
    found: ImageSpec = request.param
    return found


def drawn(names: tuple[str, ...], num: int, spec: ImageSpec, seed: int = 0) -> Transform:
    return draw(names, num, spec, torch.Generator().manual_seed(seed))


def pictures(num: int, spec: ImageSpec, dtype: torch.dtype = torch.float32) -> Images:
    stream = torch.Generator().manual_seed(7)
    images = torch.rand(num, spec.channels, spec.height, spec.width, generator=stream, dtype=dtype)
    return (2 * images - 1).contiguous(memory_format=torch.channels_last)


def test_what_comes_out_is_what_went_in(name: str, spec: ImageSpec) -> None:
    images = pictures(6, spec)
    found = drawn((name,), 6, spec)(images, 1.0)
    assert found.shape == images.shape and found.dtype == torch.float32 and torch.isfinite(found).all()
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_at_probability_0_no_bit_changes(name: str, spec: ImageSpec) -> None:
    images, transform = pictures(6, spec), drawn((name,), 6, spec)
    for p in (0.0, -1.0, torch.tensor(0.0)):
        for value_range in (SIGNED, UNIT):
            assert torch.equal(transform(images, p, value_range), images)


def test_all_of_them_at_once_leave_images_alone_at_probability_0(spec: ImageSpec) -> None:
    images = pictures(6, spec)
    assert torch.equal(drawn(tuple(OPERATIONS), 6, spec)(images, 0.0, UNIT), images)


def test_it_changes_images_unless_they_have_not_what_it_changes(name: str, spec: ImageSpec) -> None:
    images = pictures(16, spec)
    changed = (drawn((name,), 16, spec)(images, 1.0) - images).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert changed.any() != (spec.channels == 1 and OPERATIONS[name].needs_hues)


def test_it_happens_as_often_as_it_is_probable(name: str) -> None:
    spec = SPECS[0]
    images, transform = pictures(MANY, spec), drawn((name,), MANY, spec)

    def changed(p: float) -> Tensor:
        return (transform(images, p) - images).abs().amax(dim=(1, 2, 3)) > 0

    always, seldom = changed(1.0), changed(0.3)
    assert not (seldom & ~always).any()  # the same ones, whatever p
    assert seldom.sum() / always.sum() == pytest.approx(0.3, abs=0.1)
    assert torch.equal(changed(7.0), always)


def test_a_rank_gets_the_same_rows_as_the_whole(name: str, spec: ImageSpec) -> None:
    images, rows = pictures(8, spec), slice(2, 5)
    whole = drawn((name,), 8, spec)
    assert torch.equal(whole.part(rows)(images[rows], 0.7), whole(images, 0.7)[rows])


def test_the_stream_alone_decides(name: str) -> None:
    images = pictures(8, SPECS[0])
    first, again, other = (drawn((name,), 8, SPECS[0], seed)(images, 1.0) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_both_ranges_mean_the_same(name: str, spec: ImageSpec) -> None:
    images, transform = pictures(6, spec), drawn((name,), 6, spec)
    found = 2 * transform((images + 1) / 2, 1.0, UNIT) - 1
    torch.testing.assert_close(found, transform(images, 1.0, SIGNED), atol=1e-5, rtol=1e-5)


def test_colour_leaves_alpha_and_places_leave_colour(name: str) -> None:
    spec = SPECS[2]
    images = pictures(6, spec)
    found = drawn((name,), 6, spec)(images, 1.0)
    if OPERATIONS[name].kind == "colour":
        assert torch.equal(found[:, 3], images[:, 3])
    else:
        alpha = drawn((name,), 6, spec)(images[:, 3:].expand(-1, 4, -1, -1), 1.0)
        torch.testing.assert_close(found[:, 3], alpha[:, 0])


def test_it_is_differentiable_twice(name: str) -> None:
    spec = ImageSpec(height=3, width=4, channels=3)
    images = pictures(2, spec, torch.float64).requires_grad_()
    transform = drawn((name,), 2, spec)
    assert torch.autograd.gradcheck(lambda x: transform(x, 1.0), images)
    assert torch.autograd.gradgradcheck(lambda x: transform(x, 1.0).pow(3), images)


@pytest.mark.parametrize("names", [("color", "translation", "cutout"), tuple(OPERATIONS)])
def test_a_gradient_penalty_goes_through_it(names: tuple[str, ...]) -> None:
    """In channels-last memory, and as the same penalty in the other layout and in float64 has it."""
    spec = SPECS[0]
    transform = drawn(names, 6, spec)

    def gradients(dtype: torch.dtype, layout: torch.memory_format) -> list[Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(144, 1))
        network.to(dtype)
        images = pictures(6, spec, torch.float64).to(dtype).contiguous(memory_format=layout).requires_grad_()
        logits = network(transform(images, 0.8))
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        slope.square().sum().backward()
        return [weight.grad.double() for weight in network.parameters() if weight.grad is not None]

    reference = gradients(torch.float64, torch.contiguous_format)
    found = gradients(torch.float32, torch.channels_last)
    assert len(reference) >= 3 and all(gradient.abs().sum() > 0 for gradient in reference[:3])
    for ours, theirs in zip(found, reference, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_bfloat16_around_it_changes_nothing(name: str) -> None:
    images, transform = pictures(6, SPECS[0]), drawn((name,), 6, SPECS[0])
    with torch.autocast("cpu", torch.bfloat16):
        found = transform(images, 1.0)
    assert torch.equal(found, transform(images, 1.0))


@pytest.mark.gpu
def test_a_gpu_does_the_same(name: str) -> None:
    images, transform = pictures(6, SPECS[0]), drawn((name,), 6, SPECS[0])
    device = torch.device("cuda")
    moved, p = transform.to(device), torch.tensor(0.7, device=device)
    on_device = images.to(device)
    with unwaited():
        found = moved(on_device, p)
    torch.testing.assert_close(found.cpu(), transform(images, 0.7), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_it_survives_plain_data(augment: str) -> None:
    made = member(Augment, augment, "augment")(operations=("translation", "cutout"))
    assert from_plain(Augment, to_plain(made), "augment") == made

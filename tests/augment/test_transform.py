"""Transforms: operations compose as they would one after the other."""

from __future__ import annotations

import pytest
import torch

from gansmith.augment import OPERATIONS, Transform, draw
from gansmith.errors import ConfigError
from gansmith.images.pixels import UNIT
from gansmith.types import Images, ImageSpec

SPEC = ImageSpec(height=12, width=10, channels=3)
NUM = 40


def drawn(*names: str) -> Transform:
    return draw(names, NUM, SPEC, torch.Generator().manual_seed(0))


def pictures() -> Images:
    smooth = torch.randn(NUM, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(smooth, (12, 10), mode="bicubic")


def alone(transform: Transform, name: str) -> Transform:
    column = list(transform.effects).index(name)
    return Transform(chances=transform.chances[:, [column]], effects={name: transform.effects[name]})


@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.parametrize(
    "names",
    [
        ("color", "translation", "cutout"),
        ("brightness", "contrast", "luma-flip", "hue", "saturation", "mirror", "cutout"),
        ("mirror", "quarter-turn"),
        ("hue", "quarter-turn", "translation"),
    ],
)
def test_together_they_do_what_they_do_in_a_row(names: tuple[str, ...], p: float) -> None:
    images, transform = pictures(), drawn(*names)
    in_a_row = images
    for name in transform.effects:
        in_a_row = alone(transform, name)(in_a_row, p)
    torch.testing.assert_close(transform(images, p), in_a_row, atol=1e-5, rtol=1e-4)


def test_geometry_that_resamples_does_so_once() -> None:
    """A stretch and its inverse leave the images as they were, where one after the other would blur them."""
    images, transform = pictures(), drawn("scale", "stretch")
    inverse = {"scale": transform.effects["stretch"].inverse(), "stretch": transform.effects["stretch"]}
    both = Transform(chances=transform.chances, effects=inverse)
    torch.testing.assert_close(both(images, 1.0), images, atol=1e-4, rtol=1e-4)


def test_the_order_of_names_is_of_no_account() -> None:
    names = ("cutout", "color", "mirror", "color")
    assert list(drawn(*names).effects) == ["color", "mirror", "cutout"]
    assert torch.equal(drawn(*names)(pictures(), 0.5), drawn(*reversed(names))(pictures(), 0.5))


def test_without_operations_images_stay() -> None:
    images = pictures()
    assert torch.equal(drawn()(images, 1.0), images)


def test_parts_have_rows_of_everything() -> None:
    part = drawn(*OPERATIONS).part(slice(3, 9)).to(torch.device("cpu"))
    assert len(part.chances) == 6 and {len(effect) for effect in part.effects.values()} == {6}


def test_an_unknown_operation_is_refused_whoever_asks_for_it() -> None:
    with pytest.raises(ConfigError, match="no operation is called 'mirorr'; did you mean 'mirror'"):
        draw(("shift", "mirorr"), 4, ImageSpec(height=8, width=8, channels=3), torch.Generator())


def test_everything_happens_on_the_images_device_in_their_type() -> None:
    """Of which "meta", that has shapes and no numbers, stands for all others: tensors of two devices do not mix."""
    meta = torch.device("meta")
    for names in (("mirror", "cutout"), tuple(OPERATIONS)):
        transform = drawn(*names).to(meta)
        assert {effect.device for effect in (transform.chances, *transform.effects.values())} == {meta}
        for images in (pictures(), pictures()[:, :1]):
            found = transform(images.to(meta, torch.float64), torch.tensor(0.5, device=meta), UNIT)
            assert (found.device, found.dtype, found.shape) == (meta, torch.float64, images.shape)


def test_what_happens_has_a_probability_above_its_chance() -> None:
    images, names = pictures(), ("luma-flip", "mirror", "cutout")
    effects = {**drawn(*names).effects, "mirror": torch.diag(torch.tensor([-1.0, 1, 1])).expand(NUM, 3, 3)}
    effects["luma-flip"] = torch.diag(torch.tensor([-1.0, -1, -1, 1, 1])).expand(NUM, 5, 5)
    for chance, p, happens in ((0.0, 0.0, False), (0.5, 0.5, False), (0.5, 0.50001, True), (0.0, 1e-6, True)):
        found = Transform(chances=torch.full((NUM, 3), chance), effects=effects)(images, p)
        assert torch.equal(found, images) != happens
    one = {"mirror": effects["mirror"]}
    mixed = Transform(chances=torch.tensor([[0.5], [0.4]]).repeat(NUM // 2, 1), effects=one)(images, 0.5)
    assert torch.equal(mixed[::2], images[::2]) and torch.equal(mixed[1::2], images[1::2].flip(3))

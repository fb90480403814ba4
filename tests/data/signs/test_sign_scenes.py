"""Each factor does to the picture what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.signs.backgrounds import BACKGROUNDS, paint
from gansmith.data.signs.factors import Scene, draw_factors
from gansmith.data.signs.scenes import render

SIDE = 100
NO_ENTRY, NO_VEHICLES, STOP = (GTSRB_CLASSES.index(name) for name in ("no entry", "no vehicles", "stop"))


def picture(label: int = NO_VEHICLES, size: tuple[int, int] = (SIDE, SIDE), **changes: float) -> np.ndarray:
    """A clean picture but for these factors, float [h w 3]."""
    clean = {name: values[0].item() for name, values in draw_factors(1, 0, 0).items()}
    return render(label, Scene(**(clean | changes)), size, np.random.default_rng(0)).astype(float)


def plate(image: np.ndarray) -> np.ndarray:
    """Where the sign is, before a plain background."""
    return np.abs(image - image[0, 0]).max(-1) > 24


def centre_and_extent(mask: np.ndarray) -> tuple[float, float, int, int]:
    y, x = np.nonzero(mask)
    return float(x.mean() + 0.5), float(y.mean() + 0.5), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1


def roughness(image: np.ndarray, axis: int) -> float:
    return float(np.abs(np.diff(image, axis=axis)).mean())


@pytest.mark.parametrize("degrees", [-20, 0, 12])
def test_rotation_is_measured_on_the_bar_of_no_entry(degrees: float) -> None:
    image = picture(NO_ENTRY, rotation_degrees=degrees)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    bar = (image[..., 1] > 128) & (np.hypot(x, y) < 34)
    (xx, xy), (_, yy) = np.cov(x[bar], y[bar])
    assert np.degrees(np.arctan2(2 * xy, xx - yy) / 2) == pytest.approx(degrees, abs=1)


def test_place_and_scale_are_shares_of_the_shorter_side() -> None:
    found = centre_and_extent(plate(picture(scale=0.5, x=0.1, y=-0.2)))
    assert found == pytest.approx((60, 30, 50, 50), abs=1)


@pytest.mark.parametrize("size", [(60, 150), (150, 60)])
def test_the_sign_stays_square_and_in_the_middle_of_any_size(size: tuple[int, int]) -> None:
    found = centre_and_extent(plate(picture(size=size, scale=0.8)))
    assert found == pytest.approx((size[1] / 2, size[0] / 2, 48, 48), abs=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 2)])
def test_tiny_pictures_are_pictures(size: tuple[int, int]) -> None:
    assert picture(size=size, blur_sigma=0.04, motion_length=0.1, background_detail=1).shape == (*size, 3)


def test_yaw_takes_the_right_edge_away() -> None:
    mask = plate(picture(STOP, yaw_degrees=45))
    height = mask.sum(0)
    x = np.flatnonzero(height)
    assert height[x[-5]] < height[x[4]] - 2
    assert np.ptp(x) + 1 < 0.8 * mask.any(1).sum()


def test_pitch_takes_the_top_edge_away() -> None:
    mask = plate(picture(STOP, pitch_degrees=45))
    width = mask.sum(1)
    y = np.flatnonzero(width)
    assert width[y[4]] < width[y[-5]] - 2
    assert np.ptp(y) + 1 < 0.8 * mask.any(0).sum()


def test_a_stop_of_brightness_halves_or_doubles() -> None:
    assert picture(brightness_stops=-1).mean() == pytest.approx(picture().mean() / 2, rel=0.01)


def test_backlight_leaves_the_sign_alone() -> None:
    dim, bright = picture(backlight_stops=-1), picture(backlight_stops=0)
    assert dim[2, 2] == pytest.approx(bright[2, 2] / 2, abs=1)
    assert dim[SIDE // 2, SIDE // 2] == pytest.approx(bright[SIDE // 2, SIDE // 2], abs=1)


def test_contrast_scales_the_spread() -> None:
    assert picture(contrast=0.5).std() == pytest.approx(picture().std() / 2, rel=0.01)


def test_warmth_moves_blue_to_red() -> None:
    warm, neutral = (picture(warmth=warmth)[2, 2] for warmth in (0.2, 0))
    assert warm == pytest.approx(neutral * (1.2, 1, 0.8), abs=1)


def test_fading_takes_the_colour_away() -> None:
    fresh, faded = (np.ptp(picture(NO_ENTRY, fading=fading)[SIDE // 4, SIDE // 2]) for fading in (0, 0.5))
    assert faded < 0.6 * fresh


@pytest.mark.parametrize(("degrees", "axis", "end"), [(0, 1, -1), (90, 0, -1), (180, 1, 0), (270, 0, 0)])
def test_light_grows_and_shadows_fall_where_they_are_said_to(degrees: float, axis: int, end: int) -> None:
    def ratio(**changes: float) -> float:
        strips = picture(**changes).mean(-1).take((end, -1 - end), axis).mean(1 - axis)
        return float(strips[0] / strips[1])

    assert ratio(gradient=1, gradient_degrees=degrees, brightness_stops=-1) == pytest.approx(2, rel=0.05)
    assert ratio(shadow=0.5, shadow_degrees=degrees, shadow_offset=0.1) == pytest.approx(0.5, rel=0.05)


def test_blur_softens_in_all_directions() -> None:
    sharp, soft = picture(), picture(blur_sigma=0.04)
    for axis in (0, 1):
        assert roughness(soft, axis) < 0.95 * roughness(sharp, axis)
    assert soft.mean() == pytest.approx(sharp.mean(), rel=0.01)


def test_motion_softens_along_its_direction() -> None:
    bar = slice(SIDE // 2 - 20, SIDE // 2 + 20)
    still, along, across = (
        picture(NO_ENTRY, motion_length=length, motion_degrees=degrees)[bar, bar]
        for length, degrees in ((0, 0), (0.1, 0), (0.1, 90))
    )
    steepest = [np.abs(np.diff(image, axis=0)).max() for image in (still, along, across)]
    assert steepest[1] == pytest.approx(steepest[0], rel=0.05)
    assert steepest[2] < 0.4 * steepest[0]


def test_noise_has_its_sigma() -> None:
    difference = picture(noise_sigma=0.04, brightness_stops=-1) - picture(brightness_stops=-1)
    assert difference.std() == pytest.approx(0.04 * 255, rel=0.05)


def test_the_post_stands_below_the_sign() -> None:
    bare, held = picture(), picture(post_width=0.1, x=0.02)
    changed = np.flatnonzero(np.abs(bare - held)[-1].max(-1) > 1)
    assert (changed[0], changed[-1] + 1) == (47, 57)
    np.testing.assert_array_equal(bare[0], held[0])


@pytest.mark.parametrize("kind", range(len(BACKGROUNDS)))
def test_backgrounds_are_plain_without_detail_and_not_with(kind: int) -> None:
    plain, full = (picture(background=kind, background_detail=detail) for detail in (0, 1))
    border = plain[[0, -1]].reshape(-1, 3)
    assert np.ptp(border, axis=0).max() == 0
    assert full[[0, -1]].reshape(-1, 3).std(0).max() > 4


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_look_the_same_at_any_size(kind: str) -> None:
    small, large = (paint(BACKGROUNDS[kind], 0.3, 1, (side, side), np.random.default_rng(1)) for side in (16, 64))
    shrunk = large.reshape(3, 16, 4, 16, 4).mean((2, 4))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.9

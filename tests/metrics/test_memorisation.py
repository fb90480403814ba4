"""Memorisation: copies are found, fresh draws are not taken for any, and the sheet shows the closest pairs."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from gansmith.errors import MetricError
from gansmith.images.pixels import on_white
from gansmith.images.sheets import choose_scale
from gansmith.metrics.copies import Originals
from gansmith.metrics.features import Features
from gansmith.metrics.memorisation import (
    ALARM,
    Memorisation,
    copies_p_value,
    draw_closest_pairs,
    score_memorisation,
)
from gansmith.metrics.metric import Estimate, MetricInputs
from gansmith.types import PixelArray

SIZE = 6


def pictures(num: int, seed: int) -> PixelArray:
    return np.random.default_rng(seed).integers(0, 256, (num, SIZE, SIZE, 3), np.uint8)


def noisy(images: PixelArray, amount: float, seed: int = 9) -> PixelArray:
    noise = np.random.default_rng(seed).normal(0, amount, images.shape)
    return (images + noise.round()).clip(0, 255).astype(np.uint8)


def features(images: PixelArray) -> Features:
    """Eight of the pixels are the features."""
    values = torch.from_numpy(images.reshape(len(images), -1)[:, :8].astype(np.float32))
    return Features(values=values, logits=None, labels=None, images=images)


def comparison(fake: PixelArray, training: PixelArray, held_out: PixelArray) -> MetricInputs:
    return MetricInputs(
        real=features(training), fake=features(fake), training=features(training), held_out=features(held_out)
    )


def measured(fake: PixelArray, training: PixelArray, held_out: PixelArray) -> dict[str, Estimate]:
    return Memorisation().measure(comparison(fake, training, held_out))


def p_value(estimate: Estimate) -> float:
    return float(estimate.note.partition("p ")[2].lstrip("=< ").partition(",")[0])


# --- the score ---------------------------------------------------------------------------------------------


def test_copies_with_a_little_noise_are_found() -> None:
    training = pictures(500, 0)
    found = measured(noisy(training[:200], 2), training, pictures(100, 1))
    assert found["memorisation"].value > 0.99 and found["memorisation"].low > 0.98
    assert "p < 1e-06" in found["memorisation"].note
    assert found["copies"].value == 1 and found["copies"].low > 0.97
    assert found["copies"].note.startswith("0.00% among held-out and 0.00% among training images; Fisher p < 1e-06")
    assert found["copies"].note.endswith("; training images are copied")


def test_fresh_draws_are_not_taken_for_copies() -> None:
    found = measured(pictures(300, 2), pictures(500, 0), pictures(300, 1))
    assert found["memorisation"].low < 0.5 < found["memorisation"].high
    assert p_value(found["memorisation"]) > 0.05
    assert found["copies"].value == 0 and "copied" not in found["copies"].note


def test_half_of_them_copies_is_half_the_way() -> None:
    training = pictures(500, 0)
    found = measured(np.concatenate([training[:150], pictures(150, 2)]), training, pictures(300, 1))
    assert found["memorisation"].value == pytest.approx(0.75, abs=0.04)
    assert found["copies"].value == 0.5
    assert p_value(found["memorisation"]) <= 1e-6


def test_samples_far_from_everything_are_at_0() -> None:
    training = pictures(300, 0)
    found = measured(np.full_like(training[:50], 255), training // 4, pictures(50, 1) // 4)
    assert found["memorisation"].value == 0 and p_value(found["memorisation"]) == 1


def test_the_score_by_hand_ties_counting_half() -> None:
    score, p = score_memorisation(np.array([0.0, 1.0, 5.0]), np.array([1.0, 2.0]))
    assert score == (2 + 1.5 + 0) / 6 and 0.2 < p < 0.8
    assert score_memorisation(np.zeros(30), np.zeros(40))[0] == 0.5


def test_the_p_value_is_as_often_small_as_it_says() -> None:
    draw = np.random.default_rng(0)
    found = [score_memorisation(draw.normal(size=40), draw.normal(size=30))[1] for _ in range(400)]
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.04)


def test_the_interval_holds_the_truth() -> None:
    """Distances normal and shifted: the probability that one is less than another is known."""
    inside = 0
    for seed in range(40):
        training = np.zeros((1, SIZE, SIZE, 3), np.uint8)
        draw = np.random.default_rng(seed)
        samples, others = draw.normal(100, 20, 80), draw.normal(120, 20, 60)
        sets = [
            Features(
                values=torch.tensor(values)[:, None].float(),
                logits=None,
                labels=None,
                images=np.zeros((len(values), SIZE, SIZE, 3), np.uint8),
            )
            for values in (samples, others)
        ]
        known = Features(values=torch.zeros(1, 1), logits=None, labels=None, images=training)
        found = Memorisation().measure(
            MetricInputs(real=sets[1], fake=sets[0], training=known, held_out=sets[1], seed=seed)
        )["memorisation"]
        inside += found.low <= 0.7602 <= found.high  # the normal distribution at 20 / (20 * sqrt 2)
    assert inside >= 35


# --- copies in pixels --------------------------------------------------------------------------------------


def smooth(num: int, seed: int, side: int = 24) -> PixelArray:
    """Pictures whose neighbouring pixels are alike, with edges as photographs have."""
    draw = np.random.default_rng(seed)
    gray, colours = draw.integers(30, 226, (num, 8, 8, 1)), draw.integers(-30, 31, (num, 1, 1, 3))
    coarse = (gray + colours).astype(np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC)) for each in coarse]
    )


def compressed(images: PixelArray) -> PixelArray:
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "jpeg", quality=75)
        found.append(np.asarray(Image.open(file)))
    return np.stack(found)


NEAR_COPIES: dict[str, Callable[[PixelArray], PixelArray]] = {
    "shifted": lambda images: np.pad(images, ((0, 0), (3, 0), (0, 2), (0, 0)), mode="edge")[:, :24, 2:],
    "mirrored": lambda images: images[:, :, ::-1].copy(),
    "recoloured": lambda images: (images.astype(int) + np.array([8, -8, 8])).clip(0, 255).astype(np.uint8),
    "JPEG": compressed,
    "all": lambda images: compressed(np.roll(images[:, :, ::-1], 1, axis=1) // 16 * 15 + 8),
}


@pytest.mark.parametrize("kind", NEAR_COPIES)
def test_near_copies_are_copies(kind: str) -> None:
    training = smooth(200, 0)
    fake = np.concatenate([NEAR_COPIES[kind](training[:20]), smooth(80, 2)])
    found = measured(fake, training, smooth(100, 1))["copies"]
    assert found.value == pytest.approx(0.2, abs=0.011)
    assert found.note.endswith("training images are copied")


def test_neither_noise_nor_another_shade_is_a_copy() -> None:
    training = smooth(100, 0)
    for fake in (255 - training[:30], noisy(training[:30], 40), training[:30] // 2 + 100):
        assert measured(fake, training, smooth(30, 1))["copies"].value == 0


def test_large_pictures_are_compared_in_small() -> None:
    training = smooth(30, 0, side=130)
    fake = np.concatenate([training[:10, :, ::-1].copy(), smooth(20, 2, side=130)])
    assert measured(fake, training, smooth(20, 1, side=130))["copies"].value == pytest.approx(1 / 3)


def test_the_score_is_best_at_a_half() -> None:
    quantity = Memorisation.quantities["memorisation"]
    assert quantity.better == "nearer 0.5"
    assert quantity.cost(0.5) < quantity.cost(0.6) < quantity.cost(0.003) < quantity.cost(1.0)


def test_a_copy_may_differ_by_less_than_a_fifth_of_the_contrast() -> None:
    training = pictures(100, 0)  # whose pixels deviate by 74 from their mean
    held_out = pictures(30, 1)
    assert measured(noisy(training[:50], 6), training, held_out)["copies"].value == 1
    assert measured(noisy(training[:50], 20), training, held_out)["copies"].value == 0


def test_of_pale_pictures_less_makes_another_picture() -> None:
    training = 120 + pictures(100, 0) // 16
    assert measured(noisy(training[:50], 3), training, 120 + pictures(30, 1) // 16)["copies"].value == 0


def test_plain_pictures_are_copies_only_if_they_are_the_same() -> None:
    plain = np.repeat(np.arange(40, dtype=np.uint8), SIZE * SIZE * 3).reshape(40, SIZE, SIZE, 3) * 5
    assert measured(plain[:20], plain, pictures(20, 0))["copies"].value == 1
    assert measured(plain[:20] + 1, plain, pictures(20, 0))["copies"].value == 0


def test_held_out_images_that_are_copies_too_are_told_of() -> None:
    training = pictures(100, 0)
    held_out = np.concatenate([training[:10], pictures(30, 1)])
    assert measured(training[:20], training, held_out)["copies"].note.startswith(
        "25.00% among held-out and 0.00% among training images; Fisher p"
    )


def test_training_images_that_are_twins_are_told_of_and_excuse_copies() -> None:
    singles = pictures(100, 0)
    training = np.concatenate([singles, singles[:50, :, ::-1]])  # 100 of 150 have a twin
    fake = np.concatenate([singles[:15], pictures(15, 2)])
    found = measured(fake, training, np.concatenate([singles[50:70], pictures(20, 3)]))["copies"]
    assert found.note.startswith("50.00% among held-out and 66.67% among training images; Fisher p = 1,")


def test_few_copies_are_noticed_beside_few_held_out_images() -> None:
    """5 % of 500, with 215 held out of which two are copies: by those alone, p would be above 0.001."""
    copied, held_out, twins = np.arange(500) < 25, np.arange(215) < 2, np.arange(1000) < 5
    alone = stats.hypergeom.sf(24, 715, 27, 500)  # 25 or more of 27 copies fall among the samples
    assert alone > ALARM
    expected = 2 * stats.hypergeom.sf(24, 1500, 30, 500)
    assert copies_p_value(copied, held_out, twins) == pytest.approx(expected) and expected < ALARM
    none = np.zeros(1000, np.bool_)
    assert copies_p_value(copied, held_out, none) < copies_p_value(copied, held_out, twins)
    assert copies_p_value(copied, held_out, ~none) == pytest.approx(2 * alone)  # all are twins: that says nothing


def test_an_image_is_no_twin_of_itself() -> None:
    images = pictures(30, 0)
    found = Originals.of(images).find_copies_within(np.arange(30))
    assert not found.any()
    images = np.concatenate([images, noisy(images[5:6], 4), images[7:8]])
    found = Originals.of(images).find_copies_within(np.array([4, 5, 7, 30, 31]))
    assert found.tolist() == [False, True, True, True, True]
    assert Originals.of(images[:1]).find_copies_within(np.arange(1)).tolist() == [False]


# --- the sheet ---------------------------------------------------------------------------------------------


def test_the_sheet_shows_the_closest_first_with_their_training_images_below() -> None:
    training = pictures(60, 0)
    fake = np.concatenate([pictures(5, 1), noisy(training[7:8], 3), training[40:41]])
    sheet = draw_closest_pairs(comparison(fake, training, fake), num=2)
    scale = choose_scale(2 * SIZE, 2 * SIZE + 2)
    assert sheet.dtype == np.uint8 and sheet.shape == (2 * SIZE * scale, (2 * SIZE + 2) * scale, 3)
    sheet = sheet[::scale, ::scale]
    for left, sample, original in ((0, fake[6], training[40]), (SIZE + 2, fake[5], training[7])):
        pair = sheet[: 2 * SIZE, left : left + SIZE]
        np.testing.assert_array_equal(pair[:SIZE], sample)
        np.testing.assert_array_equal(pair[SIZE:], original)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_fewer_samples_than_asked_for_are_all_shown(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 5, 8, channels), np.uint8)
    scale = choose_scale(2 * 5, 3 * (8 + 2) - 2)
    sheet = draw_closest_pairs(comparison(images[:3], images, images))[::scale, ::scale]
    assert sheet.shape == (10, 28, min(channels, 3)) and (sheet[:5, :8] == on_white(images[0])).all()


# --- what is missing ---------------------------------------------------------------------------------------


def test_what_is_missing_and_how_to_get_it_is_said_in_one_line() -> None:
    some = features(pictures(30, 0))
    cases = [
        (
            MetricInputs(real=some, fake=some, held_out=some),
            "^needs training images: leave out --against for a run; for images in files, .* --held-out DATA",
        ),
        (
            MetricInputs(real=some, fake=some, training=some),
            r"^needs real images held out of training: name some with --held-out DATA, or train with --held_out 0.05",
        ),
    ]
    for missing, message in cases:
        with pytest.raises(MetricError, match=message) as caught:
            Memorisation().measure(missing)
        assert "\n" not in str(caught.value)
    with pytest.raises(MetricError, match="needs training images"):
        draw_closest_pairs(cases[0][0])


def test_too_few_images_are_one_clear_line() -> None:
    training = pictures(50, 0)
    with pytest.raises(MetricError, match=r"19 held-out images are too few .* at least 20: .* --held-out DATA"):
        measured(pictures(30, 1), training, pictures(19, 2))
    with pytest.raises(MetricError, match=r"19 generated images are too few .* at least 20: take more samples"):
        measured(pictures(19, 1), training, pictures(30, 2))

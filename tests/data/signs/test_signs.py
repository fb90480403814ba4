"""The data set ``signs``: reproducible, of any size, and its classes can be learnt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from gansmith.component import from_plain, to_plain
from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.signs.source import GTSRB_COUNTS, Signs
from gansmith.data.source import Records, Source
from gansmith.errors import ConfigError


def images(records: Records, indices: range) -> np.ndarray:
    return np.stack([np.asarray(records.read(index)) for index in indices])


def held_out_accuracy(difficulty: float, per_class: int = 30) -> float:
    """Of a linear classifier trained on three quarters of the images."""
    records = Signs(num=43 * per_class, difficulty=difficulty).records((32, 32))
    assert records.labels is not None
    features = images(records, range(len(records))).reshape(len(records), -1).astype(np.float32)
    features = (features - features.mean(1, keepdims=True)) / (features.std(1, keepdims=True) + 1)
    model = RidgeClassifier(alpha=100)
    split = 43 * per_class * 3 // 4
    model.fit(features[:split], records.labels[:split])
    return float(model.score(features[split:], records.labels[split:]))


def test_the_name_signs_means_this_source() -> None:
    signs = Signs(num=5, difficulty=0.25)
    assert from_plain(Source, {"name": "signs", "num": 5, "difficulty": 0.25}, "data") == signs
    assert to_plain(signs)["name"] == "signs"
    assert (signs.kind, signs.native_size, signs.title) == ("signs", (32, 32), "signs")


@pytest.mark.parametrize(
    "wrong",
    [{"num": 0}, {"seed": -1}, {"difficulty": 1.5}, {"frequencies": "gtsbr"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"Signs.{next(iter(wrong))}"):
        Signs(**wrong)


def test_records_say_what_they_are() -> None:
    records = Signs(num=100).records()
    assert len(records) == 100
    assert records.class_names == GTSRB_CLASSES
    assert records.groups is None
    assert records.read(0).shape == (32, 32, 3)
    assert {values.shape for values in records.factors.values()} == {(100,)}


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (64, 48), (5, 5), (1, 1)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    image = Signs(num=3).records(size).read(2)
    assert isinstance(image, np.ndarray)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert image.flags.c_contiguous


def test_an_image_does_not_depend_on_what_was_read_before() -> None:
    forwards = images(Signs(num=60).records((24, 24)), range(60))
    backwards = images(Signs(num=60).records((24, 24)), range(59, -1, -1))[::-1]
    np.testing.assert_array_equal(forwards, backwards)


def test_threads_read_the_same_images() -> None:
    records = Signs(num=86).records((24, 24))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(records.read, range(86)))
    np.testing.assert_array_equal(together, images(Signs(num=86).records((24, 24)), range(86)))


@pytest.mark.parametrize("frequencies", ["equal", "gtsrb"])
def test_more_images_leave_the_first_ones_as_they_are(frequencies: Any) -> None:
    few, many = (Signs(num=num, frequencies=frequencies).records((16, 16)) for num in (50, 5000))
    assert few.labels is not None and many.labels is not None
    np.testing.assert_array_equal(few.labels, many.labels[:50])
    np.testing.assert_array_equal(images(few, range(50)), images(many, range(50)))


def test_another_seed_gives_other_images() -> None:
    first, second = (images(Signs(num=43, seed=seed).records((16, 16)), range(43)) for seed in (0, 1))
    assert all((first != second).any((1, 2, 3)))


def test_images_of_one_class_all_differ() -> None:
    same_class = images(Signs(num=43 * 10).records((16, 16)), range(0, 430, 43))
    assert len(np.unique(same_class.reshape(10, -1), axis=0)) == 10


@pytest.mark.parametrize("num", [1, 42, 43, 1000, 12_900])
def test_equal_frequencies_take_turns(num: int) -> None:
    labels = Signs(num=num).records().labels
    np.testing.assert_array_equal(labels, np.arange(num) % 43)


@pytest.mark.parametrize("num", [500, 5000, 39_209])
def test_gtsrb_frequencies_are_kept_to_within_an_image(num: int) -> None:
    labels = Signs(num=num, frequencies="gtsrb").records().labels
    assert labels is not None
    counts = np.bincount(labels, minlength=43)
    assert counts.sum() == num
    assert np.abs(counts - num * np.array(GTSRB_COUNTS) / sum(GTSRB_COUNTS)).max() <= 1


def test_gtsrb_has_39209_images() -> None:
    assert (len(GTSRB_COUNTS), sum(GTSRB_COUNTS)) == (43, 39_209)


def test_the_fingerprint_follows_every_field_and_the_size() -> None:
    variants = [Signs(), Signs(num=5), Signs(seed=1), Signs(frequencies="gtsrb"), Signs(difficulty=0.25)]
    prints = [signs.records((32, 32)).fingerprint for signs in variants]
    prints.append(Signs().records((32, 48)).fingerprint)
    assert len(set(prints)) == len(prints)
    assert Signs().records().fingerprint == prints[0]


def test_brightness_shows_in_the_mean() -> None:
    records = Signs(num=430).records((16, 16))
    luminance = np.log2(images(records, range(430)).mean((1, 2, 3)) + 1)
    assert np.corrcoef(luminance, records.factors["brightness_stops"])[0, 1] > 0.6


def test_clean_signs_without_variation_differ_by_background_alone() -> None:
    records = Signs(num=43 * 6, difficulty=0).records((32, 32))
    stops = images(records, range(14, 43 * 6, 43))
    assert np.ptp(stops[:, 16, 8:24].astype(int), axis=0).max() <= 1
    assert np.ptp(stops[:, 0, 0].astype(int), axis=0).max() > 10


def test_clean_classes_are_told_apart() -> None:
    assert held_out_accuracy(0.1) > 0.98  # measured: 1.000


def test_default_classes_can_be_learnt() -> None:
    assert held_out_accuracy(0.5) > 0.65  # measured: 0.74; by chance 0.02

"""Which images each arm is trained on, how many, in which order, and the classical augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gansmith.utility.arms import ARMS, BATCH_SIZE, LabelledImages, Material, arrange_arm, choose_real
from gansmith.utility.jitter import jitter

COUNTS = (9, 20, 40)  # real images of each class
EACH = 25  # synthetic images of each class
STEPS = 12


def numbered(labels: np.ndarray, first: int) -> LabelledImages:
    """Images whose pixels are their number."""
    numbers = np.arange(first, first + len(labels))
    images = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8).reshape(-1, 1, 2, 1)
    return LabelledImages(images=images, labels=labels.astype(np.int64))


REAL = np.random.default_rng(3).permutation(np.repeat(np.arange(3), COUNTS))
SYNTHETIC = np.repeat(np.arange(3), EACH)
MATERIAL = Material(
    real=numbered(REAL, 0),
    synthetic={"gan": numbered(SYNTHETIC, 69), "drawn": numbered(SYNTHETIC, 144)},
    num_classes=3,
)
RANGES = {"real": range(69), "gan": range(69, 144), "drawn": range(144, 219)}


@pytest.mark.parametrize("seed", [0, 5])
def test_few_real_images_are_so_many_of_each_class_and_part_of_more(seed: int) -> None:
    few, more = choose_real(REAL, 5, seed), choose_real(REAL, 15, seed)
    assert np.bincount(REAL[few]).tolist() == [5, 5, 5]
    assert np.bincount(REAL[more]).tolist() == [9, 15, 15]  # the first class has only 9
    assert set(few) <= set(more) and few.tolist() == sorted(set(few))
    assert choose_real(REAL, None, seed).tolist() == list(range(69))
    assert few.tolist() == choose_real(REAL, 5, seed).tolist()
    assert few.tolist() != choose_real(REAL, 5, seed + 1).tolist()


@pytest.mark.parametrize("amount", [None, 5])
@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_has_its_images_and_no_others(arm: str, amount: int | None) -> None:
    found = arrange_arm(arm, amount, 1, STEPS, MATERIAL)
    kind = ARMS[arm]
    allowed = (set(RANGES["real"]) if kind.real else set()) | set(RANGES.get(kind.synthetic, ()))
    used = set(found.order.tolist())
    assert len(found.order) == STEPS * BATCH_SIZE and used <= allowed
    assert used <= set(found.real.tolist()) | set(found.synthetic.tolist())
    wanted = {None: 69, 5: 15}[amount] if kind.real else 0
    assert len(found.real) == wanted and used & set(RANGES["real"]) <= set(found.real.tolist())
    if kind.real:
        assert found.real.tolist() == choose_real(REAL, amount, 1).tolist()
        assert used >= set(found.real.tolist())  # 12 batches of 32 show each real image
    again = arrange_arm(arm, amount, 1, STEPS, MATERIAL)
    assert again.order.tolist() == found.order.tolist()
    assert arrange_arm(arm, amount, 2, STEPS, MATERIAL).order.tolist() != found.order.tolist()
    longer = arrange_arm(arm, amount, 1, 2 * STEPS, MATERIAL)
    assert longer.real.tolist() == found.real.tolist()


def test_real_images_are_all_shown_once_before_any_is_shown_again() -> None:
    order = arrange_arm("real", None, 0, STEPS, MATERIAL).order
    assert sorted(order[:69].tolist()) == list(range(69)) == sorted(order[69:138].tolist())
    assert order[:69].tolist() != order[69:138].tolist()
    assert arrange_arm("augmented", None, 0, STEPS, MATERIAL).order.tolist() == order.tolist()


@pytest.mark.parametrize(("arm", "name"), [("gan", "gan"), ("drawn", "drawn")])
def test_half_of_a_mixed_batch_is_synthetic_and_of_the_classes_of_the_real_images(arm: str, name: str) -> None:
    order = arrange_arm(arm, None, 0, 69, MATERIAL).order.reshape(69, BATCH_SIZE)
    synthetic = np.isin(order, RANGES[name])
    assert (synthetic.sum(axis=1) == BATCH_SIZE // 2).all()
    shown = MATERIAL.take(order[synthetic]).labels  # 69 * 16 are 16 passes over the classes of the real images
    assert np.bincount(shown).tolist() == [16 * count for count in COUNTS]
    times = np.bincount(order[synthetic] - RANGES[name].start, minlength=3 * EACH)
    for label in range(3):  # within a class, all images come equally often
        assert np.ptp(times[label == SYNTHETIC]) <= 1
    with_real = arrange_arm("real", None, 0, 69, MATERIAL).order
    real = order[~synthetic]
    assert real.tolist() == with_real[: len(real)].tolist()  # real images in the same order as alone


def test_synthetic_images_alone_have_the_classes_of_all_real_images() -> None:
    order = arrange_arm("gan-only", 5, 0, 69, MATERIAL).order
    assert np.bincount(MATERIAL.take(order).labels).tolist() == [32 * count for count in COUNTS]
    assert order.tolist() == arrange_arm("gan-only", None, 0, 69, MATERIAL).order.tolist()


def test_rare_classes_are_filled_up_to_the_largest_as_far_as_there_are_images() -> None:
    found = arrange_arm("rare", None, 0, STEPS, MATERIAL)
    assert np.bincount(MATERIAL.take(found.synthetic).labels, minlength=3).tolist() == [25, 20, 0]  # 31 are lacking
    everything = np.concatenate([found.real, found.synthetic])
    assert sorted(found.order[: len(everything)].tolist()) == sorted(everything.tolist())
    assert len(arrange_arm("rare", 5, 0, STEPS, MATERIAL).synthetic) == 0


def test_taken_images_are_those_of_the_numbers_with_their_classes() -> None:
    numbers = np.array([218, 0, 70, 143, 144, 70])
    taken = MATERIAL.take(numbers)
    values = taken.images.reshape(-1, 2).astype(int) @ [256, 1]
    assert values.tolist() == numbers.tolist()
    labels = np.concatenate([REAL, SYNTHETIC, SYNTHETIC])
    assert taken.labels.tolist() == labels[numbers].tolist()


# --- classical augmentation --------------------------------------------------------------------------------


def test_jitter_moves_scales_and_turns_within_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a plain bilinear map: the picture is a slope, so a position can be read from its value."""
    size, n = 33, 200
    monkeypatch.setattr("gansmith.utility.jitter.CONTRAST", 0.0)
    monkeypatch.setattr("gansmith.utility.jitter.BRIGHTNESS", 0.0)
    slope = torch.arange(size, dtype=torch.float32) - size // 2
    place = torch.stack([slope.expand(size, size), slope[:, None].expand(size, size), torch.zeros(size, size)])
    found = jitter(place.expand(n, 3, size, size) / size, torch.Generator().manual_seed(0), mirrored=False) * size
    centre = found[:, :2, size // 2, size // 2]
    right, down = (found[:, :2, size // 2 + y, size // 2 + x] - centre for x, y in ((4, 0), (0, 4)))
    assert centre.abs().max() <= size / 16 + 1e-3 and centre.abs().max(dim=0).values.min() > size / 18
    scale = right.norm(dim=1) / 4
    assert 1 / 1.1 - 1e-3 <= scale.min() <= 0.925 and 1.09 <= scale.max() <= 1 / 0.9 + 1e-3
    turn = torch.rad2deg(torch.atan2(right[:, 1], right[:, 0]))
    assert -15.01 <= turn.min() < -14 and 14 < turn.max() <= 15.01
    assert torch.allclose(down, torch.stack([-right[:, 1], right[:, 0]], dim=1), atol=1e-3)  # no shear, no mirror


def test_jitter_changes_contrast_and_brightness_within_its_limits_and_keeps_alpha() -> None:
    n = 300
    even, striped = torch.full((n, 3, 4, 4), -0.5), torch.full((n, 3, 4, 4), -0.5)
    striped[:, 0] -= 0.3
    striped[:, 2] += 0.3
    flat, found = (jitter(each, torch.Generator().manual_seed(1), mirrored=False) + 1 for each in (even, striped))
    assert flat.flatten(1).std(dim=1).max() < 1e-6  # the same for all pixels and channels
    brightness = flat[:, 0, 0, 0] / 0.5  # in a range that begins at black
    assert 0.7 - 1e-5 <= brightness.min() < 0.71 and 1.29 < brightness.max() <= 1.3 + 1e-5
    assert torch.allclose(found.mean(dim=(1, 2, 3)), flat[:, 0, 0, 0], atol=1e-5)  # contrast is about the mean
    contrast = (found[:, 2] - found[:, 0])[:, 0, 0] / 0.6 / brightness
    assert 0.7 - 1e-5 <= contrast.min() < 0.71 and 1.29 < contrast.max() <= 1.3 + 1e-5
    dark = jitter(torch.full((n, 1, 4, 4), -1.0), torch.Generator().manual_seed(1), mirrored=False)
    assert (dark + 1).abs().max() < 1e-6  # black stays black
    alpha = jitter(torch.full((4, 4, 4, 4), 0.9), torch.Generator(), mirrored=False)
    assert torch.allclose(alpha[:, 3], torch.tensor(0.9)) and alpha.abs().max() <= 1


def test_only_photographs_are_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("SHIFT", "SCALE", "TURN", "BRIGHTNESS", "CONTRAST"):
        monkeypatch.setattr(f"gansmith.utility.jitter.{limit}", 0.0)
    image = torch.linspace(-1, 1, 8).expand(40, 1, 8, 8)
    plain, mirrored = (jitter(image, torch.Generator().manual_seed(2), mirrored=each) for each in (False, True))
    assert torch.allclose(plain, image, atol=1e-6)
    turned = torch.isclose(mirrored, image.flip(3), atol=1e-6).flatten(1).all(dim=1)
    kept = torch.isclose(mirrored, image, atol=1e-6).flatten(1).all(dim=1)
    assert (turned ^ kept).all() and 8 < turned.sum() < 32

"""Samples: one seed is one image, labels are drawn as the data have them, files are what was asked for."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gansmith.errors import ConfigError
from gansmith.images.sheets import grid, labelled_rows
from gansmith.sampling.generator import Samples, TrainedGenerator


def as_int(samples: Samples) -> np.ndarray[Any, Any]:
    return samples.images.astype(int)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_one_seed_is_one_image_whatever_is_sampled_beside_it(
    class_generator: TrainedGenerator, batch_size: int
) -> None:
    whole = class_generator.sample(10, seed=5)
    batches = list(class_generator.batches(range(5, 15), batch_size=batch_size))
    assert [len(batch) for batch in batches] == [min(batch_size, 10 - i) for i in range(0, 10, batch_size)]
    assert [seed for batch in batches for seed in batch.seeds] == list(whole.seeds) == list(range(5, 15))
    parts = np.concatenate([as_int(batch) for batch in batches])
    assert np.abs(parts - as_int(whole)).max() <= 1
    assert np.array_equal(np.concatenate([batch.labels for batch in batches]), whole.labels)


def test_seeds_in_any_order_keep_their_images(class_generator: TrainedGenerator) -> None:
    (mixed,) = class_generator.batches([9, 2, 9])
    alone = class_generator.sample(1, seed=9)
    assert np.abs(as_int(mixed)[[0, 2]] - as_int(alone)).max() <= 1
    assert np.abs(as_int(mixed)[1] - as_int(mixed)[0]).max() > 8


def test_more_images_than_fit_a_batch_are_those_of_their_latents(small_generator: TrainedGenerator) -> None:
    z, labels = small_generator.draw(range(130))
    assert labels is None and small_generator.images(z, labels).shape == (130, 12, 16, 3)
    assert np.abs(small_generator.images(z[128:], None).astype(int) - small_generator.images(z, None)[128:]).max() <= 1


def test_sampling_leaves_the_network_and_the_random_state_alone(small_generator: TrainedGenerator) -> None:
    small_generator.network.train()
    before, state = {k: v.clone() for k, v in small_generator.network.state_dict().items()}, torch.get_rng_state()
    small_generator.sample(3)
    assert small_generator.network.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in small_generator.network.state_dict().items())


# --- labels ------------------------------------------------------------------------------------------------


def test_classes_are_drawn_as_often_as_the_data_have_them(class_generator: TrainedGenerator) -> None:
    _, labels = class_generator.draw(range(800))
    assert labels is not None
    counts = torch.bincount(labels, minlength=3)  # of 1 to 3 to 0; five deviations of 600 are 61
    assert counts[2] == 0 and 539 < counts[1] < 661


def test_what_a_seed_gives_stays_what_it_is(class_generator: TrainedGenerator) -> None:
    """A promise to whoever wrote down a seed; it changes only with a new major version."""
    generator = dataclasses.replace(class_generator, class_counts=(700, 200, 100))
    z, labels = generator.draw(range(100, 110))
    assert z[0, :3].tolist() == pytest.approx([0.360656, -0.285921, -0.393818], abs=1e-6)
    assert labels is not None and labels.tolist() == [0, 2, 0, 1, 1, 0, 1, 1, 2, 2]
    for seed, label in zip(range(100, 110), labels.tolist(), strict=True):
        stream = torch.Generator().manual_seed(seed)
        torch.randn(1, 8, generator=stream)
        weights = torch.tensor([700, 200, 100], dtype=torch.float64)
        assert torch.multinomial(weights, 1, generator=stream).item() == label


def test_the_class_does_not_change_the_latent(class_generator: TrainedGenerator) -> None:
    (free, _), (fixed, labels) = class_generator.draw(range(4)), class_generator.draw(range(4), label=2)
    assert torch.equal(free, fixed) and labels is not None and labels.tolist() == [2] * 4


@pytest.mark.parametrize("label", ["yield", 1, "1"])
def test_a_class_has_a_name_and_a_number(class_generator: TrainedGenerator, label: int | str) -> None:
    samples = class_generator.sample(3, label=label)
    assert samples.labels is not None and samples.labels.tolist() == [1, 1, 1]
    assert np.abs(as_int(samples) - as_int(class_generator.sample(3, label="stop"))).max() > 8


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("stopp", "label: no class is called 'stopp'; did you mean 'stop'?"),
        ("-1", "label: no class is called '-1'; expected one of go, stop, yield"),
        (3, "label: no class 3; expected 0 to 2, or a class name"),
    ],
)
def test_unknown_classes_are_refused(class_generator: TrainedGenerator, label: int | str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        class_generator.sample(1, label=label)
    assert str(caught.value) == message


def test_a_label_without_classes_is_refused(small_generator: TrainedGenerator) -> None:
    assert small_generator.sample(2).labels is None
    with pytest.raises(ConfigError) as caught:
        small_generator.sample(1, label=0)
    assert str(caught.value) == "label: got 0, but this model was trained without labels; omit it"


# --- truncation --------------------------------------------------------------------------------------------


def test_truncation_shortens_the_latent(small_generator: TrainedGenerator) -> None:
    z, _ = small_generator.draw(range(3))
    halved = small_generator.sample(3, truncation=0.5)
    assert np.array_equal(halved.images, small_generator.images(z * 0.5, None))
    assert not np.array_equal(halved.images, small_generator.sample(3).images)


@pytest.mark.parametrize("truncation", [0.0, -1.0, 1.01, float("nan")])
def test_truncation_out_of_range_is_refused(small_generator: TrainedGenerator, truncation: float) -> None:
    with pytest.raises(ConfigError, match=r"^truncation: .* is out of range; expected more than 0 and at most 1$"):
        small_generator.sample(1, truncation=truncation)


def test_no_images_are_refused(small_generator: TrainedGenerator) -> None:
    with pytest.raises(ConfigError, match=r"^num: 0 images cannot be sampled; expected 1 to 10,000,000$"):
        small_generator.sample(0)


# --- sheets and files --------------------------------------------------------------------------------------


def test_a_sheet_is_a_grid_or_a_row_a_class(class_generator: TrainedGenerator) -> None:
    one_class = class_generator.sample(4, label=1)
    assert np.array_equal(one_class.sheet(), grid(one_class.images))
    images = np.concatenate([class_generator.sample(n).images for n in (2, 3)])
    mixed = Samples(images=images, labels=np.array([0, 0, 2, 2, 2]), class_names=class_generator.class_names)
    first = np.concatenate([images[:2], np.full_like(images[:1], 255)])
    assert np.array_equal(mixed.sheet(), labelled_rows([first, images[2:]], mixed.class_names, [0, 2]))


def test_saving_a_sheet(small_generator: TrainedGenerator, tmp_path: Path) -> None:
    samples = small_generator.sample(5)
    path = samples.save(str(tmp_path / "deep" / "x.png"))
    assert path == tmp_path / "deep" / "x.png"
    with Image.open(path) as read:
        assert np.array_equal(np.asarray(read), samples.sheet())


def test_saving_arrays(class_generator: TrainedGenerator, small_generator: TrainedGenerator, tmp_path: Path) -> None:
    samples = class_generator.sample(5)
    with np.load(samples.save(tmp_path / "deep" / "x.npz"), allow_pickle=False) as read:
        assert np.array_equal(read["images"], samples.images) and np.array_equal(read["labels"], samples.labels)
    with np.load(small_generator.sample(2).save(tmp_path / "y.npz"), allow_pickle=False) as read:
        assert list(read) == ["images"]


def test_saving_a_folder(class_generator: TrainedGenerator, small_generator: TrainedGenerator, tmp_path: Path) -> None:
    samples = class_generator.sample(2, seed=7, label="yield")
    folder = samples.save(tmp_path / "out")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["class001_yield_seed00007.png", "class001_yield_seed00008.png"]
    for name, image in zip(names, samples.images, strict=True):
        with Image.open(folder / name) as read:
            assert np.array_equal(np.asarray(read), image)
    plain = Samples(images=small_generator.sample(2).images).save(tmp_path / "plain")
    assert sorted(path.name for path in plain.iterdir()) == ["00000.png", "00001.png"]


@pytest.mark.parametrize("name", ["out_psi0.7", "fakes.v2", "run.2026/", "there.png", "here.png/"])
def test_a_name_without_a_known_ending_is_a_folder(
    name: str, small_generator: TrainedGenerator, tmp_path: Path
) -> None:
    (tmp_path / "there.png").mkdir()
    path = small_generator.sample(2).save(f"{tmp_path}/{name}")
    assert len(list(path.glob("*.png"))) == 2


@pytest.mark.parametrize(("name", "magic"), [("x.PNG", b"\x89PNG"), ("x.v2.Png", b"\x89PNG"), ("x.NPZ", b"PK")])
def test_a_known_ending_in_any_case_is_a_file(
    name: str, magic: bytes, small_generator: TrainedGenerator, tmp_path: Path
) -> None:
    assert small_generator.sample(1).save(tmp_path / name).read_bytes().startswith(magic)


def test_other_files_are_refused(small_generator: TrainedGenerator, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        small_generator.sample(1).save(tmp_path / "x.jpg")
    assert str(caught.value) == f"{tmp_path / 'x.jpg'}: cannot write .jpg files; expected x.png, x.npz, or a folder"


def test_a_notebook_shows_the_sheet(small_generator: TrainedGenerator) -> None:
    samples = small_generator.sample(4)
    with Image.open(io.BytesIO(samples._repr_png_())) as shown:
        assert shown.format == "PNG" and np.array_equal(np.asarray(shown), samples.sheet())


# --- against a few plain lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(("output", "low"), [("tanh", -1.0), ("sigmoid", 0.0)])
@pytest.mark.parametrize("truncation", [1.0, 0.25])
def test_pixels_are_those_of_the_network_in_its_own_range(
    small_generator: TrainedGenerator, output: str, low: float, truncation: float
) -> None:
    model = dataclasses.replace(small_generator.model, output=output)
    network = model.generator(small_generator.spec)
    generator = dataclasses.replace(small_generator, model=model, network=network)
    z = torch.cat([torch.randn(1, 8, generator=torch.Generator().manual_seed(seed)) for seed in (7, 8, 9)])
    with torch.no_grad():
        made = network.eval()(z * truncation)
    wanted = ((made.permute(0, 2, 3, 1).numpy() - low) / (1 - low) * 255).round()
    found = as_int(generator.sample(3, seed=7, truncation=truncation))
    assert np.abs(found - wanted).max() <= 1 and np.abs(found - wanted).mean() < 0.01
    assert found.min() > 60 and found.max() < 200  # an untrained network paints middle gray in either range


# --- limits and edges --------------------------------------------------------------------------------------


def test_seeds_are_64_bit_numbers(small_generator: TrainedGenerator) -> None:
    most = 2**63 - 1
    for seed in (-most, most - 2):
        assert small_generator.sample(2, seed=seed).seeds == (seed, seed + 1)
    for seed in (-most - 1, most - 1):
        with pytest.raises(ConfigError) as caught:
            small_generator.sample(2, seed=seed)
        assert str(caught.value) == f"seed: {seed} is out of range; expected from {-most} to {most - 2}"


def test_memory_for_all_images_is_asked_for_first(
    small_generator: TrainedGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("gansmith.sampling.generator.require_bytes", lambda *given: asked.append(given))
    small_generator.sample(3)  # in batches and joined
    assert asked == [(2 * 3 * 12 * 16 * 3, torch.device("cpu"), "num", f"3 images of {small_generator.spec}")]
    with pytest.raises(ConfigError, match="num: 10000001 images cannot be sampled"):
        small_generator.sample(10_000_001)
    assert len(asked) == 1
    monkeypatch.setattr(TrainedGenerator, "batches", lambda *_, **__: (_ for _ in ()))
    with pytest.raises(IndexError):  # ten million are asked for, and would be made
        small_generator.sample(10_000_000)
    assert asked[1][0] == 2 * 10_000_000 * 12 * 16 * 3


def test_batches_are_of_64_unless_asked_otherwise(small_generator: TrainedGenerator) -> None:
    assert [len(batch) for batch in small_generator.batches(range(130))] == [64, 64, 2]
    assert len(small_generator.sample()) == 64 and small_generator.sample(2).seeds == (0, 1)


def test_the_network_sees_64_images_at_most_in_its_mode_for_samples(small_generator: TrainedGenerator) -> None:
    seen: list[tuple[int, bool, bool]] = []
    small_generator.network.register_forward_hook(
        lambda network, given, made: seen.append((len(made), network.training, made.requires_grad))
    )
    for training in (True, False):
        small_generator.network.train(training)
        small_generator.images(torch.zeros(65, 8), None)
        assert small_generator.network.training == training
    assert seen == [(64, False, False), (1, False, False)] * 2


def test_where_nothing_is_known_of_the_classes(class_generator: TrainedGenerator) -> None:
    bare = dataclasses.replace(class_generator, class_names=(), class_counts=())
    _, labels = bare.draw(range(3))
    assert labels is not None and labels.tolist() == [0, 0, 0] and labels.dtype == torch.int64
    samples = bare.sample(2, label="2")
    assert samples.labels is not None and samples.labels.tolist() == [2, 2] and samples.labels.dtype == np.int64
    _, fixed = bare.draw(range(2), label=1)
    assert fixed is not None and fixed.dtype == torch.int64


def test_a_class_that_was_not_in_training_is_refused(class_generator: TrainedGenerator) -> None:
    with pytest.raises(ConfigError) as caught:
        class_generator.sample(1, label="go")
    assert str(caught.value) == "label: class go had no training images; choose another class"


def test_samples_carry_names_labels_and_seeds(class_generator: TrainedGenerator) -> None:
    samples = class_generator.sample(3, seed=4, label=1)
    assert (samples.class_names, samples.seeds) == (("stop", "yield", "go"), (4, 5, 6))
    (batch,) = class_generator.batches([9, 2], label=0)
    assert batch.class_names == ("stop", "yield", "go") and batch.labels is not None and batch.labels.tolist() == [0, 0]


def coloured(labels: list[int], **more: Any) -> Samples:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 12, 10, 3), np.uint8)
    names = tuple(f"class {i}" for i in range(max(labels) + 1))
    return Samples(images=images, labels=np.array(labels), class_names=names, **more)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([0, 1, 0], None),
        ([0, 0, 0, 0], None),
        ([0, 1, 2, 2], None),
        ([2, 0, 2, 0], [0, 2]),
        ([1, 0] + [1] * 40, [0, 1]),
    ],
)
def test_a_sheet_has_a_row_a_class_where_there_are_two_images_a_class(
    labels: list[int], shown: list[int] | None
) -> None:
    samples = coloured(labels)
    if shown is None:
        assert np.array_equal(samples.sheet(), grid(samples.images))
        return
    rows = [samples.images[samples.labels == label][:16] for label in shown]
    white = [np.full((max(map(len, rows)) - len(row), 12, 10, 3), 255, np.uint8) for row in rows]
    padded = [np.concatenate(pair) for pair in zip(rows, white, strict=True)]
    assert np.array_equal(samples.sheet(), labelled_rows(padded, samples.class_names, shown))


def test_a_sheet_is_large_and_on_white_and_all_other_files_are_as_sampled(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 4), np.uint8)
    samples = Samples(images=images)
    with Image.open(samples.save(tmp_path / "x.png")) as sheet:
        assert sheet.mode == "RGB" and min(sheet.size) > 170
    with Image.open(io.BytesIO(samples._repr_png_())) as shown:
        assert shown.size == sheet.size
    with np.load(samples.save(tmp_path / "x.npz")) as arrays:
        assert np.array_equal(arrays["images"], images)
    for image, path in zip(images, sorted(samples.save(tmp_path / "folder").iterdir()), strict=True):
        with Image.open(path) as read:
            assert read.mode == "RGBA" and np.array_equal(np.asarray(read), image)


def test_of_many_classes_a_sheet_shows_a_hundred() -> None:
    samples = coloured([*range(150)] * 2)
    shown = [round(i * 149 / 99) for i in range(100)]
    rows = [samples.images[[label, label + 150]] for label in shown]
    assert np.array_equal(samples.sheet(), labelled_rows(rows, samples.class_names, shown))


def test_files_without_seeds_are_numbered_and_with_classes_named(tmp_path: Path) -> None:
    coloured([0, 1], seeds=(7, 123_456)).save(tmp_path / "a")
    coloured([1, 0]).save(tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "class000_class-0_seed00007.png", "class001_class-1_seed123456.png",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "class000_class-0_00001.png",
        "class001_class-1_00000.png",
    ]


def test_a_class_of_any_name_makes_a_file_name_that_every_system_takes(tmp_path: Path) -> None:
    names = ("../--help", "$5 & <i>x", "überholen", "", "x" * 99)
    samples = dataclasses.replace(coloured([*range(5)]), class_names=names)
    written = sorted(path.name for path in samples.save(tmp_path / "a").iterdir())
    assert written == [
        "class000_help_00000.png", "class001_5-i-x_00001.png", "class002_überholen_00002.png", "class003_00003.png",
        f"class004_{'x' * 40}_00004.png",
    ]  # fmt: skip


def test_the_name_of_the_one_class_of_some_samples() -> None:
    assert coloured([1, 1]).class_name() == "class 1"
    assert coloured([0, 1]).class_name() is None
    assert dataclasses.replace(coloured([1, 1]), class_names=()).class_name() is None

"""Pictures of the way: what is on them, what they are called, and how they are found again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gansmith.component import from_plain, member, to_plain
from gansmith.errors import ConfigError
from gansmith.images.pixels import save_png
from gansmith.images.sheets import choose_classes, grid, labelled_rows
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.schedules import Progress
from gansmith.training.sample_sheets import (
    SAMPLES,
    PictureWriter,
    SampleFiles,
    SampleGrid,
    fill_filename,
    find_pictures,
    read_frame,
    read_frames,
    write_final_pictures,
)


def at(epoch: float, step: int = 12) -> Progress:
    return Progress(nimg=round(epoch * 1000), step=step, seconds=0, epoch_size=1000)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


@pytest.fixture(params=SAMPLES)
def writer(request: pytest.FixtureRequest) -> PictureWriter:
    return member(PictureWriter, request.param, "samples")()


# --- every writer ------------------------------------------------------------------------------------------


def test_frames_are_the_moments_in_their_order(
    writer: PictureWriter, run: RunFolder, class_generator: TrainedGenerator
) -> None:
    assert writer.frames(run) == []
    first, second = (writer.write(class_generator, at(epoch), run) for epoch in (9, 10))
    frames = writer.frames(run)
    assert [paths[0] for paths in frames] == [first, second]
    shapes = {read_frame(paths).shape for paths in frames}
    assert len(shapes) == 1 and all(path.is_file() for paths in frames for path in paths)


def test_the_same_moment_again_is_the_same_picture(
    writer: PictureWriter, run: RunFolder, class_generator: TrainedGenerator
) -> None:
    contents = []
    for _ in range(2):
        writer.write(class_generator, at(3), run)
        contents.append({path: path.read_bytes() for paths in writer.frames(run) for path in paths})
    assert contents[0] == contents[1]


def test_it_survives_plain_data(writer: PictureWriter) -> None:
    assert from_plain(PictureWriter, to_plain(writer), "samples") == writer


# --- one sheet ---------------------------------------------------------------------------------------------


def test_a_sheet_without_classes_is_a_grid(run: RunFolder, small_generator: TrainedGenerator) -> None:
    path = SampleGrid(rows=2, columns=3).write(small_generator, at(1), run)
    assert path == run.images / "fakes_000001000.png"
    with Image.open(path) as read:
        assert np.array_equal(np.asarray(read), grid(small_generator.sample(6).images, columns=3))


def test_with_classes_it_has_a_named_row_each_and_one_latent_a_column(class_generator: TrainedGenerator) -> None:
    z, _ = class_generator.draw(range(4))
    rows = []
    for label in range(2):  # the third had no training images, and its samples mean nothing
        labels = class_generator.draw(range(4), label)[1]
        rows.append(class_generator.images(z, labels))
    expected = labelled_rows(rows, class_generator.class_names, [0, 1], 2)
    sheet = SampleGrid(columns=4).draw_rows(class_generator).pixels()
    assert sheet.shape == expected.shape and np.abs(sheet.astype(int) - expected).max() <= 1


def test_of_very_many_classes_some_have_a_row(small_generator: TrainedGenerator) -> None:
    spec = dataclasses.replace(small_generator.spec, num_classes=150)
    names = tuple(map(str, range(150)))
    network = small_generator.model.generator(spec)
    generator = dataclasses.replace(small_generator, network=network, spec=spec, class_names=names)
    shown = choose_classes(150)
    rows = [generator.images(generator.draw([0])[0], torch.tensor([label])) for label in shown]
    sheet, expected = SampleGrid(columns=1).draw_rows(generator).pixels(), labelled_rows(rows, names, shown)
    assert sheet.shape == expected.shape and np.abs(sheet.astype(int) - expected).max() <= 1


# --- single files ------------------------------------------------------------------------------------------


def test_single_files_lie_in_the_run_as_document_004_names_them(
    run: RunFolder, small_generator: TrainedGenerator
) -> None:
    SampleFiles(num=3).write(small_generator, at(100), run)
    names = sorted(path.name for path in run.path.iterdir())
    assert names == [f"generated_image_epoch_100_{i}.png" for i in range(3)]
    for name, image in zip(names, small_generator.sample(3).images, strict=True):
        assert np.array_equal(read_frame([run.path / name]), image)


@pytest.mark.parametrize(
    "filename",
    ["epoch_{epoch:03}_{index}.png", "{index}_at_{epoch:03}.png", "{epoch}_{index:02}.png", "i{index}_e{epoch}.png"],
)
def test_the_index_may_stand_anywhere(filename: str, run: RunFolder, small_generator: TrainedGenerator) -> None:
    writer = SampleFiles(num=11, filename=filename)
    for epoch in (0, 10, 200):
        writer.write(small_generator, at(epoch), run)
    expected = [[run.path / fill_filename(filename, at(e), index=i) for i in range(11)] for e in (0, 10, 200)]
    assert writer.frames(run) == expected


def test_files_without_an_index_are_refused(run: RunFolder, small_generator: TrainedGenerator) -> None:
    writer = dataclasses.replace(SampleFiles(), filename="epoch_{epoch}.png")
    with pytest.raises(ConfigError) as caught:
        writer.write(small_generator, at(1), run)
    assert str(caught.value) == (
        "config.samples.filename: 'epoch_{epoch}.png' lacks {index}, which tells the files apart"
    )


def test_single_files_become_one_frame(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 1), dtype=np.uint8)
    paths = [save_png(image, tmp_path / f"{i}.png") for i, image in enumerate(images)]
    assert np.array_equal(read_frame(paths), grid(np.repeat(images, 3, axis=3)))
    assert read_frame(paths[:1]).shape == (4, 6, 3)


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.png", "x.png"),
        ("image_at_epoch_{epoch:04}.png", "image_at_epoch_0007.png"),
        ("{step}_{nimg:09}_{kimg}.png", "12_000007500_7.png"),
        ("{epoch}_{index:02}.png", "7_03.png"),
    ],
)
def test_fields_are_filled_in(name: str, expected: str) -> None:
    assert fill_filename(name, at(7.5), index=3) == expected


def test_an_epoch_counts_when_it_is_whole() -> None:
    names = [
        fill_filename("{epoch}.png", Progress(nimg=nimg, step=1, seconds=0, epoch_size=1797)) for nimg in (5390, 5391)
    ]
    assert names == ["2.png", "3.png"]


@pytest.mark.parametrize(
    "name",
    [
        "{epoc}.png", "../x.png", "a/b.png", "a\\b.png", "x.jpg", "{epoch.real}.png", "{epoch!r}.png", "{epoch:3d}.png",
        "{0}.png", "{.png", "{index}.png", "",
    ],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fill_filename(name, at(1))
    assert str(caught.value) == (
        f"config.samples.filename: {name!r} is no file name; "
        "write x.png with any of {epoch}, {step}, {nimg}, {kimg} in it"
    )


@pytest.mark.parametrize(
    ("name", "there", "found"),
    [
        ("fakes_{nimg:09}.png", ["fakes_000000010.png", "fakes_000000009.png"], [1, 0]),
        ("e{epoch}.png", ["e10.png", "e9.png", "e100.png"], [1, 0, 2]),
        ("{epoch}.png", ["real.png", "5.png", "x5.png"], [1]),
        ("a_{epoch}_[new].png", ["a_1_[new].png", "a_1_n.png"], [0]),
    ],
)
def test_only_files_of_that_name_are_found_in_the_order_of_their_numbers(
    name: str, there: list[str], found: list[int], tmp_path: Path
) -> None:
    for file in there:
        (tmp_path / file).touch()
    assert find_pictures(name, tmp_path) == [[tmp_path / there[i]] for i in found]


def test_a_damaged_picture_is_left_out_of_the_animation_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        save_png(np.full((8, 8, 3), 7, np.uint8), path)
    whole = paths[0].read_bytes()
    paths[1].write_bytes(whole[:-20] + bytes(20))
    paths[2].write_bytes(b"")
    assert len(list(read_frames([path] for path in paths))) == 2
    assert [f"{path}: this picture is damaged" in line for path, line in zip(paths[1:3], caplog.messages, strict=True)]


def test_smaller_sheets_of_earlier_versions_are_enlarged_in_the_animation(run: RunFolder) -> None:
    writer = SampleGrid(at_start=False)
    names = [writer.filename.format(step=step, nimg=step, kimg=step, epoch=step) for step in (1, 2)]
    for name, side in zip(names, (8, 16), strict=True):
        save_png(np.full((side, side, 3), side, np.uint8), run.images / name)
    write_final_pictures(run, writer)
    with Image.open(run.animation("gif")) as animation:
        assert animation.size == (16, 16) and animation.n_frames >= 2


@pytest.mark.usefixtures("real_pictures")
def test_at_the_end_there_are_curves_and_an_animation_as_gif_and_where_that_can_be_written_as_mp4(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SampleGrid()
    for nimg in (1, 2):
        name = writer.filename.format(step=nimg, nimg=nimg, kimg=nimg, epoch=nimg)
        save_png(np.full((16, 16, 3), 90 * nimg, np.uint8), run.images / name)
        run.append_stats({"progress/nimg": nimg, "loss/generator": 0.5 * nimg, "loss/generator.std": 0.1})
    write_final_pictures(run, writer)
    with Image.open(run.curves) as curves:
        assert curves.size == (990, 374)
        assert {(209, 73, 91), (255, 255, 255)} <= {colour[:3] for _, colour in curves.getcolors(1 << 20)}
    for kind, signature in (("gif", b"GIF89a"), ("mp4", b"ftyp")):
        assert signature in run.animation(kind).read_bytes()[:12]
        run.animation(kind).unlink()
    monkeypatch.setattr("gansmith.training.sample_sheets.can_write_mp4", lambda: False)
    write_final_pictures(run, writer)
    assert run.animation("gif").exists() and not run.animation("mp4").exists()

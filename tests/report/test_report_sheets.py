"""Sheets are read as the very images that they were made of."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from made_up import CLASSES
from PIL import Image

from gansmith.errors import RunError
from gansmith.images.pixels import on_white, save_png
from gansmith.images.sheets import GAP, SheetRows
from gansmith.report.sheets import SavedSheet, ShownSheet, choose_evenly, find_sheets
from gansmith.runs import RunFolder

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3, 4, 12, 16, 3), (1, 5, 28, 28, 1), (2, 2, 8, 6, 4)])
def test_a_grid_is_read_as_the_images_that_it_was_made_of(shape: tuple[int, ...], tmp_path: Path) -> None:
    images = DRAW.integers(0, 256, shape, np.uint8)
    shown = ShownSheet.read(SheetRows(images=images).save(tmp_path / "x.png"))
    assert shown.tiles is not None and np.array_equal(shown.tiles, on_white(images)) and not shown.classes


@pytest.mark.parametrize(("num", "size", "of"), [(2, 8, 2), (10, 28, 12), (43, 32, 43), (100, 12, 300)])
def test_named_rows_are_read_as_the_images_that_they_were_made_of(num: int, size: int, of: int, tmp_path: Path) -> None:
    images = DRAW.integers(0, 256, (num, 5, size, size, 3), np.uint8)
    names, classes = tuple(f"class {i}" for i in range(of)), tuple(range(of - num, of))
    rows = SheetRows(images=images, classes=classes, class_names=names, num_present=of)
    shown = ShownSheet.read(rows.save(tmp_path / "x.png"))
    assert shown.tiles is not None and np.array_equal(shown.tiles, images) and shown.classes == classes
    assert np.array_equal(shown.pixels, rows.pixels())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiles_are_laid_out_with_gaps_to_see_through(channels: int) -> None:
    tiles = DRAW.integers(0, 256, (2, 3, 5, 7, channels), np.uint8)
    shown = ShownSheet.of(SheetRows(images=tiles)).picture("six", wanted=60)
    assert (shown.width, shown.height, shown.enlarged) == (50, 24, True)  # twice 25 x 12
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.src.partition(",")[2]))))
    assert (pixels[:, 7 : 7 + GAP, 3] == 0).all()
    expected = np.broadcast_to(on_white(tiles[1, 2]), (5, 7, 3))
    assert np.array_equal(pixels[7:12, 18:25, :3], expected)
    assert (pixels[7:12, 18:25, 3] == 255).all()


@pytest.mark.parametrize(
    ("name", "pattern", "files", "titles"),
    [
        ("grid", "fakes_{nimg:09}.png", ["images/fakes_000005120.png"], ["5.12 kimg"]),
        ("grid", "at_{kimg}.png", ["images/at_5.png", "images/at_12.png"], ["5 kimg", "12 kimg"]),
        ("grid", "28px_{epoch:04}.png", ["images/28px_0003.png"], ["epoch 3"]),
        ("files", "x_{epoch:03}_{index}.png", ["x_010_0.png", "x_010_1.png", "x_020_0.png"], ["epoch 10", "epoch 20"]),
    ],
)
def test_moments_are_named_by_how_far_training_was(
    tmp_path: Path, name: str, pattern: str, files: list[str], titles: list[str]
) -> None:
    for file in files:
        save_png(np.zeros((4, 4, 3), np.uint8), tmp_path / file)
    found = find_sheets(RunFolder(tmp_path), {"samples": {"name": name, "filename": pattern}})
    assert [saved.title.replace("\N{NO-BREAK SPACE}", " ") for saved in found] == titles


def test_a_name_whose_search_would_take_for_ever_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be searched"):
        find_sheets(RunFolder(tmp_path), {"samples": {"name": "grid", "filename": "{a}{b}{c}{d}{e}.png"}})


def test_single_files_make_whole_rows(tmp_path: Path) -> None:
    images = DRAW.integers(0, 256, (14, 16, 16, 3), np.uint8)
    paths = tuple(save_png(image, tmp_path / f"{i}.png") for i, image in enumerate(images))
    tiles = SavedSheet(title="", paths=paths).read().tiles
    assert tiles is not None and np.array_equal(tiles, images[:12].reshape(2, 6, 16, 16, 3))


def test_choose_evenly() -> None:
    assert choose_evenly(range(10), 4) == [0, 3, 6, 9]
    assert choose_evenly(CLASSES, 5) == list(CLASSES)

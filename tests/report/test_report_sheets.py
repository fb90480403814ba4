"""Sheets are cut into the very images that they were made of."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from made_up import CLASSES, FACTS
from PIL import Image

from gansmith.errors import RunError
from gansmith.images.pixels import save_png
from gansmith.images.sheets import grid, labelled_rows, shown_classes
from gansmith.report.sheets import GAP, Moment, cut, evenly, moments, rows_of, tiled
from gansmith.runs import RunFolder
from gansmith.training.data_facts import DataFacts

DRAW = np.random.default_rng(0)


def facts_of(height: int, width: int, channels: int, names: tuple[str, ...] = ()) -> DataFacts:
    counts = (1,) * len(names)
    return dataclasses.replace(
        FACTS, height=height, width=width, channels=channels, class_names=names, class_counts=counts
    )


@pytest.mark.parametrize("shape", [(3, 4, 12, 16, 3), (1, 5, 28, 28, 1), (2, 2, 8, 6, 4)])
def test_cutting_is_the_inverse_of_a_grid(shape: tuple[int, ...]) -> None:
    images = DRAW.integers(0, 256, shape, np.uint8)
    sheet = grid(images.reshape(-1, *shape[2:]), columns=shape[1])
    assert np.array_equal(cut(sheet, facts_of(*shape[2:]), 0, labelled=False), images)


@pytest.mark.parametrize(("num", "size"), [(2, 8), (10, 28), (43, 32), (300, 12)])
def test_cutting_is_the_inverse_of_labelled_rows(num: int, size: int) -> None:
    names = tuple(f"class {i}" for i in range(num))
    shown = shown_classes(num)
    images = DRAW.integers(0, 256, (len(shown), 5, size, size, 3), np.uint8)
    sheet = labelled_rows(list(images), names, shown)
    assert np.array_equal(cut(sheet, facts_of(size, size, 3, names), 5, labelled=True), images)


@pytest.mark.parametrize("extra", range(7))
def test_sheets_have_no_row_of_an_empty_class_but_those_of_earlier_versions_are_read(extra: int) -> None:
    num = 3 + extra  # with some numbers of rows, both layouts are of one size
    names, counts = tuple("abcdefghi"[:num]), (5, 0, 2, 1, 1, 1, 1, 1, 1)[:num]
    facts = dataclasses.replace(facts_of(16, 16, 3, names), class_counts=counts)
    now, before = (0, *range(2, num)), tuple(range(num))
    assert rows_of(facts) == now and rows_of(facts, num - 1) == now and rows_of(facts, num) == before
    for shown in (now, before):
        images = DRAW.integers(0, 256, (len(shown), 2, 16, 16, 3), np.uint8)
        sheet = labelled_rows(list(images), names, shown, len(shown))
        assert np.array_equal(cut(sheet, facts, 2, labelled=True), images)


def test_a_picture_of_another_layout_is_refused() -> None:
    with pytest.raises(RunError, match="no sheet of 16x16 images"):
        cut(np.zeros((40, 41, 3), np.uint8), FACTS, 8, labelled=True)
    with pytest.raises(RunError, match="no sheet of 16x16 images"):
        cut(np.zeros((40, 41, 3), np.uint8), FACTS, 8, labelled=False)


def test_facts_that_claim_more_than_the_sheet_can_hold_cost_nothing() -> None:
    huge = dataclasses.replace(FACTS, height=2**14, width=2**14)
    with pytest.raises(RunError):
        cut(np.zeros((40, 40, 3), np.uint8), huge, 10**9, labelled=True)
    with pytest.raises(RunError):
        cut(np.zeros((4000, 400, 3), np.uint8), facts_of(8, 8, 3, ("x" * 10**6,)), 8, labelled=True)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiles_are_laid_out_with_gaps_to_see_through(channels: int) -> None:
    tiles = DRAW.integers(0, 256, (2, 3, 5, 7, channels), np.uint8)
    shown = tiled(tiles, "six", wanted=60)
    assert (shown.width, shown.height, shown.enlarged) == (50, 24, True)  # twice 25 x 12
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.src.partition(",")[2]))))
    assert (pixels[:, 7 : 7 + GAP, 3] == 0).all()
    expected = np.broadcast_to(tiles[1, 2][..., :3], (5, 7, 3)) if channels == 1 else tiles[1, 2][..., :3]
    assert np.array_equal(pixels[7:12, 18:25, :3], expected)
    assert np.array_equal(pixels[7:12, 18:25, 3:], tiles[1, 2][..., 3:] if channels == 4 else np.full((5, 7, 1), 255))


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
    found = moments(RunFolder(tmp_path), {"samples": {"name": name, "filename": pattern}})
    assert [moment.title.replace("\N{NO-BREAK SPACE}", " ") for moment in found] == titles


def test_a_name_whose_search_would_take_for_ever_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be searched"):
        moments(RunFolder(tmp_path), {"samples": {"name": "grid", "filename": "{a}{b}{c}{d}{e}.png"}})


def test_single_files_make_whole_rows(tmp_path: Path) -> None:
    images = DRAW.integers(0, 256, (14, 16, 16, 3), np.uint8)
    paths = tuple(save_png(image, tmp_path / f"{i}.png") for i, image in enumerate(images))
    tiles = Moment(title="", paths=paths).tiles(FACTS, 8, labelled=False)
    assert np.array_equal(tiles, images[:12].reshape(2, 6, 16, 16, 3))


def test_evenly() -> None:
    assert evenly(range(10), 4) == [0, 3, 6, 9]
    assert evenly(CLASSES, 5) == list(CLASSES)

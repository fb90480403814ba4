"""Sheets: every grid's pixel is where it belongs, and every name beside its row."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from gansmith.images import sheets
from gansmith.images.pixels import on_white
from gansmith.images.sheets import (
    FONT,
    GAP,
    Caption,
    SheetRows,
    _font_with,
    _letters,
    choose_classes,
    choose_scale,
    cut_sheet,
    enlarge,
)
from gansmith.types import PixelArray

# Places are counted in the images' own pixels.
grid, labelled_rows = (functools.partial(draw, scale=1) for draw in (sheets.grid, sheets.labelled_rows))


def noise(*shape: int) -> PixelArray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# --- grids -------------------------------------------------------------------------------------------------


def test_a_grid_to_the_pixel() -> None:
    images = np.array([10, 20, 30], np.uint8).reshape(3, 1, 1, 1)
    white = [255, 255, 255, 255]
    expected = [[10, 255, 255, 20], white, white, [30, 255, 255, 255]]
    assert grid(images, columns=2)[:, :, 0].tolist() == expected


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_image_is_in_its_place(channels: int) -> None:
    images = noise(7, 4, 5, channels)
    sheet = grid(images, columns=3)
    assert sheet.shape == (3 * 4 + 2 * 2, 3 * 5 + 2 * 2, min(channels, 3)) and sheet.dtype == np.uint8
    for i, image in enumerate(images):
        top, left = i // 3 * 6, i % 3 * 7
        assert np.array_equal(sheet[top : top + 4, left : left + 5], on_white(image))
    shown = on_white(images)
    assert (sheet == 255).sum() == sheet.size - shown.size + (shown == 255).sum()


@pytest.mark.parametrize(("shape", "columns"), [((9, 8, 8, 1), 3), ((8, 8, 32, 1), 2), ((8, 32, 8, 1), 6)])
def test_a_grid_is_about_square(shape: tuple[int, ...], columns: int) -> None:
    assert grid(noise(*shape)).shape[1] == columns * (shape[2] + 2) - 2


def test_a_small_sheet_is_enlarged_to_about_256_pixels_squared() -> None:
    assert [choose_scale(side, side) for side in (1, 28, 118, 142, 170, 171, 238, 4000)] == [256, 9, 2, 2, 2, 1, 1, 1]
    assert (choose_scale(28, 238), choose_scale(238, 28), choose_scale(32, 270)) == (3, 3, 3)
    digits = noise(16, 28, 28, 1)
    sheet = sheets.grid(digits)
    assert sheet.shape == (4 * 56 + 3 * GAP, 4 * 56 + 3 * GAP, 1)
    for i, digit in enumerate(digits):
        top, left = i // 4 * (56 + GAP), i % 4 * (56 + GAP)
        assert np.array_equal(sheet[top : top + 56 : 2, left : left + 56 : 2], digit)
        assert np.array_equal(sheet[top : top + 56, left : left + 56], enlarge(digit, 2))
    assert (sheet[:, 56 : 56 + GAP] == 255).all()


def test_enlarging_repeats_each_pixel() -> None:
    image = np.array([[1, 2], [3, 4]], np.uint8)[:, :, None]
    assert enlarge(image, 2)[:, :, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert np.array_equal(enlarge(image[None], 3)[0], enlarge(image, 3)) and np.array_equal(enlarge(image, 1), image)


def test_transparent_pixels_are_shown_on_white() -> None:
    images = np.zeros((2, 1, 3, 4), np.uint8)  # black, of which alpha hides all, nothing and half
    images[..., 3] = 0, 255, 128
    assert grid(images, columns=1)[0].tolist() == [[255] * 3, [0] * 3, [127] * 3]
    rows = labelled_rows([images, images], ["one", "two"])
    assert rows.shape[2] == 3 and rows[0, -3:].tolist() == [[255] * 3, [0] * 3, [127] * 3]


@pytest.mark.parametrize("shape", [(2, 3, 8, 8, 1), (2, 3, 12, 6, 4), (3, 8, 40, 40, 3)])
@pytest.mark.parametrize("classes", [(), (4, 1, 0)])
def test_the_layout_says_where_the_images_are_and_how_large(
    shape: tuple[int, ...], classes: tuple[int, ...], tmp_path: Path
) -> None:
    names = tuple(f"class {i}" for i in range(5))
    rows = SheetRows(images=noise(*shape), classes=classes[: shape[0]], class_names=names, num_present=5)
    with Image.open(rows.save(tmp_path / "x.png")) as saved:
        pixels, layout = np.asarray(saved), json.loads(saved.info["layout"])
    assert np.array_equal(pixels.reshape(rows.pixels().shape), rows.pixels())
    assert (layout["scale"] > 1) == (shape[2] < 40) and (layout["height"], layout["width"]) == shape[2:4]
    assert np.array_equal(cut_sheet(rows.pixels(), layout), on_white(rows.images))


def test_a_layout_of_earlier_versions_is_of_images_as_they_are() -> None:
    layout = {"height": 2, "width": 3, "columns": 2, "rows": [[0, 0]]}
    assert cut_sheet(np.zeros((2, 8, 3), np.uint8), layout).shape == (1, 2, 2, 3, 3)


def place(sheet: PixelArray, part: PixelArray) -> tuple[int, int]:
    """Row and column where the part lies in the sheet, if it does exactly once."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, part.shape)[:, :, 0]
    found = np.argwhere((windows == part).all(axis=(2, 3, 4)))
    assert len(found) == 1
    return int(found[0][0]), int(found[0][1])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_labelled_rows_stand_below_each_other_beside_their_labels(channels: int) -> None:
    rows = list(noise(2, 3, 16, 12, channels))
    sheet = labelled_rows(rows, ["stop", "a long name"])
    assert sheet.ndim == 3 and sheet.shape[2] == min(channels, 3) and sheet.dtype == np.uint8
    places = [place(sheet, grid(row, columns=3)) for row in rows]
    assert places[0][0] < places[1][0] and places[0][1] == places[1][1]
    for top, left in places:
        beside = sheet[top : top + 16, :left]
        assert beside[..., : min(channels, 3)].min() < 128  # ink


def test_many_rows_stand_in_blocks_side_by_side() -> None:
    rows = list(noise(40, 2, 16, 16, 1))
    sheet = labelled_rows(rows, [str(i) for i in range(40)])
    tops, lefts = zip(*(place(sheet, grid(row, columns=2)) for row in rows), strict=True)
    assert len(set(lefts)) > 1 and 0.5 < sheet.shape[0] / sheet.shape[1] < 2
    assert list(zip(lefts, tops, strict=True)) == sorted(zip(lefts, tops, strict=True))


def layout(rows: list[PixelArray], names: list[str], of: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The sheet's height and width and where each row begins, from the words of the docs.

    Letters are half as high as the images, between 9 and 14 pixels; names have 8 pixels more than the longest needs,
    rows are 2 pixels apart and blocks 8, and as many blocks stand side by side as make the sheet about square.
    """
    height, width = rows[0].shape[1], len(rows[0]) * (rows[0].shape[2] + 2) - 2
    letters = min(max(height // 2, 9), 14)
    font = ImageFont.truetype(FONT, letters, layout_engine=ImageFont.Layout.BASIC)
    margin = int(np.ceil(max(font.getlength(name) for name in names))) + 8
    step = max(height, letters + 2) + 2
    blocks = max(1, round((len(rows) * step / (margin + width)) ** 0.5))
    depth = -(-len(rows) // blocks)
    note = 2 * letters if len(rows) < of else 0
    places = [(i % depth * step, margin + i // depth * (margin + width + 8)) for i in range(len(rows))]
    return (depth * step - 2 + note, blocks * (margin + width + 8) - 8), places


@pytest.mark.parametrize(("num", "height", "width", "columns"), [
    (1, 16, 12, 3), (2, 8, 40, 2), (7, 30, 30, 1), (40, 16, 16, 2), (26, 20, 8, 4), (5, 22, 5, 1),
])  # fmt: skip
@pytest.mark.parametrize("more", [0, 3])
def test_the_layout_of_named_rows_to_the_pixel(num: int, height: int, width: int, columns: int, more: int) -> None:
    rows, names = list(noise(num, columns, height, width, 3)), [f"name {i}" for i in range(num + more)]
    sheet = labelled_rows(rows, names, range(num))
    size, places = layout(rows, names[:num], num + more)
    wanted = Image.new("RGB", size[::-1], "white")
    draw, letters = ImageDraw.Draw(wanted), ImageFont.truetype(FONT, min(max(height // 2, 9), 14))
    for (top, left), row, name in zip(places, rows, names, strict=False):
        wanted.paste(Image.fromarray(grid(row, columns)), (left, top))
        basic = ImageFont.truetype(FONT, letters.size, layout_engine=ImageFont.Layout.BASIC)
        ratio = letters.getlength(name) / basic.getlength(name)  # another layout may be wider: it gets smaller letters
        font = letters.font_variant(size=letters.size / ratio) if ratio > 1 else letters
        draw.text((left - 6, top + height // 2), name, fill="black", font=font, anchor="rm")
    if more:
        draw.text((2, size[0] - 2), f"{num} of {num + 3} classes", fill="black", font=letters, anchor="ld")
    assert np.array_equal(sheet, np.asarray(wanted))


def test_each_row_has_a_name() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        labelled_rows(list(noise(2, 3, 16, 12, 1)), ["one", "two", "three"])


def test_of_many_classes_some_are_shown_evenly_chosen_and_it_is_said() -> None:
    assert choose_classes(43) == list(range(43))
    shown = choose_classes(250)
    assert len(shown) == 100 and shown[0] == 0 and shown[-1] == 249 and set(np.diff(shown)) == {2, 3}
    assert choose_classes(4, [3, 0, 1, 0]) == [0, 2] and choose_classes(3, [0, 0, 0]) == [0, 1, 2]
    most = choose_classes(300, [number % 2 for number in range(300)])
    assert len(most) == 100 and most[0] == 1 and most[-1] == 299 and all(number % 2 for number in most)
    rows, names = list(noise(2, 3, 16, 12, 1)), ["stop", "yield", "x" * 20]
    all_there, some_there = labelled_rows(rows, names[:2]), labelled_rows(rows, names, [0, 1])
    assert np.array_equal(some_there[: len(all_there)], all_there)
    assert np.array_equal(labelled_rows(rows, names, [0, 1], 2), all_there)
    assert some_there[len(all_there) :].min() < 128  # "2 of 3 classes"


# --- names on a sheet --------------------------------------------------------------------------------------


def beside(*names: str, shown: list[int] | None = None) -> PixelArray:
    """What stands left of rows of one black pixel."""
    rows = [np.zeros((1, 16, 1, 1), np.uint8)] * len(shown or names)
    sheet = labelled_rows(rows, names, shown)
    assert (sheet[:16, -1] == 0).all() and sheet[:, :-1].min() < 128
    return sheet[:, :-1]


@pytest.mark.parametrize("name", ["стоп", "Überholverbot", "στάση", "żółć", "قف"])
def test_names_of_other_alphabets_are_drawn_not_boxes(name: str) -> None:
    assert not np.array_equal(beside(name), beside(name[::-1]))


def test_a_name_that_no_font_can_draw_gives_way_to_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    names = ["as wide as the rest", "\N{LINEAR B SYLLABLE B008 A}", "1"]
    assert np.array_equal(beside(*names, shown=[0, 1])[:32], beside(*names, shown=[0, 2])[:32])


@pytest.mark.parametrize("path", [None, FONT])
def test_the_layout_is_that_of_the_names_whatever_fonts_there_are(
    path: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansmith.images.sheets._font_with", lambda letters: path)
    assert beside("停止", "stop").shape == (34, 29, 1)


@pytest.mark.parametrize(
    ("name", "same"),
    [("two\n\nlines\u00a0", "two lines"), ("U\u0308ber", "Über"), ("\udcffx\x00", "x"), ("\x1b", "0"), ("", "0")],
)
def test_names_that_files_may_have_are_drawn_too(name: str, same: str) -> None:
    assert np.array_equal(beside(name), beside(same))


def test_long_names_lose_their_middle() -> None:
    assert np.array_equal(beside("a" * 500 + "1"), beside("a" * 50 + "1"))
    assert not np.array_equal(beside("a" * 50 + "1"), beside("a" * 50 + "2"))
    assert beside("a" * 500).shape[1] < 300


def test_a_name_has_32_letters_at_most_of_which_12_are_its_ends() -> None:
    fits, longer = "".join(map(chr, range(65, 97))), "".join(map(chr, range(65, 98)))
    assert Caption.of(fits, 0, 10).text == fits and len(fits) == 32
    assert Caption.of(longer, 0, 10).text == longer[:20] + "..." + longer[-9:]


@pytest.mark.parametrize("name", ["stop", "停止", "i", "Überholverbot 停"])
def test_a_names_width_is_that_of_its_letters_and_half_a_letter_more_for_wide_ones(name: str) -> None:
    font = ImageFont.truetype(FONT, 12, layout_engine=ImageFont.Layout.BASIC)
    wide = sum(letter in "停止" for letter in name)
    label = Caption.of(name, 123, 12)
    assert label.width == max(font.getlength(name) + 6 * wide, font.getlength("123"))
    assert label.font.getlength(label.text) <= label.width + 1


def test_a_font_is_made_smaller_where_its_letters_are_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    bold = FONT.with_name("DejaVuSans-Bold.ttf")
    monkeypatch.setattr("gansmith.images.sheets._font_with", lambda letters: bold)
    label, narrow = Caption.of("wide enough", 0, 14), ImageFont.truetype(FONT, 14, layout_engine=ImageFont.Layout.BASIC)
    assert label.font.path == bold and label.width == narrow.getlength("wide enough")
    assert label.font.size == pytest.approx(14 * label.width / ImageFont.truetype(bold, 14).getlength("wide enough"))
    monkeypatch.setattr("gansmith.images.sheets._font_with", lambda letters: FONT)
    assert Caption.of("wide enough", 0, 14).font.size == pytest.approx(14, rel=0.05)


def test_the_first_regular_font_with_all_letters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"/z/a-Bold.ttf": "停止", "/z/c-Regular.ttf": "停止", "/z/b-REGULAR.ttf": "停止", "/z/0-regular.ttf": "停"}
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: list(have))
    monkeypatch.setattr("gansmith.images.sheets._letters", lambda path: frozenset(have.get(str(path), "ab")))
    _font_with.cache_clear()
    try:
        assert _font_with(frozenset("停止")) == Path("/z/b-REGULAR.ttf")
        assert _font_with(frozenset("ab")) == FONT and _font_with(frozenset("é")) is None
    finally:
        _font_with.cache_clear()


def test_a_damaged_font_has_no_letters(tmp_path: Path) -> None:
    (tmp_path / "x.ttf").write_bytes(b"no font")
    assert _letters(tmp_path / "x.ttf") == frozenset() and {"a", "ü", "ж"} <= _letters(FONT)


def test_images_too_large_for_memory_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(sheets, "LARGE_BYTES", 100)
    monkeypatch.setattr(sheets, "require_bytes", lambda *given: asked.append(given))
    sheets.enlarge(np.zeros((2, 4, 5, 3), np.uint8), 3)
    assert asked == [(2 * 120 * 9, torch.device("cpu"), "scale", "2 images 3 times as large")]

"""Tables of images: pictures stand where their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansmith.errors import ConfigError
from gansmith.images.sheets import enlarge, fit_scale
from gansmith.images.tables import ImageTable

DRAWN = np.random.default_rng(0).integers(0, 200, (3, 2, 6, 8, 3), np.uint8)  # no white


def find(image: np.ndarray, sheet: np.ndarray) -> tuple[int, int]:
    """The only place, top and left, at which an image stands on a sheet."""
    height, width = image.shape[:2]
    places = [
        (top, left)
        for top, left in np.argwhere((sheet == image[0, 0]).all(axis=-1))
        if np.array_equal(sheet[top : top + height, left : left + width], image)
    ]
    (place,) = places
    return place


def test_rows_and_columns_stand_in_order_and_have_names() -> None:
    sheet = ImageTable(images=DRAWN, row_names=("one", "two", "three"), column_names=("a", "b")).sheet(scale=4)
    places = np.array([[find(enlarge(image, 4), sheet) for image in row] for row in DRAWN])
    assert np.array_equal(np.diff(places[:, :, 0], axis=0), [[26, 26]] * 2)
    assert np.array_equal(np.diff(places[:, :, 1], axis=1), [[34]] * 3)
    top, left = places[0, 0]
    assert (sheet[top:, :left] < 100).any() and (sheet[:top, left : left + 32] < 100).any()
    assert (sheet[:, :2] == 255).all()  # no name touches the edge
    bare = ImageTable(images=DRAWN).sheet(scale=4)
    assert bare.shape == (3 * 26 - 2, 2 * 34 - 2, 3)


def test_many_rows_are_split_into_blocks() -> None:
    images = np.random.default_rng(1).integers(0, 200, (40, 1, 8, 8, 1), np.uint8)
    names = tuple(map(str, range(40)))
    sheet = ImageTable(images=images, row_names=names, column_names=("a",)).sheet()
    assert 0.5 < sheet.shape[0] / sheet.shape[1] < 2 and sheet.shape[2] == 1
    scale = next(s for s in range(1, 40) if (sheet[:, :, 0] != 255).sum() <= 40 * 64 * (s + 0.5) ** 2)
    first, last = find(enlarge(images[0, 0], scale), sheet), find(enlarge(images[39, 0], scale), sheet)
    assert last[1] > first[1] and find(enlarge(images[1, 0], scale), sheet)[1] == first[1]


def test_long_column_names_shrink_to_their_images() -> None:
    names = ("a very long name of a column", "b")
    sheet = ImageTable(images=DRAWN, column_names=names).sheet(scale=4)
    header = sheet[: find(enlarge(DRAWN[0, 0], 4), sheet)[0]]
    assert (header[:, 33:44] == 255).all() and (header[:, :32] < 200).any()


@pytest.mark.parametrize(
    ("shape", "scale"),
    [((1, 1, 32, 32), 8), ((1, 8, 32, 32), 5), ((40, 1, 32, 32), 2), ((30, 1, 90, 90), 1), ((1, 1, 300, 300), 1)],
)
def test_images_are_enlarged_to_256_pixels_or_as_far_as_a_screen_allows(
    shape: tuple[int, int, int, int], scale: int
) -> None:
    assert fit_scale(*shape) == scale


def test_files(tmp_path: Path) -> None:
    table = ImageTable(images=DRAWN, row_names=("one", "two", "three"))
    with Image.open(table.save(tmp_path / "deep" / "x.png", scale=2)) as read:
        assert np.array_equal(np.asarray(read), table.sheet(scale=2))
    with np.load(table.save(tmp_path / "x.npz"), allow_pickle=False) as read:
        assert np.array_equal(read["images"], DRAWN) and read["row_names"].tolist() == ["one", "two", "three"]
    folder = table.save(tmp_path / "folder", scale=2, smooth=True)
    assert len(list(folder.iterdir())) == 6
    with Image.open(folder / "row002_column001.png") as read:
        wanted = Image.fromarray(DRAWN[2, 1]).resize((16, 12), Image.Resampling.BICUBIC)
        assert np.array_equal(np.asarray(read), np.asarray(wanted))
    with pytest.raises(ConfigError, match=r"cannot write \.gif files; expected x\.png, x\.npz, or a folder$"):
        table.save(tmp_path / "x.gif")
    assert table._repr_png_().startswith(b"\x89PNG")

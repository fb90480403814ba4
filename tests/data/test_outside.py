"""Images from outside: fitted as a data set's are, and hostile ones refused in one line."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansmith.data import outside
from gansmith.data.folder import Folder
from gansmith.data.outside import fit_images
from gansmith.data.store import Preparation, prepare
from gansmith.errors import DataError
from gansmith.types import ImageSpec

SPEC = ImageSpec(height=12, width=16, channels=3)
DRAW = np.random.default_rng(0)


def photo(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    Image.fromarray(DRAW.integers(0, 256, (*size, *channels), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_they_get_the_pixels_that_training_gives_them(tmp_path: Path, fit: str) -> None:
    paths = [photo(tmp_path / "a.png", (40, 30)), photo(tmp_path / "b.jpg", (90, 200))]
    paths += [photo(tmp_path / "c.png", (9, 9), "RGBA")]
    wide = DRAW.integers(0, 4096, (20, 20)).astype(np.uint16)  # 12 bits
    Image.fromarray(wide).save(tmp_path / "d.png")
    preparation = Preparation(size=(12, 16), channels="rgb", fit=fit)  # type: ignore[arg-type]
    store = prepare(Folder(path=tmp_path), preparation, cache=tmp_path / "cache")
    found = fit_images([*paths, str(tmp_path / "d.png")], SPEC, preparation)
    assert np.array_equal(found, store.images)
    assert found[3].max() > 200, "12 bits are not read as 16"


def test_files_bytes_pictures_and_arrays_are_one(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", (40, 30))
    picture = Image.open(path)
    array = np.asarray(picture)
    expected = fit_images(path, SPEC)
    assert expected.shape == (1, 12, 16, 3) and expected.dtype == np.uint8
    for given in (str(path), path.read_bytes(), picture, array, array[None], [array]):
        assert np.array_equal(fit_images(given, SPEC), expected)
    gray = fit_images(array[..., 0], ImageSpec(height=8, width=8, channels=1))
    assert gray.shape == (1, 8, 8, 1)


def test_what_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("no picture")
    os.mkfifo(tmp_path / "pipe.png")
    cases = {
        tmp_path / "none.png": "there is no such file",
        tmp_path: "it is a folder; name the files in it",
        tmp_path / "pipe.png": "there is no such file",
        tmp_path / "text.png": "not an image",
    }
    for path, why in cases.items():
        with pytest.raises(DataError, match=why) as caught:
            fit_images([path], SPEC)
        assert str(caught.value).startswith(f"{path}: cannot be read (") and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"^image 1: cannot be read \(float64 \[4, 4\], expected uint8"):
        fit_images([np.zeros((4, 4), np.uint8), np.zeros((4, 4))], SPEC)  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"^images: got 0, expected 1 to 256$"):
        fit_images([], SPEC)
    monkeypatch.setattr(outside, "LARGEST_FILE", 100)
    with pytest.raises(DataError, match="more than 100 bytes"):
        fit_images(photo(tmp_path / "large.png", (40, 30)), SPEC)
    monkeypatch.setattr(outside, "PIXEL_LIMIT", 100)
    for large in (np.zeros((11, 10), np.uint8), Image.new("L", (11, 10))):
        with pytest.raises(DataError, match="more than the limit of 100 pixels"):
            fit_images(large, SPEC)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("1", (12_000, 9_000)).save(buffer, "PNG")
    with pytest.raises(DataError, match="more than the limit of 100,000,000"):
        fit_images(buffer.getvalue(), SPEC)

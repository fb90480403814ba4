"""Pixels: every grey level survives, files read back the same."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gansmith.errors import ConfigError
from gansmith.images.pixels import (
    SIGNED,
    UNIT,
    ValueRange,
    file_kind,
    on_white,
    png_bytes,
    save_png,
    to_array,
    to_float,
    to_uint8,
)
from gansmith.types import PixelArray

LEVELS = torch.arange(256, dtype=torch.uint8)


def noise(*shape: int) -> PixelArray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("value_range", "middle"), [(SIGNED, -1 + 2 * 51 / 255), (UNIT, 0.2)])
def test_all_grey_levels_survive(value_range: ValueRange, middle: float) -> None:
    images = to_float(LEVELS, value_range)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == value_range and images[51] == pytest.approx(middle)
    assert torch.equal(to_uint8(images, value_range), LEVELS)


@pytest.mark.parametrize("value_range", [SIGNED, UNIT])
def test_floats_go_to_the_nearest_level_and_are_clipped(value_range: ValueRange) -> None:
    low, high = value_range
    level = (high - low) / 255
    images = torch.tensor([low - 9, low + 0.49 * level, low + 0.51 * level, high - 0.49 * level, high + 9])
    before = images.clone()
    assert to_uint8(images, value_range).tolist() == [0, 0, 1, 255, 255]
    assert torch.equal(images, before)


def test_converting_keeps_the_pixels_the_memory_format_and_the_argument() -> None:
    pixels = torch.from_numpy(noise(2, 5, 4, 3)).permute(0, 3, 1, 2)
    before = pixels.clone()
    images = to_float(pixels)
    assert images.is_contiguous(memory_format=torch.channels_last) and torch.equal(pixels, before)
    assert np.array_equal(to_array(to_uint8(images)), noise(2, 5, 4, 3))


def test_alpha_is_laid_on_white() -> None:
    image = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 128]]], np.uint8)
    assert on_white(image).tolist() == [[[10, 20, 30], [255, 255, 255], [127, 177, 227]]]
    assert on_white(image[None]).shape == (1, 1, 3, 3)
    for channels in (1, 3):
        assert np.array_equal(on_white(image[..., :channels]), image[..., :channels])


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_png_files_read_back_the_same(channels: int, mode: str, tmp_path: Path) -> None:
    image = noise(5, 6, channels)
    path = save_png(image, tmp_path / "a" / "b" / "x.png")
    for source in (path, io.BytesIO(png_bytes(image))):
        with Image.open(source) as read:
            assert (read.format, read.mode) == ("PNG", mode)
            assert np.array_equal(np.asarray(read).reshape(image.shape), image)


KINDS = [
    "png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "svg", "pdf", "gif", "apng", "mp4", "avi", "mov", "webm", "mkv",
    "npz", "npy", "zip", "tar", "json", "html",
]  # fmt: skip


def test_endings_of_files_and_everything_else(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / f"folder.{kind}").mkdir()
        assert file_kind(f"x.{kind}") == file_kind(Path(f"a.b/x.{kind.upper()}")) == kind
        assert file_kind(tmp_path / f"folder.{kind}") == file_kind(f"x.{kind}/") == ""
    for name in ("x", "x.v2", "png", ".png", "x.png.d", "x.txt"):
        assert file_kind(name) == ""


def test_a_file_is_written_over_where_its_folder_is_there(tmp_path: Path) -> None:
    for image in (noise(3, 3, 3), 255 - noise(3, 3, 3)):
        with Image.open(save_png(image, tmp_path / "a" / "x.png")) as read:
            assert np.array_equal(np.asarray(read), image)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.png"]


def test_other_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        save_png(noise(4, 4, 2), tmp_path / "x.png")
    expected = "image: 2 channels cannot be drawn; expected 1 (gray), 3 (RGB) or 4 (RGBA)"
    assert str(caught.value) == expected and not (tmp_path / "x.png").exists()

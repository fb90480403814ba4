"""formats: photographs that cannot be decoded and pointers to files elsewhere are recognised and named."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansmith.cli import main
from gansmith.data import formats
from gansmith.data.convert import to_pixels
from gansmith.data.decode import decode
from gansmith.data.folder import Folder
from gansmith.data.store import prepare
from gansmith.errors import DataError, UnreadableImage

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"x" * 400
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12000\n"


def tiny_png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def folder_of(path: Path, files: dict[str, bytes]) -> Folder:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return Folder(path=path)


# --- photographs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "remedy"),
    [
        ("a.HEIC", b"any bytes", "pip install 'gansmith[heic]'"),
        ("a.hif", HEIC, "pip install 'gansmith[heic]'"),
        ("really-heic.jpg", HEIC, "pip install 'gansmith[heic]'"),
        ("a.jxl", b"any bytes", "a JPEG XL image"),
        ("a.png", b"\xff\x0a" + b"x" * 40, "a JPEG XL image"),
        ("a.jp2", b"any bytes", "a JPEG 2000 image"),
        ("a.CR2", b"any bytes", "a RAW photograph"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0", "a RAW photograph"),
    ],
)
def test_photographs_are_unreadable_images_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, remedy: str
) -> None:
    monkeypatch.setattr("gansmith.data.decode.readable_formats", lambda: formats.FORMATS)  # no plugin installed
    source = folder_of(tmp_path, {name: data, "b.png": tiny_png()})
    assert len(source.records()) == 2
    with pytest.raises(DataError, match=r"1 of 2 images \(50.0%\) cannot be read") as caught:
        prepare(source, cache=tmp_path / "cache")
    assert remedy in str(caught.value) and "convert it to JPEG or PNG" in str(caught.value)


def test_the_thumbnail_in_a_raw_photograph_is_not_taken_for_it() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "TIFF")  # as DNG, NEF and CR2 begin
    with pytest.raises(UnreadableImage, match="a RAW photograph"):
        decode(file.getvalue(), name="DSC_0001.NEF")
    assert decode(file.getvalue(), name="scan.tif").size == (8, 8)


def test_a_jpeg_by_the_name_of_a_photograph_is_read(tmp_path: Path) -> None:
    assert decode(tiny_png(), name="IMG_1.HEIC").size == (8, 8)


def test_a_photograph_beside_its_jpeg_is_not_counted_twice(tmp_path: Path) -> None:
    records = folder_of(tmp_path, {"1.CR2": b"x", "1.JPG": b"y", "2.jpg": b"z", "3.heic": b"w"}).records()
    assert list(records.names) == ["1.JPG", "2.jpg", "3.heic"]
    assert records.skipped == (("1.CR2", "beside an image of the same name"),)


def test_heic_is_read_where_its_extra_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif")
    picture = Image.fromarray(np.full((16, 24, 3), (200, 30, 30), np.uint8))
    file = io.BytesIO()
    heif.from_pillow(picture).save(file, quality=95)
    pixels = to_pixels(decode(file.getvalue(), name="IMG_1.HEIC"), (16, 24), 3)
    assert np.abs(pixels.astype(int) - np.asarray(picture)).max() < 12


# --- pointers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (POINTER, "git lfs pull"),
        (b"/annex/objects/SHA256E-s100--00.png\n", "git annex get"),
        (b"../.git/annex/objects/xx/yy/SHA256E-s100--00.png/SHA256E-s100--00.png\n", "git annex get"),
    ],
)
def test_pointers_are_recognised(data: bytes, remedy: str) -> None:
    with pytest.raises(UnreadableImage, match=f"not the file itself; run '{remedy}'"):
        decode(data)


def test_a_clone_without_its_images_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path, {f"{i}.png": POINTER for i in range(12)})
    assert main(["data", "check", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "unreadable  12" in printed.out and "git lfs pull" in printed.err and printed.err.count("\n") == 1


@pytest.mark.parametrize("name", ["set.npz", "set.zip"])
def test_archives_that_are_pointers_are_recognised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_bytes(POINTER)
    assert main(["data", "check", str(tmp_path / name)]) == 2
    assert "git lfs pull" in capsys.readouterr().err


# --- PNG's transparent colour ------------------------------------------------------------------------------


def png(depth: int, kind: int, row: bytes, transparent: bytes, width: int = 8) -> bytes:
    """Two equal rows of a PNG of any depth."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 2, depth, kind, 0, 0, 0))
    pixels = zlib.compress((b"\0" + row) * 2)
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"tRNS", transparent) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "row"), [(1, b"\x0f"), (2, b"\x00\xff"), (4, b"\0\0\xff\xff"), (8, b"\0" * 4 + b"\xff" * 4)]
)
@pytest.mark.parametrize("transparent", [0, -1])
def test_gray_of_any_depth_keeps_its_transparency(depth: int, row: bytes, transparent: int) -> None:
    declared = struct.pack(">H", transparent % 2**depth)
    pixels = to_pixels(decode(png(depth, 0, row, declared)), (2, 8), 4)
    assert pixels[0, :, 0].tolist() == [0] * 4 + [255] * 4
    assert pixels[0, :, 3].tolist() == ([0] * 4 + [255] * 4 if transparent == 0 else [255] * 4 + [0] * 4)


def test_16_bit_gray_is_transparent_where_all_16_bits_say_so() -> None:
    row = struct.pack(">8H", 0, 0, 1, 255, 256, 51400, 65535, 65534)
    pixels = to_pixels(decode(png(16, 0, row, struct.pack(">H", 0))), (2, 8), 4)
    assert pixels[0, :, 3].tolist() == [0, 0, 255, 255, 255, 255, 255, 255] and pixels[0, 5].tolist() == [200] * 3 + [
        255
    ]
    assert to_pixels(decode(png(16, 0, row, struct.pack(">H", 0))), (2, 8), 3)[0, 0].tolist() == [255, 255, 255]


def test_16_bit_colour_keeps_its_transparency() -> None:
    row = struct.pack(">24H", *([51400, 0, 257] * 4), *([257, 65535, 0] * 4))
    pixels = to_pixels(decode(png(16, 2, row, struct.pack(">3H", 51400, 0, 257))), (2, 8), 4)
    assert pixels[0, 0].tolist() == [200, 0, 1, 0] and pixels[0, 4].tolist() == [1, 255, 0, 255]


def test_16_bit_transparency_makes_a_set_rgba(tmp_path: Path) -> None:
    row = struct.pack(">8H", *[0] * 4, *[51400] * 4)
    store = prepare(folder_of(tmp_path / "set", {"a.png": png(16, 0, row, b"\0\0")}), cache=tmp_path)
    assert store.spec.channels == 4

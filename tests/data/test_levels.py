"""levels: one scale for all images of a set that have more than 8 bits, chosen or stated, said and recorded."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gansmith.data.check import check
from gansmith.data.decode import decode
from gansmith.data.folder import Folder
from gansmith.data.store import Preparation, Store, prepare
from gansmith.errors import DataError

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def stored(folder: Path, *arrays: Any, suffix: str = "tif", **options: Any) -> Store:
    (folder / "set").mkdir()
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / "set" / f"{i}.{suffix}")
    return prepare(Folder(path=folder / "set"), Preparation(**options), cache=folder)


def wide(bits: int, share: float = 1) -> Any:
    return np.rint(RAMP * share * (2**bits - 1)).astype(np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_the_bits_that_a_set_uses_become_all_of_its_levels(tmp_path: Path, bits: int, suffix: str) -> None:
    store = stored(tmp_path, wide(bits, 0.5), wide(bits), suffix=suffix)
    assert np.abs(store.images[1, ..., 0] - RAMP * 255).max() <= 0.51
    assert np.abs(store.images[0, ..., 0] - RAMP * 127.5).max() <= 0.51  # the same scale, not its own
    assert f"read as {bits} bits, {2**bits - 1} is white" in store.notes[0]
    assert f"read as {bits} bits" in check(Folder(path=tmp_path / "set")).notes[0]
    assert json.loads((store.path / "store.json").read_text())["levels"]["integers"] == [0, 2**bits - 1]


def test_stated_levels_clip_and_are_part_of_the_digest(tmp_path: Path) -> None:
    store = stored(tmp_path, wide(12), levels=(1000, 2000))
    expected = ((wide(12).astype(float) - 1000) / 1000).clip(0, 1) * 255
    assert np.abs(store.images[0, ..., 0] - expected).max() <= 0.51 and store.notes == ()
    others = [Preparation(levels=(1000, 2001)), Preparation()]
    digests = {prepare(Folder(path=tmp_path / "set"), other, cache=tmp_path).digest for other in others}
    assert len({store.digest, *digests}) == 3


def test_images_of_8_bits_beside_those_of_12_stay_as_they_are(tmp_path: Path) -> None:
    eight = np.rint(RAMP * 255).astype(np.uint8)
    store = stored(tmp_path, eight, wide(12), eight)
    assert (store.images[0] == store.images[2]).all() and np.array_equal(store.images[0, ..., 0], eight)
    assert np.abs(store.images[1].astype(int) - store.images[0]).max() <= 1
    assert store.notes[0].startswith("1 images of 16 bits have values up to 4095")


def test_floats_get_one_range_for_the_set(tmp_path: Path) -> None:
    store = stored(tmp_path, (RAMP * 0.9).astype(np.float32), (RAMP * 250).astype(np.float32))
    assert store.images[0].max() == 1 and store.images[1].max() == 250
    assert store.notes == ("2 float images: 0 is black, 255 is white",)


def test_floats_that_fit_no_range_are_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set: 1 float images have values from 0 to 4095; .*--preparation.levels"):
        stored(tmp_path, (RAMP * 4095).astype(np.float32))
    source = Folder(path=tmp_path / "set")
    assert "from 0 to 4095" in check(source).notes[0]
    images = prepare(source, Preparation(levels=(0, 4095)), cache=tmp_path).images
    assert np.abs(images[0, ..., 0] - RAMP * 255).max() <= 0.51


def png_of_16_bit_colours(values: Any) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = values.shape
    start = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_colours_of_more_than_8_bits_are_scaled_too(tmp_path: Path, bits: int, channels: int) -> None:
    values = np.stack([wide(bits), wide(bits)[::-1], wide(bits).T, np.full((8, 8), 65535)], axis=-1)[..., :channels]
    (tmp_path / "a.png").write_bytes(png_of_16_bit_colours(values))
    store = prepare(Folder(path=tmp_path), Preparation(channels="rgb"), cache=tmp_path / "cache")
    expected = np.rint(values[..., :3] / (2**bits - 1) * 255)
    assert np.array_equal(store.images[0], expected) and f"read as {bits} bits" in store.notes[0]


def test_16_bit_colours_of_full_range_arrive_as_before(tmp_path: Path) -> None:
    values = np.stack([wide(16)] * 3, axis=-1)
    assert np.array_equal(np.asarray(decode(png_of_16_bit_colours(values))), values >> 8)


def test_what_cropping_cuts_off_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for i in range(10):
        Image.new("L", (20, 20) if i > 1 else (20, 60)).save(tmp_path / "set" / f"{i}.png")
    source = Folder(path=tmp_path / "set")
    found = "2 of 10 images lose more than a third of their area by cropping to 16x16; "
    for notes in (check(source).notes, prepare(source, cache=tmp_path).notes):
        assert notes[-1].startswith(found) and "--preparation.fit pad" in notes[-1]
    assert prepare(source, Preparation(fit="pad"), cache=tmp_path).notes == ()
    (tmp_path / "set" / "0.png").unlink()
    (tmp_path / "set" / "1.png").unlink()
    assert prepare(source, cache=tmp_path).notes == ()

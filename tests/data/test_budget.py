"""The budget of memory: threads wait for it, nothing exceeds it; images made in parts equal those made at once."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gansmith.data import budget
from gansmith.data import decode as decoding
from gansmith.data import tiles as tiling
from gansmith.data.archive import open_archive
from gansmith.data.budget import DECODING, FILES, Budget, hold_image_memory
from gansmith.data.check import check
from gansmith.data.convert import convert, to_pixels
from gansmith.data.decode import decode
from gansmith.data.folder import Folder
from gansmith.data.levels import span_of
from gansmith.data.store import prepare
from gansmith.errors import UnreadableImage

SIDE = 40


@pytest.fixture(autouse=True)
def whole_budgets() -> Iterator[None]:
    yield
    assert DECODING.taken == FILES.taken == 0
    DECODING.reset()
    FILES.reset()


def scene(mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    if mode == "F":
        return Image.fromarray(values[..., 0].astype(np.float32) / 255)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(values).convert("RGB" if mode == "P" else "RGBA").convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_16(channels: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    values = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE * channels)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


FILES_OF_ALL_KINDS = {
    **{mode: encoded(scene(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "transparent palette": encoded(scene("P"), transparency=3),
    "RGB16": png_16(3),
    "RGBA16": png_16(4),
    **{mode: encoded(scene(mode), "TIFF") for mode in ("F", "CMYK")},
    "YCbCr": encoded(scene("YCbCr"), "TIFF", compression="tiff_lzw"),  # Pillow 12 cannot read it without
    "WebP": encoded(scene("RGBA"), "WEBP", lossless=True),
}


def test_a_thread_waits_until_enough_is_given_back() -> None:
    shared, steps = Budget(0, 100, 1.0), []
    shared.measured = 100
    asked = threading.Event()

    def second() -> None:
        asked.set()
        with shared.hold(60, "it"):
            steps.append(f"second of {shared.taken}")

    with shared.hold(60, "it"):
        thread = threading.Thread(target=second)
        thread.start()
        asked.wait()
        with shared.hold(40, "what still fits"):
            steps.append(f"first of {shared.taken}")
    thread.join()
    assert steps == ["first of 100", "second of 60"] and shared.taken == 0


def test_many_threads_never_hold_more_than_the_budget_and_all_end() -> None:
    shared, most, lock = Budget(0, 100, 1.0), [0], threading.Lock()
    shared.measured = 100

    def images(seed: int) -> None:
        for size in np.random.default_rng(seed).integers(1, 101, 200).tolist():
            with hold_image_memory(), shared.hold(size, "it"), lock:
                most[0] = max(most[0], shared.taken)

    threads = [threading.Thread(target=images, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 50 < most[0] <= 100 and shared.taken == 0


def test_the_budget_is_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, total in ((None, 2**30), (2**40, 2**30), (2**31, 2**29), (1, 2**26)):
        monkeypatch.setattr(budget, "free_bytes", lambda device, free=free: free)
        assert Budget(0, 2**30, 1 / 4).total == total


@pytest.mark.parametrize(("kind", "bytes_a_pixel"), [("L", 5), ("P", 5), ("I;16", 6), ("RGB", 8), ("RGBA16", 12)])
def test_an_image_is_counted_by_what_it_takes_until_it_is_done_with(kind: str, bytes_a_pixel: int) -> None:
    with hold_image_memory():
        decode(FILES_OF_ALL_KINDS[kind])
        assert DECODING.taken == (bytes_a_pixel + 40) * SIDE**2  # the parts of such a small image are the whole
        decode(FILES_OF_ALL_KINDS["L"])  # the next one takes its place
        assert DECODING.taken == 45 * SIDE**2
    assert DECODING.taken == 0


def test_a_progressive_jpeg_is_counted_at_its_full_size() -> None:
    large = scene().resize((800, 800))
    with hold_image_memory():
        assert decode(encoded(large, "JPEG", progressive=True), (50, 50)).size == (100, 100)
        assert DECODING.taken >= 6 * 800 * 800
    with hold_image_memory():
        decode(encoded(large, "JPEG"), (50, 50))
        assert DECODING.taken < 60 * 100 * 100


def test_an_image_beyond_the_budget_is_unreadable_at_once(tmp_path: Path) -> None:
    (tmp_path / "rgba16.png").write_bytes(FILES_OF_ALL_KINDS["RGBA16"])
    for index in range(20):
        (tmp_path / f"gray{index}.png").write_bytes(FILES_OF_ALL_KINDS["L"])
    DECODING.measured = 50 * SIDE**2
    message = r"40x40 pixels of mode RGBA need 0 MiB of memory, but the limit is 0 MiB; make the image"
    with pytest.raises(UnreadableImage, match=message):
        decode(FILES_OF_ALL_KINDS["RGBA16"])
    assert [name for name, _ in check(Folder(path=tmp_path)).unreadable] == ["rgba16.png"]


def test_a_file_beyond_the_budget_is_unreadable_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(FILES_OF_ALL_KINDS["RGB"])
    FILES.measured = 100
    with pytest.raises(UnreadableImage, match="files of this size need"):
        open_archive(tmp_path).read("a.png")


def test_a_webp_that_claims_too_many_pixels_is_refused_before_room_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(encoded(scene("RGBA"), "WEBP", lossless=True))
    assert data[12:16] == b"VP8L"
    data[21:25] = (16382 | 16382 << 14 | 1 << 28).to_bytes(4, "little")
    monkeypatch.setattr(decoding.Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(UnreadableImage, match="16383x16383 pixels, more than the limit"):
        decode(bytes(data))


@pytest.mark.parametrize("kind", FILES_OF_ALL_KINDS)
def test_parts_come_to_the_same_pixels_as_the_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES_OF_ALL_KINDS[kind]
    turned = encoded(scene(), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")

    def results() -> list[Any]:
        images = [decode(data), decode(turned)]
        pixels = [np.asarray(convert(image, channels)) for image in images for channels in (1, 3, 4)]
        return [*pixels, to_pixels(images[0], (9, 9), 4, "pad"), to_pixels(images[0], (9, 9), 3), span_of(images[0])]

    whole = results()
    for pixels in (7, 100):  # parts of a row, and of some rows
        monkeypatch.setattr(tiling, "TILE_PIXELS", pixels)
        assert all(np.array_equal(part, all_) for part, all_ in zip(results(), whole, strict=True))


def test_transparency_survives_resizing_as_pillow_itself_resizes() -> None:
    image = scene("RGBA")
    expected = image.convert("RGBa").resize((9, 9), Image.Resampling.LANCZOS, reducing_gap=3.0).convert("RGBA")
    assert np.array_equal(to_pixels(image, (9, 9), 4, "stretch"), np.asarray(expected))


def test_files_of_several_frames_are_counted_in_a_note(tmp_path: Path) -> None:
    frames = [scene(), scene().rotate(90)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        (tmp_path / f"two.{kind.lower()}").write_bytes(
            encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        )
        (tmp_path / f"one-{kind}.{kind.lower()}").write_bytes(encoded(frames[0], kind))
    (tmp_path / "photograph.jpg").write_bytes(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    note = "4 files have several frames or pages; only the first is read"
    assert note in check(Folder(path=tmp_path)).notes
    assert note in prepare(Folder(path=tmp_path), cache=tmp_path / "cache").notes

"""What files claim of themselves is compared with limits before room is made or hours are spent for it."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gansmith.data import archive as archives
from gansmith.data import claims, store
from gansmith.data.archive import open_archive
from gansmith.data.decode import decode
from gansmith.data.folder import Folder
from gansmith.data.labels import read_dataset_json
from gansmith.data.store import Preparation, prepare
from gansmith.errors import DataError, UnreadableImage
from gansmith.files import free_disk

IMAGE = Image.fromarray(np.zeros((16, 16, 3), np.uint8))


def encoded(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    IMAGE.save(file, kind, **options)
    return file.getvalue()


def with_segments(segments: bytes) -> bytes:
    jpeg = encoded("JPEG")
    return jpeg[:2] + segments + jpeg[2:]


@pytest.mark.parametrize("segments", [b"\xff\xfe\0\3c" * 5000, (b"\xff\xe1\xff\xff" + bytes(65533)) * 257])
def test_metadata_without_end_are_refused_before_they_are_read(
    segments: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(UnreadableImage, match="more metadata before the pixels than the limit of 16 MiB"):
        decode(with_segments(segments))


def test_usual_metadata_are_no_obstacle() -> None:
    profile = (b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\1".ljust(65533, b"x")) * 50
    assert decode(with_segments(profile + b"\xff" * 20)).size == (16, 16)


def tiff(order: str, num_parts: int, *, big: bool = False) -> bytes:
    tags = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 16), (279, 256)]
    number = "Q" if big else "I"
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(
        f"{order}HHHQ" if big else f"{order}HI", *((43, 8, 0, 16) if big else (42, 8))
    )
    entries = b"".join(
        struct.pack(f"{order}HH{number}{number}", tag, 4, num_parts if tag in (273, 279) else 1, value)
        for tag, value in tags
    )
    return start + struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + entries + bytes(8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_strips_without_end_are_refused_before_a_list_is_made(
    order: str, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims.refuse_claims(tiff(order, 2**19, big=big))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(UnreadableImage, match="5,000,000 strips or tiles, more than the limit of 524,288"):
        decode(tiff(order, 5_000_000, big=big))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_any_beginning_of_a_file_is_looked_at_without_error(kind: str) -> None:
    data = encoded(kind)
    assert {claims.refuse_claims(data[:end]) for end in range(0, len(data), 7)} == {None}  # type: ignore[func-returns-value]


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_text_that_unpacks_without_end_is_refused(kind: bytes) -> None:
    content = {b"iTXt": b"k\0\1\0\0\0"}.get(kind, b"k\0\0") + zlib.compress(bytes(2**24), 9)
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    png = encoded("PNG")
    with pytest.raises(UnreadableImage, match="damaged: Decompressed data too large"):
        decode(png[:33] + chunk + png[33:])


def test_a_dataset_json_is_bounded_by_the_number_of_images() -> None:
    labels = json.dumps({"labels": [["a.png", 0]]}).encode()
    padded = labels + b" " * (2**20 + 2**10 - len(labels))
    assert read_dataset_json(padded, ["a.png"], "x") == [0]
    with pytest.raises(
        DataError, match=r"x: 1,049,601 bytes for 1 images; expected at most 1,049,600; .*--data.labels none"
    ):
        read_dataset_json(padded + b" ", ["a.png"], "x")


def test_a_zip_is_refused_by_the_size_of_its_list_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for index in range(20):
            packed.writestr(f"{index:04}.png", b"")
        packed.comment = b"c" * 60_000
    assert len(open_archive(path).names) == 20
    monkeypatch.setattr(archives, "DIRECTORY_LIMIT", 20 * (46 + 8) - 1)
    with pytest.raises(DataError, match="the list of files has 1,080 bytes, limit 1,079; unpack the zip"):
        open_archive(path)
    data = path.read_bytes()  # the same of a zip of more than 65,535 files, whose true end is another record
    place = data.rfind(b"PK\5\6")
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 20, 20, 1080, place - 1080)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, place, 1)
    narrow = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(data[:place] + wide + locator + narrow)
    with pytest.raises(DataError, match="the list of files has 1,080 bytes"):
        open_archive(path)
    monkeypatch.undo()
    assert len(open_archive(path).names) == 20


def test_members_of_a_zip_that_are_read_in_blocks_arrive_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "BLOCK_BYTES", 10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.png", bytes(range(256)) * 3)
    assert open_archive(tmp_path / "a.zip").read("a.png") == bytes(range(256)) * 3


def test_a_store_without_room_is_refused_before_an_image_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(encoded("PNG"))
    source, preparation = Folder(path=tmp_path), Preparation(size=(16, 16), channels="rgb")
    needed = 3 * 16 * 16 * 3 + 2**20
    monkeypatch.setattr(store, "free_disk", lambda path: needed - 1)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_images", lambda *_: pytest.fail("decoded"))
        with pytest.raises(DataError, match=r"the store of 3 images of 16x16 RGB needs 1 MiB, .*GANSMITH_CACHE"):
            prepare(source, preparation, cache=tmp_path / "cache")
    monkeypatch.setattr(store, "free_disk", lambda path: needed)
    assert len(prepare(source, preparation, cache=tmp_path / "cache")) == 3


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    free = free_disk(tmp_path / "a" / "b")
    assert free is not None and free > 0

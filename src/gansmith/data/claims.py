"""Checks the sizes that an image file declares before Pillow opens it, and would allocate memory or run for hours."""

from __future__ import annotations

import struct

from gansmith.errors import UnreadableImage

__all__ = ["METADATA_LIMIT", "read_webp_size", "refuse_claims"]

METADATA_LIMIT = 2**24  # bytes before the pixels of a JPEG; colour profile and EXIF need less
SEGMENT_LIMIT = 4096  # segments of a JPEG before the pixels
PART_LIMIT = 2**19  # strips or tiles of a TIFF; 100 million pixels in 16x16 tiles are 400,000
_TIFF_STARTS = {
    b"II*\0": (4, "<I", "<H", "<HHI"),
    b"MM\0*": (4, ">I", ">H", ">HHI"),
    b"II+\0": (8, "<Q", "<Q", "<HHQ"),
    b"MM\0+": (8, ">Q", ">Q", ">HHQ"),
}
_TIFF_PARTS = (273, 279, 324, 325)  # offsets and sizes of strips and of tiles


def refuse_claims(data: bytes) -> None:
    """Refuse a JPEG or TIFF whose metadata alone would take minutes to read.

    Raises:
        UnreadableImage: too many metadata segments, strips or tiles.
    """
    if data[:2] == b"\xff\xd8":
        _refuse_segments(data)
    elif data[:4] in _TIFF_STARTS:
        _refuse_parts(data)


def read_webp_size(start: bytes) -> tuple[int, int]:
    """Return (width, height) of a WebP file from its first 30 bytes; (0, 0) for any other file."""
    if start[:4] != b"RIFF" or start[8:12] != b"WEBP" or len(start) < 30:
        return 0, 0
    if start[12:16] == b"VP8X":
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    if start[12:16] == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF


def _refuse_segments(data: bytes) -> None:
    """Refuse a JPEG with too many segments: Pillow's time grows with the square of their number."""
    place, count = 2, 0
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":  # the start of the pixels
        if data[place + 1 : place + 2] == b"\xff":  # padding
            place += 1
            continue
        count += 1
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if count > SEGMENT_LIMIT or place > METADATA_LIMIT:
            limit = f"{METADATA_LIMIT / 2**20:.0f} MiB in {SEGMENT_LIMIT:,} segments"
            raise UnreadableImage(f"more metadata before the pixels than the limit of {limit}; save it without")


def _refuse_parts(data: bytes) -> None:
    """Refuse a TIFF with too many strips or tiles: Pillow makes a list of them."""
    at, offset, size, entry = _TIFF_STARTS[data[:4]]  # where the directory's offset is; formats of its fields
    start = _number(data, at, struct.calcsize(offset), offset)
    width = struct.calcsize(entry) + struct.calcsize(offset)
    first = start + struct.calcsize(size)
    count = _number(data, start, struct.calcsize(size), size)
    for place in range(first, min(first + width * count, len(data) - width + 1), width):
        tag, _, num = struct.unpack_from(entry, data, place)
        if tag in _TIFF_PARTS and num > PART_LIMIT:
            raise UnreadableImage(f"{num:,} strips or tiles, more than the limit of {PART_LIMIT:,}")


def _number(data: bytes, place: int, size: int, kind: str) -> int:
    """Return the number at a place in a file; 0 beyond its end."""
    found: tuple[int, ...] = struct.unpack(kind, data[place : place + size].ljust(size, b"\0"))
    return found[0]

"""Writes a store's files: pixels in one pass with bounded memory, and the folder atomically."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from gansmith.data.budget import hold_image_memory
from gansmith.data.convert import Fit, compute_crop_loss, to_pixels
from gansmith.data.decode import ANIMATED
from gansmith.data.levels import Levels, Span, span_of
from gansmith.data.parallel import map_in_order
from gansmith.data.source import Record, Records, Size
from gansmith.errors import UnreadableImage
from gansmith.types import ImageSpec

__all__ = ["Progress", "Written", "discard", "write_folder_atomically", "write_images"]

Progress: TypeAlias = Callable[[int, int], None]  # images done, images in all

CHUNK_IMAGES = 64
CHUNK_BYTES = 2**22
STALE_SECONDS = 3600.0


@dataclass
class Written:
    """The result of writing images.

    Args:
        kept: indices of the images written, in order.
        failed: (name, reason) of the others.
        digest: SHA-256 of the pixels and their shape, which can be updated further.
        spans: value ranges of images of more than 8 bits.
        num_cropped: number of images that would lose more than a third of their area by cropping.
        num_animated: number of images that are the first frame or page of several.
    """

    kept: list[int]
    failed: list[tuple[str, str]]
    digest: hashlib._Hash
    spans: list[Span] = field(default_factory=list)
    num_cropped: int = 0
    num_animated: int = 0


def write_images(
    path: Path, records: Records, spec: ImageSpec, fit: Fit, levels: Levels, progress: Progress | None
) -> Written:
    """Decode all images in threads, write them in order as one .npy file, and return the result."""
    total, shape = len(records), (spec.height, spec.width, spec.channels)
    step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // int(np.prod(shape))))
    chunks = (range(start, min(start + step, total)) for start in range(0, total, step))
    written = Written([], [], hashlib.sha256())
    with path.open("wb") as file:
        _write_header(file, (total, *shape))
        for chunk in map_in_order(lambda indices: _decode(records, indices, spec, fit, levels), chunks):
            pixels = b"".join(chunk.pixels)
            file.write(pixels)
            written.digest.update(pixels)
            written.kept += chunk.kept
            written.failed += chunk.failed
            written.spans += chunk.spans
            written.num_cropped += chunk.num_cropped
            written.num_animated += chunk.num_animated
            if progress is not None:
                progress(len(written.kept) + len(written.failed), total)
        file.seek(0)
        _write_header(file, (len(written.kept), *shape))
    written.digest.update(str((len(written.kept), *shape)).encode())
    return written


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # NumPy pads the header for a longer first axis, so the header of fewer images has the same length.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


@dataclass
class _Chunk:
    pixels: list[bytes]
    kept: list[int]
    failed: list[tuple[str, str]]
    spans: list[Span] = field(default_factory=list)
    num_cropped: int = 0
    num_animated: int = 0

    def look(self, record: Record, wanted: Size) -> None:
        """Record the facts that need the whole image."""
        size = record.size[::-1] if isinstance(record, Image.Image) else record.shape[:2]
        self.num_cropped += compute_crop_loss((size[0], size[1]), wanted) > 1 / 3
        if not isinstance(record, Image.Image):
            return
        self.num_animated += ANIMATED in record.info
        span = span_of(record)
        if span is not None:
            self.spans.append(span)


def _decode(records: Records, indices: range, spec: ImageSpec, fit: Fit, levels: Levels) -> _Chunk:
    chunk = _Chunk([], [], [])
    for index in indices:
        try:
            with hold_image_memory():
                chunk.pixels.append(_pixels(chunk, records.read(index), spec, fit, levels))
            chunk.kept.append(index)
        except UnreadableImage as error:
            chunk.failed.append((records.names[index], str(error)))
    return chunk


def _pixels(chunk: _Chunk, record: Record, spec: ImageSpec, fit: Fit, levels: Levels) -> bytes:
    chunk.look(record, (spec.height, spec.width))
    return to_pixels(record, (spec.height, spec.width), spec.channels, fit, levels).tobytes()


@contextlib.contextmanager
def write_folder_atomically(path: Path, *, replacing: bool = False) -> Iterator[Path]:
    """Yield a new folder that moves to ``path`` when the block succeeds, and is removed otherwise.

    Unfinished folders that killed processes left beside it are removed if they are more than an hour old.

    Args:
        path: the final path.
        replacing: replace a folder that exists already; otherwise it stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob("*.unfinished-*"):
        if _age_seconds(left) > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    unfinished = _beside(path)
    unfinished.mkdir()
    try:
        yield unfinished
        if replacing:
            discard(path)
        _move(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def discard(path: Path) -> None:
    """Remove a folder, if it exists, in one step for other processes: rename it, then delete it."""
    unfinished = _beside(path)
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        path.rename(unfinished)
    shutil.rmtree(unfinished, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.unfinished-{uuid.uuid4().hex[:8]}")


def _move(unfinished: Path, path: Path) -> None:
    try:
        unfinished.rename(path)
    except OSError:
        if not path.exists():  # otherwise another process was faster, and its folder is equivalent
            raise


def _age_seconds(folder: Path) -> float:
    try:
        return time.time() - max(path.stat().st_mtime for path in [folder, *folder.iterdir()])
    except OSError:  # just moved into its place, or removed
        return 0.0

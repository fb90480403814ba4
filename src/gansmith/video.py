"""Moving pictures: GIF always, MP4 where imageio-ffmpeg is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from gansmith.errors import ConfigError, MissingExtra
from gansmith.types import PixelArray

__all__ = ["can_write_mp4", "thinned", "write_animation"]

HOLD_SECONDS = 1.5  # the last frame is what people want to see


def write_animation(frames: Iterable[PixelArray], path: Path, fps: float = 10.0) -> Path:
    """Write frames as a GIF or an MP4, by the file's ending; the last one is held.

    Args:
        frames: uint8 [H W 1|3|4] of one size.
        path: x.gif or x.mp4.
        fps: frames a second.

    Raises:
        ConfigError: another kind of file, no frames, or frames of several sizes.
        MissingExtra: MP4 without imageio-ffmpeg.
    """
    pictures = [_rgb(frame) for frame in frames]
    if not pictures:
        raise ConfigError(f"{path}: there is no frame to write")
    if len({picture.shape for picture in pictures}) > 1:
        raise ConfigError(f"{path}: the frames differ in size; they must come from one run with one grid")
    held = pictures + [pictures[-1]] * round(HOLD_SECONDS * fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        iio.imwrite(path, np.stack(held), extension=".gif", duration=1000 / fps, loop=0)
    elif path.suffix == ".mp4":
        _write_mp4(held, path, fps)
    else:
        raise ConfigError(f"{path}: cannot write {path.suffix or 'such'} files; expected x.gif or x.mp4")
    return path


def can_write_mp4() -> bool:
    """Whether imageio-ffmpeg is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def thinned(items: Sequence[list[Path]], most: int = 150) -> list[list[Path]]:
    """At most so many items, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


def _write_mp4(frames: list[PixelArray], path: Path, fps: float) -> None:
    if not can_write_mp4():
        raise MissingExtra("imageio-ffmpeg", "mp4", "to write MP4 files")
    even = [frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2] for frame in frames]  # the codec wants it
    iio.imwrite(path, np.stack(even), extension=".mp4", plugin="FFMPEG", fps=fps, macro_block_size=1)


def _rgb(frame: PixelArray) -> PixelArray:
    if frame.shape[2] == 1:
        return np.repeat(frame, 3, axis=2)
    if frame.shape[2] == 3:
        return frame
    alpha = frame[:, :, 3:].astype(np.float32) / 255  # on white, as the sheets are
    return np.rint(frame[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)

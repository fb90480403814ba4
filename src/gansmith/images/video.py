"""Animations: GIF, and MP4 if imageio-ffmpeg is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image

from gansmith.errors import ConfigError, MissingExtra
from gansmith.files import replace_file
from gansmith.images.pixels import file_kind, on_white
from gansmith.types import PixelArray

__all__ = ["can_write_mp4", "thin_frames", "write_animation"]

HOLD_SECONDS = 1.5  # the last frame stays longer
GIF_PIXELS = 20_000_000  # limit over all frames, which are reduced beyond it, because GIF compresses samples badly


def write_animation(frames: Iterable[PixelArray], path: Path, fps: float = 10.0, *, hold: bool = True) -> Path:
    """Write frames as GIF or MP4, by the file's suffix, and return the path.

    Args:
        frames: uint8 [H W 1|3|4] of one size.
        path: a path that ends in .gif or .mp4.
        fps: frames per second, more than 0.
        hold: show the last frame for 1.5 s longer; a loop must not.

    Raises:
        ConfigError: another suffix, no frames, frames of several sizes, or ``fps`` is not positive.
        MissingExtra: for MP4, imageio-ffmpeg is not installed.
    """
    writers = {"gif": _write_gif, "mp4": _write_mp4}
    kind = file_kind(path)
    if kind not in writers:
        raise ConfigError(f"{path}: cannot write {f'.{kind}' if kind else 'such'} files; expected x.gif or x.mp4")
    if not fps > 0:
        raise ConfigError(f"fps: got {fps}, expected more than 0")
    pictures = [_rgb(frame) for frame in frames]
    if not pictures:
        raise ConfigError(f"{path}: no frames, expected at least one")
    if len({picture.shape for picture in pictures}) > 1:
        raise ConfigError(f"{path}: the frames differ in size; use frames of one run with one grid")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as unfinished:
        writers[kind](pictures, unfinished, fps, HOLD_SECONDS if hold else 0)
    return path


def can_write_mp4() -> bool:
    """Return whether imageio-ffmpeg is installed."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def thin_frames(items: Sequence[list[Path]], most: int = 150) -> list[list[Path]]:
    """Return at most ``most`` items, evenly spaced, including the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


def _write_gif(frames: list[PixelArray], path: Path, fps: float, hold_seconds: float) -> None:
    scale = min(1.0, (GIF_PIXELS / sum(frame.shape[0] * frame.shape[1] for frame in frames)) ** 0.5)
    size = max(1, round(frames[0].shape[1] * scale)), max(1, round(frames[0].shape[0] * scale))
    reduced = [np.asarray(Image.fromarray(frame).resize(size)) if scale < 1 else frame for frame in frames]
    durations = [1000 / fps] * (len(frames) - 1) + [1000 / fps + 1000 * hold_seconds]
    duration = durations if len(frames) > 1 else durations[0]
    iio.imwrite(path, np.stack(reduced), extension=".gif", duration=duration, loop=0)


def _write_mp4(frames: list[PixelArray], path: Path, fps: float, hold_seconds: float) -> None:
    if not can_write_mp4():
        raise MissingExtra("imageio-ffmpeg", "mp4", "to write MP4 files")
    held = frames + [frames[-1]] * round(hold_seconds * fps)
    even = [frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2] for frame in held]  # required by the codec
    iio.imwrite(path, np.stack(even), extension=".mp4", plugin="FFMPEG", fps=fps, macro_block_size=1)


def _rgb(frame: PixelArray) -> PixelArray:
    if frame.shape[2] == 1:
        return np.repeat(frame, 3, axis=2)
    return on_white(frame)

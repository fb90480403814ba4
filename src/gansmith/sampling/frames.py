"""Images along walks, as a sheet, an animation, arrays or a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from gansmith.devices import require_bytes
from gansmith.errors import ConfigError
from gansmith.images.pixels import file_kind, on_white, png_bytes, save_arrays, save_png
from gansmith.images.sheets import GAP, enlarge, fit_scale, grid
from gansmith.images.video import write_animation
from gansmith.types import PixelArray, size_text

__all__ = ["WalkFrames"]


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkFrames:
    """Images along one or more walks; in a notebook they display themselves.

    Args:
        images: uint8 [rows steps h w c], one row per walk.
        loop: whether the first image follows the last.
    """

    images: PixelArray
    loop: bool = False

    def __repr__(self) -> str:
        rows, steps = self.images.shape[:2]
        return f"<WalkFrames: {rows} x {steps} images, {size_text(self.images.shape[2:4])}>"

    def sheet(self, *, scale: int | None = None, smooth: bool = False) -> PixelArray:
        """Return a sheet with a row per walk, uint8 [H W c], on white.

        Args:
            scale: whole factor of enlargement; None takes that of ``fit_scale``.
            smooth: enlarge by bicubic interpolation instead of repeating pixels.
        """
        rows, steps, height, width, channels = self.images.shape
        scale = fit_scale(rows, steps, height, width) if scale is None else scale
        return grid(_enlarged(self.images.reshape(-1, height, width, channels), scale, smooth), steps, scale=1)

    def frames(self, *, scale: int | None = None, smooth: bool = False) -> Iterator[PixelArray]:
        """Yield a grid of the walks' images for each step, uint8 [H W c]; the arguments are those of ``sheet``."""
        rows, steps, height, width, _ = self.images.shape
        columns = math.ceil(math.sqrt(rows))
        scale = fit_scale(columns, columns, height, width) if scale is None else scale
        for step in range(steps):
            yield grid(_enlarged(self.images[:, step], scale, smooth), columns, scale=1)

    def save(self, path: Path | str, *, fps: float = 10.0, scale: int | None = None, smooth: bool = False) -> Path:
        """Write the walks and return the path.

        Args:
            path: ``x.png`` has one row per walk; ``x.gif`` and ``x.mp4`` show a grid of the walks, forwards and
                backwards unless they are loops; ``x.npz`` has the arrays; a folder gets one PNG per image.
            fps: frames per second.
            scale: see ``sheet``; arrays keep their size, and images in a folder too unless it is given.
            smooth: see ``sheet``.
        """
        kind, path = file_kind(path), Path(path)
        if kind == "png":
            return save_png(self.sheet(scale=scale, smooth=smooth), path)
        if kind in ("gif", "mp4"):
            return self._animate(path, fps, scale, smooth)
        if kind == "npz":
            return save_arrays(path, images=self.images)
        if kind:
            raise ConfigError(f"{path}: cannot write .{kind} files; expected x.png, x.gif, x.mp4, x.npz, or a folder")
        for row, images in enumerate(self.images):
            first = f"walk{row:03d}_" if len(self.images) > 1 else ""
            for step, image in enumerate(_enlarged(images, 1 if scale is None else scale, smooth)):
                save_png(image, path / f"{first}{step:05d}.png")
        return path

    def _animate(self, path: Path, fps: float, scale: int | None, smooth: bool) -> Path:
        rows, steps, height, width, _ = self.images.shape
        columns = math.ceil(math.sqrt(rows))
        factor = fit_scale(columns, columns, height, width) if scale is None else scale
        pixels = (height * factor + GAP) * (width * factor + GAP) * columns**2
        what = f"{steps:,} frames of {pixels:,} pixels"
        require_bytes(4 * 3 * steps * pixels, torch.device("cpu"), "scale", what)  # as frames and as files write them
        frames = list(self.frames(scale=scale, smooth=smooth))
        shown = frames if self.loop else [*frames, *frames[-2:0:-1]]
        return write_animation(shown, path, fps, hold=not self.loop)

    def _repr_png_(self) -> bytes:
        return png_bytes(self.sheet())


def _enlarged(images: PixelArray, scale: int, smooth: bool) -> PixelArray:
    return enlarge(on_white(images), scale, smooth=smooth)

"""Tables of images with names of rows and columns: sweeps, directions, projections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gansmith.errors import ConfigError
from gansmith.images.pixels import file_kind, on_white, png_bytes, save_arrays, save_png, to_pillow
from gansmith.images.sheets import GAP, Caption, enlarge, fit_scale, grid
from gansmith.types import PixelArray

__all__ = ["ImageTable"]

FONT_SIZE = 14  # pixels
MARGIN = 6  # pixels between a name and an image
MOST_UNSPLIT = 12  # rows that stay in one block
MOST_BLOCKS = 12
BLOCK_GAP = 16  # pixels between blocks of rows


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageTable:
    """Images in rows and columns with names; in a notebook it displays itself.

    Args:
        images: uint8 [rows columns h w c].
        row_names: of each row; empty for none.
        column_names: of each column; empty for none.
    """

    images: PixelArray
    row_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()

    def sheet(self, *, scale: int | None = None, smooth: bool = False) -> PixelArray:
        """Return the table as an image, uint8 [H W c], on white; many rows are split into blocks side by side.

        Args:
            scale: whole factor of enlargement; None takes that of ``fit_scale``.
            smooth: enlarge by bicubic interpolation instead of repeating pixels.
        """
        rows, columns, height, width, channels = self.images.shape
        captions = [Caption.of(name, i, FONT_SIZE) for i, name in enumerate(self.row_names)]
        margin = math.ceil(max(caption.width for caption in captions)) + MARGIN + GAP if captions else 0
        blocks, fitting = _choose_blocks(rows, columns, height, width)
        scale = fitting if scale is None else scale
        flat = self.images.reshape(-1, height, width, channels)
        flat = enlarge(on_white(flat), scale, smooth=smooth)
        strips = [grid(flat[i : i + columns], columns, scale=1) for i in range(0, len(flat), columns)]
        return _Layout(captions, self.column_names, margin, blocks, width * scale + GAP).draw(strips)

    def save(self, path: Path | str, *, scale: int | None = None, smooth: bool = False) -> Path:
        """Write the table (``x.png``), arrays (``x.npz``), or one PNG per image (a folder), and return the path.

        Args:
            path: the file or folder.
            scale: see ``sheet``; arrays keep their size, and images in a folder too unless it is given.
            smooth: see ``sheet``.
        """
        kind, path = file_kind(path), Path(path)
        if kind == "png":
            return save_png(self.sheet(scale=scale, smooth=smooth), path)
        if kind == "npz":
            names = {"row_names": np.array(self.row_names), "column_names": np.array(self.column_names)}
            return save_arrays(path, images=self.images, **names)
        if kind:
            raise ConfigError(f"{path}: cannot write .{kind} files; expected x.png, x.npz, or a folder")
        for i, row in enumerate(self.images):
            for j, image in enumerate(enlarge(row, 1 if scale is None else scale, smooth=smooth)):
                save_png(image, path / f"row{i:03d}_column{j:03d}.png")
        return path

    def _repr_png_(self) -> bytes:
        return png_bytes(self.sheet())


def _choose_blocks(rows: int, columns: int, height: int, width: int) -> tuple[int, int]:
    """Return the number of blocks that lets images be largest, and the factor of their enlargement."""
    if rows <= MOST_UNSPLIT:
        return 1, fit_scale(rows, columns, height, width)
    choices = range(1, min(rows, MOST_BLOCKS) + 1)
    scales = [fit_scale(math.ceil(rows / blocks), blocks * columns, height, width) for blocks in choices]
    square = [abs(blocks * columns * width - rows / blocks * height) for blocks in choices]
    best = max(range(len(scales)), key=lambda i: (scales[i], -square[i]))
    return choices[best], scales[best]


@dataclass(frozen=True)
class _Layout:
    """Places of strips and names on the sheet.

    Args:
        captions: of rows; may be empty.
        columns: names of columns; may be empty.
        margin: pixels to the left of the images of a block.
        blocks: number of blocks side by side.
        step: pixels from column to column.
    """

    captions: Sequence[Caption]
    columns: Sequence[str]
    margin: int
    blocks: int
    step: int

    def draw(self, strips: Sequence[PixelArray]) -> PixelArray:
        height, width, channels = strips[0].shape
        depth = math.ceil(len(strips) / self.blocks)
        top = FONT_SIZE + 2 * GAP + 2 if self.columns else 0
        row = max(height, FONT_SIZE + 2 if self.captions else 0) + GAP
        block = self.margin + width + BLOCK_GAP
        size = self.blocks * block - BLOCK_GAP, top + depth * row - GAP
        sheet = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(sheet)
        for number in range(math.ceil(len(strips) / depth)):
            self._name_columns(pen, number * block + self.margin, top)
        for i, strip in enumerate(strips):
            left, y = i // depth * block + self.margin, top + i % depth * row
            sheet.paste(to_pillow(strip).convert("RGB"), (left, y))
            if self.captions:
                caption = self.captions[i]
                pen.text((left - MARGIN, y + height // 2), caption.text, "black", caption.font, anchor="rm")
        return np.asarray(sheet.convert(to_pillow(strips[0]).mode)).reshape(size[1], size[0], channels)

    def _name_columns(self, pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
        for j, name in enumerate(self.columns):
            caption = Caption.of(name, j, FONT_SIZE)
            room = (self.step - GAP) / max(1.0, caption.font.getlength(caption.text))
            font = caption.font.font_variant(size=caption.font.size * room) if room < 1 else caption.font
            middle = left + j * self.step + (self.step - GAP) // 2
            pen.text((middle, top - 2 * GAP), caption.text, "black", font, anchor="ms")

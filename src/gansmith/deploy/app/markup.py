"""The HTML of the page's pictures, tables and messages. Pictures are part of it, so no file is written or served."""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from gansmith.deploy.answers import encode
from gansmith.images.pixels import png_bytes
from gansmith.images.sheets import enlarge
from gansmith.numerals import number
from gansmith.run_list import RunSummary
from gansmith.sampling.generator import Samples
from gansmith.types import PixelArray

__all__ = [
    "Tile",
    "data_address",
    "fill_template",
    "list_tiles",
    "name_class",
    "show_alert",
    "show_player",
    "show_runs",
]

FIT = 320  # pixels of the page that a single image should have
SHEET_COLUMNS = 16  # frames in a row of the picture that the player cuts


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image of the page.

    Args:
        src: a data URI with exactly the generated pixels.
        width: of the image in pixels.
        height: likewise.
        alt: what it shows.
        caption: the text below.
        seed: its seed, if a click can start from it.
        file: the name for a download.
    """

    src: str
    width: int
    height: int
    alt: str
    caption: str
    seed: int | None = None
    file: str = "image.png"


def list_tiles(samples: Samples, captions: Sequence[str] = ()) -> list[Tile]:
    """Return the images of samples as tiles; captions default to seed and class."""
    return [_tile(samples, i, captions[i] if captions else None) for i in range(len(samples))]


def _tile(samples: Samples, i: int, caption: str | None) -> Tile:
    seed = samples.seeds[i] if samples.seeds else None
    label = None if samples.labels is None else int(samples.labels[i])
    name = samples.class_names[label] if label is not None and samples.class_names else None
    words = [f"seed {seed}"] if seed is not None else []
    words += [name_class(name)] if name is not None else []
    image = samples.images[i]
    return Tile(
        src=data_address(png_bytes(image), "image/png"),
        width=image.shape[1],
        height=image.shape[0],
        alt=", ".join(words) or "generated image",
        caption=", ".join(words) if caption is None else caption,
        seed=seed,
        file=f"seed{seed}{'' if label is None else f'_class{label}'}.png" if seed is not None else "image.png",
    )


def name_class(name: str) -> str:
    """Return a class for captions; beside a seed or a distance, a bare number would be a riddle."""
    return f"class {name}" if name.isdecimal() else name


def data_address(content: bytes, media_type: str) -> str:
    """Return a file as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def show_player(samples: Samples, seeds: Sequence[int], *, loop: bool) -> str:
    """Return a player of frames.

    Args:
        samples: the frames.
        seeds: of the walk, for its name.
        loop: start again after the last frame; otherwise go back.
    """
    images = samples.images
    frames = images if loop else np.concatenate([images, images[-2:0:-1]])
    columns = min(len(images), SHEET_COLUMNS)
    return fill_template(
        "player",
        num=len(images),
        columns=columns,
        width=images.shape[2],
        height=images.shape[1],
        seeds=", ".join(map(str, seeds)),
        src=data_address(png_bytes(_stack(images, columns)), "image/png"),
        gif=data_address(encode(Samples(images=enlarge(frames, _factor(frames))), "gif"), "image/gif"),
        loop=loop,
    )


def _stack(images: PixelArray, columns: int) -> PixelArray:
    """Return frames as one picture without gaps, row by row, [H W c]."""
    rows = math.ceil(len(images) / columns)
    blank = np.zeros((rows * columns - len(images), *images.shape[1:]), np.uint8)
    full = np.concatenate([images, blank]).reshape(rows, columns, *images.shape[1:])
    return full.transpose(0, 2, 1, 3, 4).reshape(rows * images.shape[1], columns * images.shape[2], images.shape[3])


def _factor(images: PixelArray) -> int:
    """Return how often the pixels of a GIF are repeated, so that a person sees something."""
    return max(1, min(FIT // int(max(images.shape[1:3])), 4))


def show_runs(found: Sequence[tuple[str, RunSummary]], chosen: str | None) -> str:
    """Return a table of runs."""
    rows = [
        {
            "name": name,
            "state": each.state,
            "data": PurePath(each.data.replace("\\", "/")).name,
            "preset": each.preset,
            "length": each.length,
            "kimg": f"{each.kimg:,.0f}",
            "best": "" if each.value is None else f"{each.metric} {number(each.value)}",
        }
        for name, each in found
    ]
    return fill_template("runs", rows=rows, chosen=chosen)


def show_alert(text: str) -> str:
    """Return a message to the visitor."""
    return fill_template("alert", text=text)


def fill_template(template: str, **values: Any) -> str:
    """Return a template with values, all escaped."""
    return _environment().get_template(f"{template}.html.j2").render(**values).strip()


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("gansmith.deploy.app"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

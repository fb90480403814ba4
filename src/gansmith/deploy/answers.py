"""Images as the body of an answer: PNG, GIF, or arrays; and which of them a client accepts."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from gansmith.images.pixels import on_white, png_bytes
from gansmith.images.sheets import grid
from gansmith.sampling.generator import Samples

__all__ = ["MEDIA_TYPES", "choose_format", "encode"]

MEDIA_TYPES = {"png": "image/png", "gif": "image/gif", "npz": "application/x-npz"}
FRAME_MS = 100


def choose_format(wanted: str | None, accept: str, known: Sequence[str]) -> str | None:
    """Return the format of an answer; None if the client accepts none of them.

    Args:
        wanted: the parameter "format", which comes before ``accept``.
        accept: the header "Accept".
        known: the possible formats; the first is the default.
    """
    if wanted is not None:
        return wanted
    ranges = sorted((_media_range(part) for part in accept.split(",") if part.strip()), key=lambda each: -each[1])
    for media, quality in ranges or [("*/*", 1.0)]:
        for name in known:
            if quality > 0 and media in ("*/*", MEDIA_TYPES[name], f"{MEDIA_TYPES[name].partition('/')[0]}/*"):
                return name
    return None


def _media_range(text: str) -> tuple[str, float]:
    """Return type and quality of a part of "Accept", such as "image/*;q=0.8"."""
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return media, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return media, 0.0
    return media, 1.0


def encode(samples: Samples, kind: str, *, in_a_row: bool = False) -> bytes:
    """Return images as the bytes of a file; their pixels are not enlarged.

    Args:
        samples: the images.
        kind: "png": one image, or a grid of several; "gif": one frame each, in a loop; "npz": uint8 images [n h w c],
            labels [n] and seeds [n] if there are any.
        in_a_row: make the grid a single row.
    """
    return _ENCODERS[kind](samples, in_a_row)


def _png(samples: Samples, in_a_row: bool) -> bytes:
    if len(samples) == 1:
        return png_bytes(samples.images[0])
    return png_bytes(grid(samples.images, columns=len(samples) if in_a_row else None, scale=1))


def _gif(samples: Samples, in_a_row: bool) -> bytes:
    frames = on_white(samples.images)
    rgb = np.repeat(frames, 3, axis=3) if frames.shape[3] == 1 else frames
    return iio.imwrite("<bytes>", rgb, extension=".gif", duration=FRAME_MS, loop=0)


def _npz(samples: Samples, in_a_row: bool) -> bytes:
    arrays: dict[str, NDArray[Any]] = {"images": samples.images}
    if samples.labels is not None:
        arrays["labels"] = samples.labels
    if samples.seeds:
        arrays["seeds"] = np.array(samples.seeds, np.int64)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


_ENCODERS: Mapping[str, Callable[[Samples, bool], bytes]] = {"png": _png, "gif": _gif, "npz": _npz}

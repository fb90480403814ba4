"""Read the files of a run for its page: bounded, checked, and a sentence in place of what is missing or damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from PIL.Image import Image

from gansmith.data.decode import decode
from gansmith.errors import GansmithError, RunError
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import read_json, read_lines
from gansmith.runs import RunFolder
from gansmith.training.guard.journal import Event
from gansmith.types import PixelArray, size_text

__all__ = [
    "UNSOUND",
    "Section",
    "attempt",
    "pixels_of",
    "read_events",
    "read_image",
    "read_measurements",
    "read_object",
    "read_picture",
    "read_stats",
]

T = TypeVar("T")

LARGEST_TEXT = 200_000_000  # bytes of a JSON file
LARGEST_PICTURE = 50_000_000  # bytes of a PNG file
MOST_PIXELS = 40_000_000

# Raised by our code where a value has another type, size or shape than expected.
UNSOUND = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError)


@dataclass(frozen=True)
class Section(Generic[T]):
    """A section of a page: its content, or why there is none."""

    content: T | None
    why: str = ""

    def needed(self) -> T:
        """Return the content, for a section that is made from it.

        Raises:
            RunError: there is none.
        """
        if self.content is None:
            raise RunError(self.why)
        return self.content


def attempt(make: Callable[..., T], *arguments: Any, what: str) -> Section[T]:
    """Make a section of the page; an error becomes the sentence to show instead.

    Args:
        make: raises a GansmithError whose message is that sentence.
        arguments: of ``make``.
        what: the section, for the sentence if the files hold something unexpected.
    """
    try:
        return Section(make(*arguments))
    except GansmithError as error:
        return Section(None, str(error))
    except UNSOUND as error:
        return Section(None, f"{what} cannot be read ({type(error).__name__}: {error}).")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        RunError: it is missing, too large, or holds something else.
    """
    plain = _sound(path, lambda: read_json(path))
    if not isinstance(plain, dict):
        raise RunError(f"{path.name} cannot be read: it holds no object.")
    return plain


def read_stats(folder: RunFolder) -> list[dict[str, Any]]:
    """Read the lines of stats.jsonl.

    Raises:
        RunError: there are none, or they cannot be read.
    """
    if not folder.stats.exists():
        raise RunError("No statistics were written yet.")
    records = _sound(folder.stats, folder.read_stats)
    if not records:
        raise RunError("No statistics were written yet.")
    return records


def read_measurements(folder: RunFolder) -> list[Measurement]:
    """Read the lines of metrics.jsonl, oldest first; empty if nothing was measured.

    Raises:
        RunError: they cannot be read.
    """
    return _sound(folder.metrics, lambda: list(read_lines(folder.metrics, Measurement.from_plain)))


def read_events(folder: RunFolder) -> list[Event]:
    """Read the lines of events.jsonl, oldest first; empty if the guard reported nothing.

    Raises:
        RunError: they cannot be read.
    """
    return _sound(folder.events, lambda: list(read_lines(folder.events, Event.from_plain)))


def read_picture(path: Path) -> PixelArray:
    """Read a picture as uint8 [H W c], with 1, 3 or 4 channels.

    Raises:
        RunError: it is missing, too large or damaged.
    """
    return pixels_of(read_image(path))


def read_image(path: Path) -> Image:
    """Read a picture with the text fields of its file.

    Raises:
        RunError: it is missing, too large or damaged.
    """
    if not path.is_file():
        raise RunError(f"{path.name} is missing.")
    if path.stat().st_size > LARGEST_PICTURE:
        raise RunError(f"{path.name} is too large to be shown.")
    try:
        image = decode(path.read_bytes())
    except (GansmithError, OSError) as error:
        raise RunError(f"{path.name} cannot be shown: {error}.") from error
    if image.width * image.height > MOST_PIXELS:
        raise RunError(f"{path.name} is too large to be shown: {size_text((image.height, image.width))} pixels.")
    return image


def pixels_of(image: Image) -> PixelArray:
    """Return the pixels of a picture, uint8 [H W c], with 1, 3 or 4 channels."""
    pixels = np.asarray(image.convert(image.mode if image.mode in ("L", "RGB") else "RGBA"))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _sound(path: Path, read: Callable[[], T]) -> T:
    try:
        if path.exists() and path.stat().st_size > LARGEST_TEXT:
            raise RunError(f"{path.name} cannot be read: it has {path.stat().st_size:,} bytes.")
        return read()
    except FileNotFoundError as error:
        raise RunError(f"{path.name} is missing.") from error
    except UNSOUND as error:
        raise RunError(f"{path.name} cannot be read ({error}).") from error

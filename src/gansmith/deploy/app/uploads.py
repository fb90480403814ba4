"""Pictures that visitors upload: decoded at once within limits, kept small in memory for a while, never written."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from PIL.Image import Image

from gansmith.data.decode import decode
from gansmith.errors import ConfigError

__all__ = ["PictureStore"]

MOST_PICTURES = 32
LARGEST_SIDE = 512  # pixels; generators have fewer


class PictureStore:
    """Uploaded pictures by a random name that only their visitor knows."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, Image] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.Lock()

    def add(self, data: bytes) -> str:
        """Decode a picture and return its name; forget the oldest beyond ``MOST_PICTURES``.

        Args:
            data: the bytes of the file.

        Raises:
            UnreadableImage: it is no image, damaged or too large.
        """
        with self._decoding:  # one at a time, as decoding needs far more memory than the file
            image = decode(data, (LARGEST_SIDE, LARGEST_SIDE))
            image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._pictures[name] = image
            while len(self._pictures) > MOST_PICTURES:
                self._pictures.popitem(last=False)
        return name

    def find(self, name: str) -> Image:
        """Return a picture.

        Raises:
            ConfigError: there is none of this name any more.
        """
        with self._lock:
            found = self._pictures.get(name)
        if found is None:
            raise ConfigError("picture: choose one first, or choose it again")
        return found

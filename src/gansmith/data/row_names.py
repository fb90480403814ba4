"""Which image a row of a table means: by its path from here or there, with or without the ending."""

from __future__ import annotations

import functools
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gansmith.data.class_names import composed

__all__ = ["AMBIGUOUS", "ImageNames", "Way", "shared_folder"]

OTHER = -2  # an image that is there but not read, as of another split
SAMPLE = 1000  # rows that decide what is tried first
AMBIGUOUS = -3  # several images


class Way(NamedTuple):
    """How the names in a table lead to images.

    Args:
        prefix: what all of them begin with and is left out.
        folder: where they begin, as "a/b/" or ""; None where the file's name alone counts.
    """

    prefix: str
    folder: str | None


class ImageNames:
    """The images, to be found by what tables call them."""

    def __init__(self, names: Sequence[str], kept: Sequence[str]) -> None:
        """Take all images that are there, and those of them that are read."""
        self.kept = kept
        self._names = names
        places = {name: place for place, name in enumerate(kept)}
        self._keys = [_plain(name) for name in names]
        self._places = [places.get(name, OTHER) for name in names]

    @functools.cached_property
    def _exact(self) -> dict[str, int]:
        return self._by(self._keys)

    @functools.cached_property
    def _stems(self) -> dict[str, int]:
        return self._by(map(_stem, self._keys))

    @functools.cached_property
    def _alone(self) -> dict[str, int]:
        """By the file's name without folders, with and without its ending."""
        bases = [key.rpartition("/")[2] for key in self._keys]
        return self._by(map(_stem, bases)) | self._by(bases)

    def _by(self, words: Iterable[str]) -> dict[str, int]:
        table: dict[str, int] = {}
        for word, place in zip(words, self._places, strict=True):
            if table.setdefault(word, place) != place:
                table[word] = AMBIGUOUS
        return table

    def knows(self, word: str) -> bool:
        """Whether some image is called so, with or without folder and ending."""
        key = _plain(word)
        return any(key in table for table in (self._exact, self._stems, self._alone))

    def best_way(self, words: Sequence[str], folders: Iterable[str]) -> tuple[Way, list[int], int]:
        """The way by which the names of a column lead to most images.

        Args:
            words: the column.
            folders: where names may begin, likelier ones first.

        Returns:
            The way, the place of each row's image among those that are read (negative for none), and how many
            different images these are.
        """
        keys = [_plain(word) for word in words]
        ways = list(_ways(keys, list(dict.fromkeys(folders))))
        sample = keys[:: max(1, len(keys) // SAMPLE)]
        ways.sort(key=lambda way: -_num_images(self._find(way, sample)))  # stable; most tables are read once then
        best: tuple[Way, list[int], int] = Way("", ""), [-1] * len(keys), 0
        for way in ways:
            places = self._find(way, keys)
            num = _num_images(places)
            if num > best[2] or (not best[2] and AMBIGUOUS in places and AMBIGUOUS not in best[1]):
                best = way, places, num
            if num == len(self.kept):
                break
        return best

    def meant_by(self, word: str) -> list[str]:
        """The images that a name may mean, for a message."""
        ends = tuple(f"/{end}" for end in (_plain(word), _plain(word).rpartition("/")[2]))
        keys = zip(self._names, self._keys, strict=True)
        return [name for name, key in keys if f"/{key}".endswith(ends) or f"/{_stem(key)}".endswith(ends)]

    def _find(self, way: Way, keys: Sequence[str]) -> list[int]:
        """The place of the image that each name means, or why there is none."""
        if way.folder is None:
            return [self._alone.get(key, -1) if "/" not in key else -1 for key in keys]
        start = len(way.prefix)
        keys = [way.folder + key[start:] if key else "" for key in keys]
        keys = [posixpath.normpath(key) if "./" in key or "//" in key else key for key in keys]
        places = [self._exact.get(key, -1) for key in keys]
        if -1 not in places:
            return places
        return [self._stems.get(key, -1) if place == -1 else place for key, place in zip(keys, places, strict=True)]


def _num_images(places: Iterable[int]) -> int:
    return sum(place >= 0 for place in set(places))


def _plain(name: str) -> str:
    """A path in one spelling: composed Unicode, forward slashes."""
    name = name.strip().replace("\\", "/")
    return name if name.isascii() else composed(name)


def _stem(key: str) -> str:
    return key.rpartition(".")[0]  # images have an ending


def _ways(keys: Sequence[str], folders: Sequence[str]) -> Iterator[Way]:
    yield from (Way("", folder) for folder in folders)
    yield Way("", None)
    shared = shared_folder(keys) if keys else ""
    ends = [end + 1 for end, letter in enumerate(shared) if letter == "/"]
    yield from (Way(shared[:end], folder) for end in ends[:8] for folder in folders)


def shared_folder(names: Sequence[str]) -> str:
    """The folder that holds all images, as "a/b/", or ""."""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))  # all others lie between
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{part}/" for part, _ in shared)

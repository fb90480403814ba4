"""Finds the image that a row of a table names, by a path relative to various folders, with or without suffix."""

from __future__ import annotations

import functools
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gansmith.data.class_names import to_nfc

__all__ = ["AMBIGUOUS", "ImageNames", "PathRule", "find_shared_folder"]

OTHER = -2  # place of an image that exists but is not read, for example of another split
SAMPLE = 1000  # rows that decide which rule is tried first
AMBIGUOUS = -3  # place if several images fit


class PathRule(NamedTuple):
    """A rule by which names in a table become paths of images.

    Args:
        prefix: the start that all names share, which is removed.
        folder: the folder that is put before them, as "a/b/" or ""; None compares file names without folders.
    """

    prefix: str
    folder: str | None


class ImageNames:
    """Finds images by their names in tables."""

    def __init__(self, names: Sequence[str], kept: Sequence[str]) -> None:
        """Index all images (``names``) and those of them that are read (``kept``)."""
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
        """Places by file name without folders, with and without suffix."""
        bases = [key.rpartition("/")[2] for key in self._keys]
        return self._by(map(_stem, bases)) | self._by(bases)

    def _by(self, words: Iterable[str]) -> dict[str, int]:
        table: dict[str, int] = {}
        for word, place in zip(words, self._places, strict=True):
            if table.setdefault(word, place) != place:
                table[word] = AMBIGUOUS
        return table

    def knows(self, word: str) -> bool:
        """Return whether an image has this name, with or without folder and suffix."""
        key = _plain(word)
        return any(key in table for table in (self._exact, self._stems, self._alone))

    def find_best_rule(self, words: Sequence[str], folders: Iterable[str]) -> tuple[PathRule, list[int], int]:
        """Find the rule by which the names in a column match most images.

        Args:
            words: the column.
            folders: folders that names may be relative to, the most likely first.

        Returns:
            The rule; for each row the index of its image among those that are read, or a negative number; and the
            number of different images matched.
        """
        keys = [_plain(word) for word in words]
        ways = list(_ways(keys, list(dict.fromkeys(folders))))
        sample = keys[:: max(1, len(keys) // SAMPLE)]
        ways.sort(key=lambda way: -_num_images(self._find(way, sample)))  # stable; usually the first one matches all
        best: tuple[PathRule, list[int], int] = PathRule("", ""), [-1] * len(keys), 0
        for way in ways:
            places = self._find(way, keys)
            num = _num_images(places)
            if num > best[2] or (not best[2] and AMBIGUOUS in places and AMBIGUOUS not in best[1]):
                best = way, places, num
            if num == len(self.kept):
                break
        return best

    def meant_by(self, word: str) -> list[str]:
        """Return the images that a name may mean, for a message."""
        ends = tuple(f"/{end}" for end in (_plain(word), _plain(word).rpartition("/")[2]))
        keys = zip(self._names, self._keys, strict=True)
        return [name for name, key in keys if f"/{key}".endswith(ends) or f"/{_stem(key)}".endswith(ends)]

    def _find(self, way: PathRule, keys: Sequence[str]) -> list[int]:
        """Return the index of the image of each name; -1, ``OTHER`` or ``AMBIGUOUS`` if there is none."""
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
    """Return a path in composed Unicode with forward slashes."""
    name = name.strip().replace("\\", "/")
    return name if name.isascii() else to_nfc(name)


def _stem(key: str) -> str:
    return key.rpartition(".")[0]  # names of images have a suffix


def _ways(keys: Sequence[str], folders: Sequence[str]) -> Iterator[PathRule]:
    yield from (PathRule("", folder) for folder in folders)
    yield PathRule("", None)
    shared = find_shared_folder(keys) if keys else ""
    ends = [end + 1 for end, letter in enumerate(shared) if letter == "/"]
    yield from (PathRule(shared[:end], folder) for end in ends[:8] for folder in folders)


def find_shared_folder(names: Sequence[str]) -> str:
    """Return the deepest folder that contains all images, as "a/b/", or ""."""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))  # all others sort between
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{part}/" for part, _ in shared)

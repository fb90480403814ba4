"""The list of trained generators, with the size and SHA-256 of each of their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gansmith.errors import RunError, did_you_mean
from gansmith.plain_json import read_json

__all__ = ["MANIFEST", "PREFIX", "Entry", "PinnedFile", "find_entry", "read_manifest"]

PREFIX = "zoo:"  # of an entry's name, where a run folder is expected
MANIFEST = Path(__file__).with_name("manifest.json")


@dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """The content of a file.

    Args:
        num_bytes: its length.
        sha256: its digest, hexadecimal.
    """

    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A trained generator: a run folder of few files.

    Args:
        name: after ``zoo:``.
        size: of its images, such as "32x32": width x height in pixels.
        num_classes: 0 if it is unconditional.
        data: what it was trained on, in a few words.
        license: of the weights: an SPDX identifier, or "other".
        place: the distribution that contains it.
        kimg: thousands of real images seen in training.
        fid: the FID by the name of the feature extractor.
        files: by path within the folder.
        archive: the zip of these files, for a download.
    """

    name: str
    size: str
    num_classes: int
    data: str
    license: str
    place: Literal["gansmith", "gansmith-zoo"]
    kimg: float
    fid: Mapping[str, float]
    files: Mapping[str, PinnedFile]
    archive: PinnedFile

    @property
    def num_bytes(self) -> int:
        """Length of all files."""
        return sum(file.num_bytes for file in self.files.values())


def read_manifest() -> Mapping[str, Entry]:
    """Return the entries by name.

    Raises:
        RunError: the manifest is missing or damaged.
    """
    try:
        return {name: _to_entry(name, plain) for name, plain in read_json(MANIFEST).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{MANIFEST}: cannot be read ({error}); reinstall gansmith") from error


def _to_entry(name: str, plain: dict[str, Any]) -> Entry:
    files = {path: PinnedFile(**pinned) for path, pinned in plain.pop("files").items()}
    return Entry(name=name, files=files, archive=PinnedFile(**plain.pop("archive")), **plain)


def find_entry(name: str) -> Entry:
    """Return the entry of this name.

    Raises:
        RunError: there is none; the message names the most similar one.
    """
    entries = read_manifest()
    if name not in entries:
        raise RunError(
            f"{PREFIX}{name}: the zoo has no entry of this name; {did_you_mean(name, entries)} (gansmith list zoo)"
        )
    return entries[name]

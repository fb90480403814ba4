"""Recognises image files by their names and first bytes, and explains those that cannot be decoded."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

__all__ = [
    "FORMATS",
    "PHOTOGRAPHS",
    "RAW",
    "SUFFIXES",
    "describe_pointer",
    "describe_pointer_file",
    "explain_format",
    "readable_formats",
    "select_images",
]

FORMATS = ("PNG", "JPEG", "PPM", "GIF", "BMP", "WEBP", "TIFF")
SUFFIXES = (  # of formats that need no optional package
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
RAW = (  # sensor data; many of them are TIFF files whose first image is a thumbnail
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
HEIF = (".heic", ".heif", ".heics", ".heifs", ".hif")
JPEG_2000 = (".jp2", ".j2k", ".jpf", ".jpx", ".j2c")
PHOTOGRAPHS = (*HEIF, ".avif", ".jxl", *JPEG_2000, *RAW)  # may need an optional package or a conversion

_CONVERT = "convert it to JPEG or PNG"
_REASONS = {
    "HEIF": f"a HEIC photograph; to read it, pip install 'gansmith[heic]', or {_CONVERT}",
    "AVIF": f"an AVIF image, which this version of Pillow cannot read; pip install 'pillow>=11.3', or {_CONVERT}",
    "JXL": f"a JPEG XL image, which is not supported; {_CONVERT}",
    "JPEG2000": f"a JPEG 2000 image, which is not supported; {_CONVERT}",
    "RAW": f"a RAW photograph, which is not supported; {_CONVERT}",
}
_BRANDS = re.compile(rb"(?P<AVIF>avi[fs])|(?P<RAW>crx )|(?P<HEIF>heic|heix|heim|heis|hevc|hevx|hevm|hevs|mif1|msf1)")
_STARTS = (
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL ", "JXL"),
    (b"\0\0\0\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"FUJIFILMCCD-RAW", "RAW"),
)
_BY_SUFFIX = {
    **dict.fromkeys(HEIF, "HEIF"),
    **dict.fromkeys(JPEG_2000, "JPEG2000"),
    **dict.fromkeys(RAW, "RAW"),
    ".avif": "AVIF",
    ".jxl": "JXL",
}
_LFS = b"version https://git-lfs.github.com/spec/"
_ANNEX = re.compile(rb"\S{0,4000}\.?git/annex/objects/|/annex/objects/")


def select_images(names: Sequence[str]) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Separate images from other files by their suffixes.

    Returns:
        The names of images, readable or not; and (name, reason) of the other files. A photograph such as a RAW file
        counts as another file if a JPEG or PNG of the same name lies beside it, because both show the same.
    """
    stems = {name.lower().rpartition(".")[0] for name in names if name.lower().endswith(SUFFIXES)}
    images, others = [], []
    for name in names:
        lower = name.lower()
        if lower.endswith(SUFFIXES) or (lower.endswith(PHOTOGRAPHS) and lower.rpartition(".")[0] not in stems):
            images.append(name)
        else:
            twin = lower.endswith(PHOTOGRAPHS)
            others.append((name, "beside an image of the same name" if twin else "the suffix is not that of an image"))
    return images, tuple(others)


def describe_pointer(start: bytes) -> str | None:
    """Recognise a pointer file of Git LFS or git-annex: a small text file in place of a large one.

    Args:
        start: the file's first bytes.

    Returns:
        What it is and the remedy, or None for any other file.
    """
    if start.startswith(_LFS):
        return "a Git LFS pointer, not the file itself; run 'git lfs pull' in the repository"
    if _ANNEX.match(start[:4096]):
        return "a git-annex pointer, not the file itself; run 'git annex get' in the repository"
    return None


def describe_pointer_file(path: Path) -> str | None:
    """Return ``describe_pointer`` of a file on disk; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return describe_pointer(file.read(4096))
    except OSError:
        return None


def explain_format(data: bytes, name: str = "") -> str | None:
    """Return why a file cannot be decoded, with the remedy, judged by its first bytes and name; None if unknown."""
    suffix = "." + name.lower().rpartition(".")[2]
    kind = "RAW" if suffix in RAW else _kind(data[:64]) or _BY_SUFFIX.get(suffix)
    return describe_pointer(data[:4096]) or (None if kind is None else _REASONS[kind])


def _kind(start: bytes) -> str | None:
    if start[4:8] == b"ftyp":
        brand = _BRANDS.search(start[8:])
        return brand.lastgroup if brand else None
    return next((kind for known, kind in _STARTS if start.startswith(known)), None)


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that can be decoded: FORMATS and those of installed plugins."""
    found = list(FORMATS)
    for module, register in (("PIL.AvifImagePlugin", ""), ("pillow_heif", "register_heif_opener")):
        try:
            plugin = importlib.import_module(module)
        except ImportError:
            continue
        if register:
            getattr(plugin, register)()
        found += [name for name in ("AVIF", "HEIF") if name in Image.OPEN and name not in found]
    return tuple(found)

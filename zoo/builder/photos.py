"""python photos.py --data-root PATH --out photos.zip: collect photographs of several sources into one zip of classes.

The zip is the data of the entry photos-64: five classes of flowers and one of dogs, each file byte for byte. CIFAR-10
is left out: at 64 pixels its images of 32 pixels are blurred, and a generator would learn the blur.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SOURCES = {"folder/flowers_128.zip": "", "folder/dogs_256.zip": "dog"}  # archive: its class; "" keeps its folders
EPOCH = (1980, 1, 1, 0, 0, 0)  # a date for all files, so that the zip is the same each time


def collect_photos(data_root: Path, out: Path) -> int:
    """Write the zip and return the number of photographs; the same sources give the same bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    num = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for archive, label in SOURCES.items():
            for name, content in _read(data_root / archive, label):
                target.writestr(zipfile.ZipInfo(name, EPOCH), content)
                num += 1
    return num


def _read(archive: Path, label: str) -> Iterator[tuple[str, bytes]]:
    """Yield "class/file" and the content of each photograph, sorted by name."""
    with zipfile.ZipFile(archive) as source:
        for name in sorted(source.namelist()):
            path = PurePosixPath(name)
            if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                yield f"{label or path.parent.name}/{path.name}", source.read(name)


def main() -> None:
    """Collect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("photos.zip"))
    arguments = parser.parse_args()
    print(f"{collect_photos(arguments.data_root, arguments.out)} photographs: {arguments.out}")


if __name__ == "__main__":
    main()

"""python zoo/archives.py OUT: write each entry as OUT/NAME.zip, for a web server; GANSMITH_ZOO_URL then names it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from builder.pack import entry_folder

from gansmith.zoo.archive import write_archive
from gansmith.zoo.manifest import read_manifest


def main() -> None:
    """Write the archives; each must have the digest that the manifest pins."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for entry in read_manifest().values():
        path = out / f"{entry.name}.zip"
        write_archive(entry_folder(entry.name, entry.place), entry.files, path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != entry.archive.sha256:
            raise SystemExit(f"{path}: differs from the manifest; pack the entry again with build.py")
        print(path)


if __name__ == "__main__":
    main()

"""The other engine of a page: onnxruntime-web, pinned by version and digests, from a local copy or from a CDN."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gansmith.errors import ExportError

__all__ = ["CDN", "RUNTIME_FILES", "WebRuntime", "find_runtime"]

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
CDN = f"https://cdn.jsdelivr.net/npm/{PACKAGE}@{VERSION}/dist/"
SCRIPT, KERNEL = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
RUNTIME_FILES: Mapping[str, str] = {  # SHA-384 of the files of this version, as browsers check them
    SCRIPT: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    KERNEL: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}


@dataclass(frozen=True, kw_only=True)
class WebRuntime:
    """Where a page finds onnxruntime-web.

    Args:
        folder: of a local copy, which the page contains; None loads it from the CDN.
    """

    folder: Path | None

    def install(self, page: Path) -> None:
        """Copy the runtime into the folder of a page, unless it comes from the CDN."""
        if self.folder is not None:
            for name in RUNTIME_FILES:
                shutil.copyfile(self.folder / name, page / name)

    def describe(self) -> dict[str, str | dict[str, str]]:
        """Return what model.json says of it."""
        base = CDN if self.folder is None else ""
        return {
            "name": PACKAGE,
            "version": VERSION,
            "script": base + SCRIPT,
            "kernel": base + KERNEL,
            "integrity": {"script": RUNTIME_FILES[SCRIPT], "kernel": RUNTIME_FILES[KERNEL]},
        }


def find_runtime(named: str | None) -> WebRuntime:
    """Return the runtime that a user names.

    Args:
        named: the folder of the npm package or of its files; "cdn"; None searches node_modules here and above.

    Raises:
        ExportError: there is none, or it is another version.
    """
    if named == "cdn":
        return WebRuntime(folder=None)
    places = list(_search() if named is None else (Path(named), Path(named) / "dist"))
    folder = next((place for place in places if all((place / name).is_file() for name in RUNTIME_FILES)), None)
    remedy = f"run npm install {PACKAGE}@{VERSION}, name its folder with --runtime, or load it with --runtime cdn"
    if folder is None:
        where = f"--runtime {named}" if named else "--engine onnxruntime"
        raise ExportError(f"{where}: no copy of {PACKAGE} ({SCRIPT} and {KERNEL}); {remedy}")
    for name, expected in RUNTIME_FILES.items():
        if _hash(folder / name) != expected:
            raise ExportError(f"{folder / name}: is not that of {PACKAGE} {VERSION} (its digest differs); {remedy}")
    return WebRuntime(folder=folder)


def _search() -> Iterator[Path]:
    here = Path.cwd()
    for folder in (here, *here.parents):
        yield folder / "node_modules" / PACKAGE / "dist"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha384").digest()
    return f"sha384-{base64.b64encode(digest).decode()}"

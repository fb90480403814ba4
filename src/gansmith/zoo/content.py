"""What may be taken of the repository of another person: files of known names, limited in size, and only data.

Nothing else is downloaded. JSON must parse, weights must be safetensors with finite numbers, pictures must be PNG.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from gansmith.errors import RunError
from gansmith.plain_json import parse_json

__all__ = ["MOST_BYTES", "choose_files", "compare_weights", "inspect_content"]

MOST_BYTES = 2_000_000_000  # of all files
NEEDED = ("config.json", "data.json", "best/state.json")
WEIGHTS, PICTURES = r"best/[A-Za-z0-9_]+\.safetensors", r"images/[A-Za-z0-9_-]+\.png"
LIMITS: Mapping[str, int] = {  # bytes by the pattern of a known name
    r"config\.json|data\.json|environment\.json|status\.json|provenance\.json|best/state\.json": 4_000_000,
    r"stats\.jsonl|metrics\.jsonl|events\.jsonl": 100_000_000,
    r"README\.md|LICENSE": 1_000_000,
    PICTURES: 20_000_000,
    WEIGHTS: MOST_BYTES,
}
MOST_FILES = 100
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npy")
PNG = b"\x89PNG\r\n\x1a\n"


def choose_files(name: str, sizes: Mapping[str, int]) -> list[str]:
    """Return the files of a repository that make a run folder, sorted.

    Args:
        name: of the repository, for messages.
        sizes: of all its files by path, as the server states them; -1 for unknown.

    Raises:
        RunError: a name leaves the folder, a file is missing or too large, or only pickles hold the weights.
    """
    for path in sizes:
        if not _is_inside(path):
            raise RunError(f"{name}: its file {_short(path)} would leave its folder; do not use this repository")
    limits = {path: limit for path in sizes if (limit := _limit(path)) is not None}
    for path, limit in limits.items():
        if not 0 <= sizes[path] <= limit:
            found = "of unknown size" if sizes[path] < 0 else f"{sizes[path]:,} bytes long"
            raise RunError(f"{name}: its {path} is {found}; expected at most {limit:,} bytes")
    if (total := sum(sizes[path] for path in limits)) > MOST_BYTES or len(limits) > MOST_FILES:
        raise RunError(
            f"{name}: {len(limits)} files with {total:,} bytes are too much; expected at most {MOST_FILES} and "
            f"{MOST_BYTES:,}"
        )
    if not any(re.fullmatch(WEIGHTS, path) for path in limits):
        raise RunError(f"{name}: {_describe_lack(sizes)}; expected what gansmith export hub writes")
    for path in NEEDED:
        if path not in limits:
            raise RunError(f"{name}: has no {path}; expected what gansmith export hub writes")
    return sorted(limits)


def _describe_lack(paths: Iterable[str]) -> str:
    pickles = sorted(path for path in paths if PurePosixPath(path).suffix in PICKLES)
    if pickles:
        return f"has weights only as a pickle ({_short(pickles[0])}), which could run code when read"
    return "has no best/*.safetensors"


def _limit(path: str) -> int | None:
    return next((limit for pattern, limit in LIMITS.items() if re.fullmatch(pattern, path)), None)


def _is_inside(path: str) -> bool:
    parts = re.split(r"[/\\]", path)
    return not ({"", ".", ".."} & set(parts) or re.match(r"[A-Za-z]:", path) or not path.isprintable())


def _short(path: str) -> str:
    return repr(path if len(path) <= 60 else f"{path[:57]}...")


def inspect_content(name: str, path: str, content: bytes) -> None:
    """Check a file's content by its name.

    Raises:
        RunError: it is not what its name says, or a weight is NaN or infinite.
    """
    check = next((check for suffix, check in _CHECKS.items() if path.endswith(suffix)), None)
    try:
        if check is not None:
            check(content)
    except (ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{name}: its {path} cannot be used ({reason}); do not use this repository") from None


def compare_weights(name: str, state: bytes, digests: Mapping[str, str]) -> None:
    """Check that best/state.json lists exactly the weights that were downloaded, with their digests.

    Args:
        name: of the repository, for messages.
        state: content of best/state.json.
        digests: SHA-256 of every downloaded file by path.

    Raises:
        RunError: it lists other files, or a file differs.
    """
    listed = parse_json(state).get("files")
    found = {path.removeprefix("best/"): digest for path, digest in digests.items() if re.fullmatch(WEIGHTS, path)}
    if not isinstance(listed, dict) or listed.keys() != found.keys():
        raise RunError(
            f"{name}: its best/state.json does not list the files of its weights; do not use this repository"
        )
    for path, digest in found.items():
        if listed[path] != digest:
            raise RunError(f"{name}: its best/{path} differs from the digest in state.json; do not use this repository")


def _check_object(content: bytes) -> None:
    if not isinstance(parse_json(content.decode("utf-8")), dict):
        raise ValueError("expected a JSON object")


def _check_lines(content: bytes) -> None:
    content.decode("utf-8")


def _check_picture(content: bytes) -> None:
    if not content.startswith(PNG):
        raise ValueError("expected a PNG picture")


def _check_weights(content: bytes) -> None:
    from safetensors.torch import load  # imported here, because torch takes a second

    try:
        tensors: dict[str, Any] = load(content)
    except Exception as error:  # the library's own class, which it does not export everywhere
        raise ValueError(f"expected safetensors: {error}") from None
    for tensor, values in tensors.items():
        if values.is_floating_point() and not values.isfinite().all():
            raise ValueError(f"{tensor[:60]} has NaN or infinity")


_CHECKS: Mapping[str, Callable[[bytes], None]] = {
    ".json": _check_object,
    ".jsonl": _check_lines,
    ".md": _check_lines,
    ".png": _check_picture,
    ".safetensors": _check_weights,
}

"""gansmith doctor"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Flag, parse, print_json

__all__ = ["main"]

EXTRAS = {
    "imageio_ffmpeg": ("mp4", "MP4 files"),
    "tensorboard": ("tensorboard", "--loggers tensorboard"),
    "wandb": ("wandb", "--loggers wandb"),
    "IPython": ("notebook", "images and progress in notebooks"),
    "pillow_heif": ("heic", "HEIC photographs"),
    "onnx": ("onnx", "gansmith export and publish"),
    "fastapi": ("serve", "gansmith serve"),
}


@dataclass(frozen=True)
class DoctorOptions:
    """Show the hardware and versions, what training would use, and which extras are installed."""

    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Examine the machine."""
    only_json = parse(DoctorOptions, "doctor", arguments).json
    from gansmith.data.source import cache_folder
    from gansmith.devices import choose_compute, describe_environment

    compute = choose_compute("auto", "auto")
    extras = {package: importlib.util.find_spec(package) is not None for package in EXTRAS}
    facts = describe_environment(compute)
    if only_json:
        print_json({**facts, "cache": str(cache_folder()), "extras": extras})
        return
    for key in ("gansmith", "python", "torch", "numpy", "pillow", "safetensors", "platform", "processor", "cores"):
        print(f"{key:12} {facts[key]}")
    print(f"{'trains on':12} {compute.name}, {compute.precision}, {facts['threads']} threads")
    for note in compute.notes:
        print(f"{'note':12} {note}")
    print(f"{'cache':12} {cache_folder()}")
    for package, (extra, purpose) in EXTRAS.items():
        state = "installed" if extras[package] else f"not installed; pip install 'gansmith[{extra}]'"
        print(f"{package:14} {state} ({purpose})")

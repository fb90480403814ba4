"""gansmith export hub RUN"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from gansmith.cli.options import Averaged, Flag, OptionalPath, RunPath, Text, parse, print_json, quiet_if

__all__ = ["export_hub_folder"]


@dataclass(frozen=True)
class HubOptions:
    """Write a folder for the Hugging Face Hub: weights, settings, metrics, samples and a card; upload it if asked.

    The token is read from HF_TOKEN, or from the login of huggingface_hub (hf auth login).
    """

    run: RunPath
    """the run's folder, zoo:NAME or hf:USER/NAME"""
    out: OptionalPath = None
    """the folder; default: the run's name with -hub"""
    upload: Annotated[str | None, tyro.conf.arg(metavar="USER/NAME", help_behavior_hint="")] = None
    """the repository to upload to; it is created if there is none"""
    private: Flag = False
    """only you see a new repository"""
    license: Text = None
    """of the weights, such as mit, cc-by-4.0 or other; default: unknown, or that of an entry of the zoo"""
    title: Text = None
    """of the card; default: the run's name"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    json: Flag = False
    """print JSON only"""


def export_hub_folder(arguments: Sequence[str]) -> None:
    """Write a folder for the Hub, and upload it."""
    options = parse(HubOptions, "export hub", arguments)
    from pathlib import Path

    from gansmith.deploy.publication import STALE, write_hub_folder
    from gansmith.errors import ConfigError
    from gansmith.runs import RunFolder
    from gansmith.zoo.hub import upload
    from gansmith.zoo.places import entry_name
    from gansmith.zoo.repositories import parse_repository

    if options.private and not options.upload:
        raise ConfigError("--private: nothing is uploaded; name a repository with --upload USER/NAME")
    repository = parse_repository(options.upload) if options.upload else None
    if repository and repository.revision:
        raise ConfigError(
            f"--upload {options.upload}: uploads go to the default branch; leave out @{repository.revision}"
        )
    folder = RunFolder.open(Path(options.run))
    name = entry_name(folder.path) or folder.path.resolve().name
    written = write_hub_folder(
        folder,
        Path(options.out or f"{name}-hub"),
        title=options.title,
        license_id=options.license,
        snapshot=options.snapshot,
        ema=options.ema,
        repository=repository.name if repository else None,
    )
    if not options.json:
        print(f"{written.path}: {written.size_bytes / 1e6:.2f} MB, licence {written.license}")
    url = None
    if repository:
        with quiet_if(options.json):
            url = upload(written.path, repository.name, private=options.private, stale=STALE)
    if options.json:
        facts = {"path": str(written.path), "size_bytes": written.size_bytes, "license": written.license, "url": url}
        print_json(facts)
        return
    if written.license == "unknown":
        print("state the licence of the weights with --license before others use them")
    label = f" --label {shlex.quote(written.label)}" if written.label else ""
    if url:
        print(f"uploaded: {url}")
        print(f"use it: gansmith sample {repository}{label}")
    else:
        print(f"use it: gansmith sample {shlex.quote(str(written.path))}{label}; upload it with --upload USER/NAME")

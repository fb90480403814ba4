"""gansmith train DATA"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gansmith.cli.options import (
    Count,
    DataName,
    Flag,
    OptionalPath,
    Rate,
    Text,
    choose_app,
    parse_with_overrides,
    print_json,
    quiet_if,
)
from gansmith.data import SOURCES

__all__ = ["main"]

COUNTING_SECONDS = 0.3  # after which files are no longer counted


@dataclass(frozen=True)
class TrainOptions:
    """Train a GAN on a named data set or on your own images.

    Every setting is an option too, such as --model.width 32, --loss hinge, --generator_optimizer.lr 1e-4. `gansmith
    list fields` lists them all.
    """

    data: DataName
    """a data set's name (gansmith list data), or a path: a folder, a zip, an .npz"""
    root: OptionalPath = None
    """the folder with a local copy of a named data set"""
    preset: Text = None
    """settings to start from (gansmith list presets); default: auto"""
    length: Text = None
    """length of training: "10 min", "50 epochs", "3000 steps", "500 kimg"; default: the preset's"""
    minutes: Rate = None
    """--minutes 10 is --length "10 min\""""
    epochs: Rate = None
    """passes over the data: --epochs 50 is --length "50 epochs\""""
    steps: Count = None
    """updates of the generator: --steps 3000 is --length "3000 steps\""""
    kimg: Rate = None
    """thousands of real images: --kimg 500 is --length "500 kimg\""""
    init: Text = None
    """the trained model to start from: a run's folder, zoo:NAME or hf:USER/NAME; default: start from noise"""
    init_classes: Text = None
    """what classes that this model does not know start from: mean, nearest or new; default: mean"""
    freeze_discriminator: Count = None
    """number of blocks of the discriminator, from the image on, that keep its weights; default: 0"""
    run: OptionalPath = None
    """the folder to write; default: runs/DATA-PRESET-N"""
    seed: Annotated[str | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """seed of the initial weights, the order of the data and all random numbers; default: the preset's"""
    size: Text = None
    """size of the images: 64, or 48x64 for width x height; default: chosen from the data, or the preset's"""
    resolution: Text = None
    """the same as --size"""
    lr: Rate = None
    """learning rate of both networks; for one network: --generator_optimizer.lr or --discriminator_optimizer.lr"""
    app: Flag = False
    """show the training on a local page (gansmith app), in a process of its own"""
    app_port: Count = None
    """port of that page; default: 7860, or a free one"""
    dry_run: Flag = False
    """print what training would do (data, configuration, memory, time), and stop; only caches are written"""
    json: Flag = False
    """print the run's state, or the result of a dry run, as JSON; progress goes to standard error"""


def main(arguments: Sequence[str]) -> None:
    """Train."""
    options, overrides = parse_with_overrides(TrainOptions, "train", arguments)
    with quiet_if(options.json):
        _announce_reading(options.data)
    from gansmith import api
    from gansmith.run_list import summarize_run
    from gansmith.training.keywords import expand_short_names

    names = ("length", "minutes", "epochs", "steps", "kimg", "size", "resolution", "lr")
    overrides = expand_short_names(**{name: getattr(options, name) for name in names}, prefix="--") | overrides
    start = {name: getattr(options, name) for name in ("init", "init_classes", "freeze_discriminator")}
    overrides = {name: value for name, value in start.items() if value is not None} | overrides
    if options.seed is not None:
        overrides["seed"] = int(options.seed) if options.seed.isdigit() else options.seed
    if options.dry_run:
        _preview(options, overrides)
        return
    with quiet_if(options.json):
        run = api.train(
            options.data,
            root=options.root,
            preset=options.preset,
            run=options.run,
            app=choose_app(options.app, options.app_port),
            overrides=overrides,
        )
    if options.json and _is_main():
        print_json(asdict(summarize_run(run.path)))


def _preview(options: TrainOptions, overrides: Mapping[str, Any]) -> None:
    from gansmith import api

    with quiet_if(options.json):
        preview = api.preview(options.data, root=options.root, preset=options.preset, overrides=overrides)
    if not _is_main():
        return
    if options.json:
        print_json(preview.to_plain())
    else:
        print("\n".join([*preview.lines(), "dry run: nothing was trained"]), flush=True)


def _is_main() -> bool:
    """Whether this is the main one of the processes that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


def _announce_reading(data: str) -> None:
    """Print what will be read, and how many files it has, before anything slow is imported."""
    path = Path(data).expanduser()
    if not (_is_main() and (path.exists() or data in SOURCES)):
        return
    num = _count_files(path)
    print(f"reading {data}" if num is None else f"reading {num} files in {data}", flush=True)


def _count_files(path: Path) -> str | None:
    """Return the number of files in a folder or zip, as it is printed; None if it is neither or cannot be read."""
    until = time.monotonic() + COUNTING_SECONDS
    num = 0
    try:
        if path.is_file() and path.suffix.lower() != ".zip":  # an .npz is a zip of arrays
            return None
        if path.is_file():
            with zipfile.ZipFile(path) as archive:
                return f"{sum(not entry.is_dir() for entry in archive.infolist()):,}"
        for _, _, names in os.walk(path):
            num += len(names)
            if time.monotonic() > until:
                return f"more than {num:,}"
    except (OSError, zipfile.BadZipFile):
        return None
    return f"{num:,}" if num else None

"""gansmith export data RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from gansmith.cli.options import (
    Averaged,
    Count,
    Flag,
    Number,
    OptionalPath,
    RunPath,
    Text,
    Whole,
    parse,
    print_json,
    quiet_if,
)

__all__ = ["export_data_set"]


@dataclass(frozen=True)
class ExportDataOptions:
    """Write a labelled set of generated images, to train a classifier with, for example.

    manifest.jsonl names the seed, class and generator of each image. The same command writes the same bytes.
    """

    run: RunPath
    """the run's folder, zoo:NAME or hf:USER/NAME"""
    per_class: Count = None
    """images of each class"""
    balance: Text = None
    """instead: fill up the rare classes of these real images, a data set's name or a path"""
    root: OptionalPath = None
    """the folder with a local copy of the data set of --balance"""
    target: Count = None
    """images of each class with --balance, real and generated; default: as many as the largest class has"""
    out: OptionalPath = None
    """the folder, or x.zip; default: the run's name with -data"""
    shards: Flag = False
    """write a folder of tar files in WebDataset's format"""
    shard_size: Whole = 1000
    """images of a tar file"""
    least_probability: Number = 0.0
    """keep an image only if a classifier of the training images gives its class this probability; 0 keeps all"""
    drop_copies: Flag = False
    """leave out near copies of training images"""
    seed: Whole = 10_000_000
    """the first seed"""
    truncation: Number = 1.0
    """factor on the latents, at most 1; smaller: more typical and less varied images"""
    replace: Flag = False
    """replace an earlier export"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    json: Flag = False
    """print JSON only"""


def export_data_set(arguments: Sequence[str]) -> None:
    """Write a data set."""
    options = parse(ExportDataOptions, "export data", arguments)
    from pathlib import Path

    from gansmith import api
    from gansmith.data import resolve
    from gansmith.deploy.dataset import DatasetOptions, export_data
    from gansmith.errors import ConfigError
    from gansmith.trust import trust_user_input

    if options.root is not None and options.balance is None:
        raise ConfigError("--root: says where the data set of --balance lies; name that too")
    with trust_user_input():
        root = None if options.root is None else Path(options.root)
        balance = None if options.balance is None else resolve(options.balance, root)
    folder = api.open_run(options.run).folder
    out = Path(options.out or f"{folder.path.resolve().name}-data")
    is_zip = out.suffix.lower() == ".zip"
    if is_zip and options.shards:
        raise ConfigError(f"--shards: writes a folder, but --out is {out}; name a folder")
    chosen = DatasetOptions(
        per_class=options.per_class,
        balance=balance,
        target=options.target,
        seed=options.seed,
        truncation=options.truncation,
        least_probability=options.least_probability,
        drop_copies=options.drop_copies,
        container="webdataset" if options.shards else "zip" if is_zip else "folder",
        shard_size=options.shard_size,
        replace=options.replace,
        snapshot=options.snapshot,
        ema=options.ema,
    )
    with quiet_if(options.json):
        written = export_data(folder, out, chosen)
    if options.json:
        print_json({**asdict(written), "path": str(written.path), "num_images": sum(written.written)})
    else:
        print("\n".join(written.lines()))

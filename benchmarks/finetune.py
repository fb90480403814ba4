"""Measure how many images training sees until it is as good from a trained model as from noise.

    python benchmarks/finetune.py --data-root path/to/data --runs FOLDER [--only gtsrb dogs] [--extractor NAME]

Trains what FOLDER does not hold yet: for each case a parent, a run from noise, and runs from the parent with other
settings. Then it measures the averaged generator of every checkpoint: KID of 500 images against 1,000 training images.
Writes a JSON file and a Markdown table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gansmith import api
from gansmith.component import from_plain
from gansmith.data import resolve
from gansmith.data.store import Preparation, Store, prepare
from gansmith.metrics import kid
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork, choose_subset, extract, extract_store
from gansmith.training.checkpoint_files import open_checkpoint
from gansmith.training.config import Config
from gansmith.training.snapshots import Snapshot, load_generator
from record import Result, write_results

__all__ = ["CASES", "Case", "main", "measure", "table"]

HERE = Path(__file__).parent
ARCHIVES = {"dogs": "dogs_256.zip", "flowers": "flowers_128.zip"}
NUM_IMAGES, NUM_REAL, FEW = 500, 1000, 300
HABITS: dict[str, Any] = {"tracking": None, "keep_checkpoints": 1000, "samples.every": "50 %"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set, a parent for it, and the runs that are compared.

    Args:
        data: a named data set, whose copy is in the folder of that name, the flowers, all or a part of the dogs, or
            "pets": the cats and dogs of CIFAR-10, enlarged.
        parent_data: what the parent is trained on, likewise; or an entry of the zoo, which is the parent.
        size: pixels.
        parent_kimg: of the parent's training.
        noise_kimg: of the training from noise.
        init_kimg: of each training from the parent.
        variants: further settings of the runs from the parent, by name.
    """

    data: str
    parent_data: str
    size: int
    parent_kimg: int
    noise_kimg: int
    init_kimg: int
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_RATE: dict[str, Any] = {"generator_optimizer.lr": 1.2e-3, "discriminator_optimizer.lr": 1.2e-3}
CASES = {
    "gtsrb": Case(
        data="gtsrb",
        parent_data="signs",
        size=32,
        parent_kimg=80,
        noise_kimg=50,
        init_kimg=10,
        variants={
            "parent": {},
            "parent, lr 1.2e-3": _RATE,
            "parent, lr 6e-4": dict.fromkeys(_RATE, 6e-4),
            "parent, lr 1.2e-3, 1 block frozen": {**_RATE, "freeze_discriminator": 1},
            "parent, lr 1.2e-3, 2 blocks frozen": {**_RATE, "freeze_discriminator": 2},
        },
    ),
    "dogs": Case(
        data="dogs-few",
        parent_data="dogs-others",
        size=64,
        parent_kimg=40,
        noise_kimg=32,
        init_kimg=6,
        variants={"parent": {}, "parent, 1 block frozen": {"freeze_discriminator": 1}},
    ),
    "dogs-from-flowers": Case(
        data="dogs",
        parent_data="flowers",
        size=64,
        parent_kimg=40,
        noise_kimg=32,
        init_kimg=12,
        variants={"parent": {}},
    ),
    "pets": Case(
        data="pets",
        parent_data="zoo:photos-64",
        size=64,
        parent_kimg=330,
        noise_kimg=48,
        init_kimg=48,
        variants={"parent": {}},
    ),
}
PETS = {3: "cat", 5: "dog"}  # classes of CIFAR-10


def main() -> None:
    """Train what is missing, measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with the data sets")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of the runs")
    parser.add_argument("--only", nargs="*", default=list(CASES), help="cases")
    parser.add_argument("--starts", nargs="*", help="of the runs from the parent; default: all")
    parser.add_argument("--extractor", default="efficientnet-lite1", help="what measures")
    parser.add_argument("--note", default="", help="a sentence to record, for example about runs that were stopped")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    for name in options.only:
        for start, run in _trained(name, options.data_root, options.runs, options.starts):
            results += [{"case": name, "start": start, **each} for each in measure(run, options.extractor)]
            print(results[-1], flush=True)
    facts = {"extractor": options.extractor, "seed": 0, "note": options.note or "none"}
    write_results("finetune", "Training from noise and from a trained model", results, table, facts)


def _trained(name: str, root: Path, runs: Path, starts: Collection[str] | None) -> Iterator[tuple[str, Path]]:
    """Yield each run, trained now unless its folder is there."""
    case = CASES[name]
    data = _data(case.data, root, runs)
    size = {"preparation.size": [case.size, case.size], "init": None}
    if case.parent_data.startswith("zoo:"):
        parent: str | Path = case.parent_data
    else:
        parent = _run(runs / f"{name}-origin", _data(case.parent_data, root, runs), case.parent_kimg, size)
    yield "noise", _run(runs / f"{name}-noise", data, case.noise_kimg, {**size, "checkpoint_every": "5 kimg"})
    for start, changes in case.variants.items():
        if starts is not None and start not in starts:
            continue
        settings = {**size, "init": str(parent), "checkpoint_every": f"{case.init_kimg / 8:g} kimg", **changes}
        yield start, _run(runs / f"{name}-{_stem(start)}", data, case.init_kimg, settings)


def _stem(start: str) -> str:
    return start.replace(", ", "-").replace(" ", "-")


def _run(path: Path, data: tuple[str, Path | None], kimg: int, changes: Mapping[str, Any]) -> Path:
    if not path.exists():
        api.train(data[0], root=data[1], run=path, kimg=kimg, overrides={**HABITS, **changes})
    return path


def _data(name: str, root: Path, runs: Path) -> tuple[str, Path | None]:
    """Return a data set's name and root, or a path; the dogs are split into the first 300 and the others."""
    if name in ARCHIVES:
        return str(root / "folder" / ARCHIVES[name]), None
    if name == "pets":
        return str(_pets(root / "cifar10", runs / name)), None
    if not name.startswith("dogs-"):
        return name, root / name if (root / name).is_dir() else None
    folder = runs / name
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(root / "folder" / ARCHIVES["dogs"]) as archive:
        files = sorted(entry for entry in archive.namelist() if entry.endswith(".jpg"))
        for file in files[:FEW] if name == "dogs-few" else files[FEW:]:
            (folder / Path(file).name).write_bytes(archive.read(file))
    return str(folder), None


def _pets(root: Path, folder: Path) -> Path:
    """Write CIFAR-10's cats and dogs in their order, enlarged to 64 pixels, as a folder of two classes."""
    store = prepare(resolve("cifar10", root=root), Preparation())
    assert store.labels is not None
    for label, name in PETS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in np.flatnonzero(store.labels == label):
            image = Image.fromarray(np.asarray(store.images[i])).resize((64, 64), Image.Resampling.BICUBIC)
            image.save(folder / name / f"{i:05d}.png")
    return folder


# --- measure -----------------------------------------------------------------------------------------------


def measure(path: Path, extractor: str) -> Iterator[dict[str, Any]]:
    """Yield KID of the averaged generator of each checkpoint of a run, with the images that training had seen."""
    run = api.open_run(path)
    store, network = _store(run.config, extractor)
    chosen = choose_subset(torch.arange(len(store)).numpy(), NUM_REAL)
    real = extract_store(network, store, chosen).values.numpy()
    for folder in run.folder.checkpoints():
        saved = open_checkpoint(folder, ["generator_ema"])
        nimg, step = int(saved.state["nimg"]), int(saved.state["step"])
        tensors = {"generator": saved.tensors["generator_ema"]}
        snapshot = Snapshot(which="last", folder=folder, tensors=tensors, ema=True, nimg=nimg, step=step, seconds=0)
        generator = load_generator(run.folder, snapshot)
        fake, _ = extract(network, (batch.images for batch in generator.batches(range(NUM_IMAGES))))
        yield {"kimg": nimg / 1000, "kid_x1000": round(1000 * kid(real, fake.numpy()).value, 2)}


def _store(config: Config, extractor: str) -> tuple[Store, FeatureNetwork]:
    store = prepare(config.source, config.preparation)
    chosen: Extractor = from_plain(Extractor, extractor, "extractor")
    return store, chosen.network(store, torch.arange(len(store)).numpy())


def table(results: list[Result]) -> str:
    """Return one table a case: KID x 1000 by the images that training had seen."""
    parts = []
    for case in dict.fromkeys(each["case"] for each in results):
        own = [each for each in results if each["case"] == case]
        columns = sorted({round(each["kimg"], 1) for each in own})
        rows = [
            f"| {case} | " + " | ".join(f"{kimg:g} kimg" for kimg in columns) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for start in dict.fromkeys(each["start"] for each in own):
            found = {round(each["kimg"], 1): each["kid_x1000"] for each in own if each["start"] == start}
            rows.append(f"| {start} | " + " | ".join(f"{found[k]:,.0f}" if k in found else "" for k in columns) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()

"""Compare what is added to `auto` for few images: terms of the discriminator's loss, and augmentation.

    python benchmarks/few_images.py --dogs dogs_256.zip --flowers flowers_128.zip --work runs/few
        [--cells dogs-100-64 ...] [--recipes auto bcr ...] [--kimg 40] [--seeds 0] [--minutes 9]

A cell is DATA-NUM-SIZE: a GAN is trained on the first NUM images, of the classes in turn. Lengths are counted in
thousands of real images shown, so that other programs do not change the result. After --minutes the training stops;
the same command continues it. A finished training is measured once with features of EfficientNet-Lite1:

- FID and KID of 1,000 samples against the whole data set; precision and recall of as many samples as half of it has;
- dogs: the share of samples that Lite1 takes for a dog (classes 151 to 268 of ImageNet);
- memorisation against the images trained on and the others of the data set; copies among the samples, and the p-value
  of the test that there are no more than among real images. The test is failed below 0.001.

The row "real" compares two halves of the data set, and real images that training does not see with those that it does:
what could be reached. Its FID is of fewer images, and so higher. Adds the results to
benchmarks/results/DATE-few-images.json, with a table in .md; --table only draws it again.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

import gansmith
from gansmith.api import Run, open_run, resume
from gansmith.component import from_plain
from gansmith.data import resolve
from gansmith.data.batches import ENOUGH_HELD_OUT, split
from gansmith.data.store import Preparation, prepare
from gansmith.images.pixels import SIGNED, to_float
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork, Features, Selection, extract
from gansmith.metrics.metric import Estimate, Metric, MetricInputs
from gansmith.models.pretrained import load_efficientnet_lite
from gansmith.penalties import scaled_gamma
from gansmith.training.auto import GAMMA, KIMG_TO_FULL
from gansmith.training.presets import preset
from gansmith.types import ImageSpec, PixelArray
from record import Result, find_commit, merge_result, write_results

__all__ = ["CELLS", "RECIPES", "Cell", "choose_names", "main", "measure", "table"]

NAME = "few-images"
TERMS: Mapping[str, Any] = {
    "bcr": {"name": "consistency", "operations": ["mirror", "shift"]},
    "lecam": {"name": "lecam"},
    "nice": {"name": "noise-consistency"},
    "fakeclr": {"name": "fake-contrast"},
}
AUGMENTATIONS: Mapping[str, Any] = {
    "no augmentation": None,
    "augmentation by held-out images": {"name": "adaptive", "by": "held-out", "kimg": KIMG_TO_FULL},
    "augmentation by sign": {"name": "adaptive", "by": "sign", "kimg": KIMG_TO_FULL},
    "faster augmentation by sign": {"name": "adaptive", "by": "sign", "kimg": KIMG_TO_FULL / 5},
    "augmentation of half": {"name": "fixed", "p": 0.5},
}
RECIPES = ("auto", *AUGMENTATIONS, *TERMS)
CELLS = (
    *("dogs-100-64", "flowers-100-64", "dogs-300-64", "dogs-879-64", "flowers-1000-64"),
    *("dogs-100-128", "flowers-100-128", "dogs-300-128", "dogs-879-128", "flowers-1000-128"),
)
METRICS = ("fid", "kid", "precision-recall")
NUM, FIRST_SEED = 1000, 1_000_000  # samples, with other seeds than those that training selects with
DOGS, SIDE = range(151, 269), 128  # classes of ImageNet; pixels that images are enlarged to before they are classified
KEY = ("data", "images", "size", "kimg", "recipe", "seed")
COLUMNS = (
    *("data", "trained on", "size", "kimg", "recipe", "seed", "FID", "KID", "precision", "recall", "dogs"),
    *("memorisation", "copies"),
)


@dataclass(frozen=True)
class Cell:
    """A data set that is made small.

    Args:
        data: "dogs" or "flowers".
        num: images.
        size: pixels.
    """

    data: str
    num: int
    size: int

    @classmethod
    def of(cls, text: str) -> Cell:
        """Return the cell of DATA-NUM-SIZE."""
        data, num, size = text.split("-")
        return cls(data, int(num), int(size))


def main() -> None:
    """Train, measure and write, as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for data in ("dogs", "flowers"):
        parser.add_argument(f"--{data}", type=Path, help="where the zip lies")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), help="DATA-NUM-SIZE")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--kimg", type=float, default=40, help="thousands of real images shown")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=600, help="when to stop; the same command continues")
    parser.add_argument("--work", type=Path, default=Path("runs/few"), help="where the runs go")
    parser.add_argument("--table", action="store_true", help="only draw the table again")
    parser.add_argument("--train-only", action="store_true", help="measure later")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    for cell in () if options.table else map(Cell.of, options.cells):
        for seed in options.seeds:
            for recipe in options.recipes:
                if not complete(cell, recipe, seed, options, end):
                    print("time is over; the same command continues")
                    return
    if options.table:
        results = merge_result(NAME, {}, lambda each: [each.get(key, "") for key in KEY])
        write_results(NAME, "Few images", [each for each in results if each], table)


def complete(cell: Cell, recipe: str, seed: int, options: argparse.Namespace, end: float) -> bool:
    """Train and measure what is missing; return whether it is whole."""
    zipped = getattr(options, cell.data)
    folder = unpack(cell, zipped, options.work / "data" / f"{cell.data}-{cell.num}")
    path = options.work / f"{cell.data}-{cell.num}-{cell.size}-{options.kimg:g}-{recipe.replace(' ', '-')}-{seed}"
    run = train(cell, recipe, seed, folder, path, options.kimg, end)
    if run.status()["state"] != "finished":
        return False
    if options.train_only or (path / "few.done").exists():
        return True
    about = {"data": cell.data, "images": cell.num, "size": cell.size, "kimg": options.kimg}
    rows = [measure_real(cell, zipped, folder) | about | {"recipe": "real", "seed": 0}]
    rows += [measure_run(cell, zipped, run) | about | {"recipe": recipe, "seed": seed}]
    for row in rows:
        results = merge_result(NAME, {**row, "commit": find_commit()}, lambda each: [each[key] for key in KEY])
        write_results(NAME, "Few images", results, table)
    (path / "few.done").touch()
    return True


# --- training ----------------------------------------------------------------------------------------------


def train(cell: Cell, recipe: str, seed: int, data: Path, path: Path, kimg: float, end: float) -> Run:
    """Return the run: started, continued, or found."""
    with stopped_at(end):
        if not (path / "config.json").exists():
            print(f"--- {path.name}", flush=True)
            length = f"{kimg:g} kimg"
            changes = overrides(recipe, cell.size)
            return gansmith.train(data, run=path, size=cell.size, length=length, seed=seed, overrides=changes)
        run = open_run(path)
        return run if run.status()["state"] == "finished" else resume(path)


def overrides(recipe: str, size: int) -> dict[str, Any]:
    """Return what a recipe changes: a term beside the penalties that `auto` would choose, or the augmentation."""
    other = {
        "init": None,  # the zoo's model knows these images
        "tracking.extractor": "efficientnet-lite0",  # the best generator is not selected by the judge
    }
    if recipe in AUGMENTATIONS:
        return {**other, "augment": AUGMENTATIONS[recipe]}
    if recipe not in TERMS:
        return other
    config = preset("auto")
    gamma = float(f"{scaled_gamma(ImageSpec(height=size, width=size, channels=3), config.batch_size, GAMMA):.2g}")
    own = [{"name": name, "gamma": gamma, "every": config.penalties[0].every} for name in ("r1", "r2")]
    return {**other, "penalties": [*own, TERMS[recipe]]}


@contextmanager
def stopped_at(end: float) -> Iterator[None]:
    """Send this process SIGTERM at the end, at which a training saves a checkpoint and stops.

    SIGINT would not do: a process that was started in the background may ignore it.
    """
    timer = threading.Timer(max(1.0, end - time.monotonic()), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def unpack(cell: Cell, zipped: Path, folder: Path) -> Path:
    """Write the cell's images into a folder, unless they are there."""
    with zipfile.ZipFile(zipped) as archive:
        for name in choose_names(archive.namelist(), cell.num):
            inside = Path(*Path(name).parts[1:])
            if not (folder / inside).exists():
                (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                (folder / inside).write_bytes(archive.read(name))
    return folder


def choose_names(names: Sequence[str], num: int) -> list[str]:
    """Return the first images, of the folders in turn."""
    files = sorted(name for name in names if not name.endswith("/"))
    folders: dict[str, list[str]] = {}
    for name in files:
        folders.setdefault(os.path.dirname(name), []).append(name)
    return [name for name in chain(*zip_longest(*folders.values())) if name][:num]


# --- measuring ---------------------------------------------------------------------------------------------


@functools.cache
def judge() -> FeatureNetwork:
    """Return the fixed judge, which no training of these selects with."""
    extractor: Extractor = from_plain(Extractor, "efficientnet-lite1", "extractor")
    return extractor.network(None, None)  # type: ignore[arg-type]  # it learns from no data


def features_of(images: PixelArray) -> Features:
    """Return the judge's features, with the images."""
    values, _ = extract(judge(), Selection(images, np.arange(len(images))).batches())
    return Features(values=values, images=images)


@functools.cache
def real_features(zipped: Path, size: int) -> Features:
    """Return the features of a whole data set."""
    return features_of(np.array(prepare(resolve(str(zipped)), Preparation(size=(size, size))).images))


def measure_run(cell: Cell, zipped: Path, run: Run) -> Result:
    """Return the values of the best generator."""
    config = run.config
    store = prepare(config.source, config.preparation)
    training, held_out = split(store, config.held_out, least=ENOUGH_HELD_OUT)
    samples = run.generator().sample(NUM, seed=FIRST_SEED).images
    real = real_features(zipped, cell.size)
    others = unseen(real, np.array(store.images))
    others = others if len(others) else np.array(store.images[held_out])
    return {
        "trained on": len(training),
        **measure(real, features_of(samples), features_of(np.array(store.images[training])), features_of(others)),
        "seconds": round(run.status().get("seconds", 0)),
    }


def measure_real(cell: Cell, zipped: Path, folder: Path) -> Result:
    """Return the values of one half of the data set against the other, without the images that training sees."""
    real = real_features(zipped, cell.size)
    known = np.array(prepare(resolve(str(folder)), Preparation(size=(cell.size, cell.size))).images)
    one, two = halves(real)
    others, samples = (unseen(half, known) for half in (one, two))
    if not len(samples):  # training sees all: one half is taken for its images
        known, (others, samples) = np.asarray(one.pixels), np.array_split(np.asarray(two.pixels), 2)
    copying = measure_copying(features_of(samples), features_of(known), features_of(others))
    values = {name: estimate.value for name, estimate in measure_likeness(one, two).items()}
    return {"trained on": len(known), **values, **copying, "dogs": share_of_dogs(samples)}


def halves(real: Features) -> tuple[Features, Features]:
    """Return two random halves of some images."""
    one, two = np.array_split(np.random.default_rng(0).permutation(len(real)), 2)
    return part_of(real, one), part_of(real, two)


def part_of(features: Features, which: NDArray[np.int64]) -> Features:
    """Return the features of some of the images, with these."""
    return Features(values=features.values[which], images=features.pixels[which])


def unseen(real: Features, known: PixelArray) -> PixelArray:
    """Return the images of a data set that are not among the known ones."""
    seen = {image.tobytes() for image in known}
    images = real.pixels[np.arange(len(real))]
    return images[[image.tobytes() not in seen for image in images]]


def measure(real: Features, fake: Features, training: Features, held_out: Features) -> Result:
    """Return all values.

    Args:
        real: the whole data set.
        fake: samples.
        training: what their generator has seen.
        held_out: other images.
    """
    one, two = halves(real)
    of_samples = measure_likeness(one, part_of(fake, np.arange(min(len(two), len(fake)))))
    of_halves = measure_likeness(one, two)
    whole = MetricInputs(real=real, fake=fake)
    found = {name: of_samples[name] for name in ("precision", "recall")}
    found |= metric("fid").measure(whole) | metric("kid").measure(whole)
    return {
        **{name: estimate.value for name, estimate in found.items()},
        **{f"{name} of real halves": of_halves[name].value for name in ("precision", "recall")},
        **measure_copying(fake, training, held_out),
        "dogs": share_of_dogs(fake.pixels[np.arange(len(fake))]),
    }


def measure_likeness(real: Features, fake: Features) -> dict[str, Estimate]:
    """Return FID, KID, precision and recall."""
    inputs = MetricInputs(real=real, fake=fake)
    return {key: value for name in METRICS for key, value in metric(name).measure(inputs).items()}


def measure_copying(fake: Features, training: Features, held_out: Features) -> Result:
    """Return whether samples are nearer to what was trained on than other images, and the share of copies."""
    inputs = MetricInputs(real=training, fake=fake, training=training, held_out=held_out)
    found = metric("memorisation").measure(inputs)
    note = found["copies"].note
    values = {name: estimate.value for name, estimate in found.items()}
    return {**values, "copies note": note, "passed": "training images are copied" not in note}


def metric(name: str) -> Metric:
    """Return a metric by its name."""
    found: Metric = from_plain(Metric, name, "metric")
    return found


@torch.inference_mode()
def share_of_dogs(images: PixelArray) -> float:
    """Return the share of images that Lite1 takes for a dog."""
    network = load_efficientnet_lite("lite1")
    classes = []
    for part in np.array_split(images, max(1, len(images) // 50)):
        pixels = to_float(torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2), SIGNED)
        enlarged = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
        classes.append(network.logits(enlarged).argmax(1))
    return float(np.isin(torch.cat(classes).numpy(), DOGS).mean())


def table(results: list[Result]) -> str:
    """Return a row for each training."""
    rows = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for each in results:
        dogs = f"{each['dogs']:.0%}" if each["data"] == "dogs" else ""
        copies = f"{each['copies']:.1%}{'' if each['passed'] else ', failed'}"
        values = (
            *(each["data"], each["trained on"], each["size"], f"{each['kimg']:g}", each["recipe"], each["seed"]),
            *(f"{each['fid']:.1f}", f"{each['kid']:.2f}", f"{each['precision']:.2f}"),
            *(f"{each['recall']:.2f}", dogs, f"{each['memorisation']:.2f}", copies),
        )
        rows.append(f"| {' | '.join(map(str, values))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()

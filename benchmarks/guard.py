"""Run trainings that are made to fail, and healthy ones; record what the guard detects and does.

    python benchmarks/guard.py --data-root path/to/data [--only rate,poison] [--seed 1]

The guard's thresholds were set on seed 0 of the healthy jobs: only other seeds show its error rate.

Statistics are written and samples checked every 1,000 images, 32 samples at a time. This is earlier and noisier than by
default, so that a short training shows false alarms as well as a long one. Writes a JSON file and a Markdown table to
benchmarks/results/; other results of the day stay.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

import gansmith
from gansmith.data.idx import Mnist
from gansmith.data.store import prepare
from gansmith.errors import TrainingDiverged
from gansmith.losses import RelativisticPairing
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork, Model
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

HERE = Path(__file__).parent
LINES = {
    "log_every": "1 kimg",
    "guard.num": 32,
    "guard.every": "1 kimg",
    "tracking": None,
    "samples.every": "9999 kimg",
}
SMALL = {"preparation.size": [32, 32]}


@dataclass(frozen=True, kw_only=True)
class Poisoned(RelativisticPairing):
    """The discriminator's loss is NaN at some of its steps."""

    steps: ClassVar[int] = 0

    first: int
    last: int

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        Poisoned.steps += real.requires_grad
        return super().discriminator(real, fake) * (math.nan if self.first <= Poisoned.steps <= self.last else 1)


class _Forgets(GeneratorNetwork):
    def __init__(self, network: GeneratorNetwork, after: int) -> None:
        super().__init__()
        self.network, self.after = network, after
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Latents, labels: Labels | None) -> Images:
        if self.training:
            self.seen += len(z)
        images: Images = self.network(z * (self.seen < self.after), labels)
        return images


@dataclass(frozen=True, kw_only=True)
class Forgetful(Model):
    """A small DCGAN whose generator forgets its latents after so many images: it makes one image a class."""

    after: int

    @property
    def inner(self) -> DCGAN:
        """The networks that it is made of."""
        return DCGAN(width=32, max_multiple=4, z_dim=self.z_dim, discriminator_norm="none", init="torch")

    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        return _Forgets(self.inner.generator(spec), self.after)

    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        return self.inner.discriminator(spec)

    @property
    def batch_statistics(self) -> bool:
        return self.inner.batch_statistics


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        name: in the table.
        data: a source's name, or a path below the data root.
        preset: where it starts from.
        kimg: how long.
        changes: what makes it fail, or small.
        wanted: the kinds of sightings that are right; empty for a healthy training.
        begins: images after which it goes wrong.
    """

    name: str
    data: str
    preset: str
    kimg: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    begins: int = 0


def both_rates(lr: float) -> dict[str, float]:
    """Return the learning rates of both networks."""
    return {"generator_optimizer.lr": lr, "discriminator_optimizer.lr": lr}


DIVERGED = ("exploding-gradient", "discriminator-lost", "discriminator-won", "not-finite")
JOBS = [
    Job("rate 100x, mnist", "mnist", "dcgan-r1", 20, both_rates(0.1), DIVERGED),
    Job("rate 100x, gtsrb", "gtsrb", "dcgan-r1", 15, both_rates(0.1) | SMALL, DIVERGED),
    Job("rate 100x, batch norm", "gtsrb", "dcgan-64", 10, both_rates(0.02) | SMALL, DIVERGED),
    Job(
        "no penalty, faster D",
        "mnist",
        "dcgan-r1",
        20,
        {"penalties": [], "discriminator_optimizer.lr": 4e-3},
        ("discriminator-won", "discriminator-lost", "exploding-gradient"),
    ),
    Job(
        "no penalty, strong D",
        "mnist",
        "dcgan-r1",
        40,
        {"penalties": [], "discriminator_steps": 4, "discriminator_optimizer.lr": 2e-3},
        ("discriminator-won",),
    ),
    Job(
        "saturating loss, strong D",
        "mnist",
        "dcgan-r1",
        40,
        {"loss": "sigmoid", "loss.saturating": True, "penalties": [], "discriminator_steps": 4},
        ("discriminator-won",),
    ),
    Job("50 images", "mnist", "dcgan-r1", 30, {"held_out": 0.9991}, ("overfitting", "copies")),
    Job("poisoned batch", "mnist", "dcgan-r1", 15, {"loss": Poisoned(first=100, last=100)}, ("not-finite",), 6400),
    Job(
        "poison without end", "mnist", "dcgan-r1", 15, {"loss": Poisoned(first=100, last=10**9)}, ("not-finite",), 6400
    ),
    Job(
        "generator forgets z",
        "mnist",
        "dcgan-r1",
        20,
        {"model": Forgetful(z_dim=64, after=8000)},
        ("mode-collapse",),
        8000,
    ),
    Job("one class, digit 1", "ones.npz", "dcgan-r1", 20, {"held_out": 0.05}),
    Job("dcgan-r1, mnist", "mnist", "dcgan-r1", 25),
    Job("dcgan-r1, gtsrb", "gtsrb", "dcgan-r1", 25, SMALL),
    Job("dcgan-r1, cifar10", "cifar10", "dcgan-r1", 25),
    Job("dcgan-r1, flowers", "folder/flowers_128.zip", "dcgan-r1", 25, SMALL),
    Job("dcgan-mnist", "mnist", "dcgan-mnist", 15),
    Job("dcgan-gtsrb", "gtsrb", "dcgan-gtsrb", 15),
    Job("dense-mnist", "mnist", "dense-mnist", 60),
    Job("dcgan-64 at 32", "gtsrb", "dcgan-64", 15, SMALL),
    Job("sndcgan-64 at 32", "gtsrb", "sndcgan-64", 15, SMALL),
    Job("dcgan-cifar10", "cifar10", "dcgan-cifar10", 15),
    Job("dcgan-folder-128 at 32", "folder/flowers_128.zip", "dcgan-folder-128", 20, SMALL),
    Job("auto, mnist", "mnist", "auto", 25),
    Job("auto, gtsrb", "gtsrb", "auto", 25, SMALL),
    Job("auto, cifar10", "cifar10", "auto", 25),
    Job("auto, flowers", "folder/flowers_128.zip", "auto", 25, SMALL),
]


def main() -> None:
    """Run the jobs one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder with mnist/, gtsrb/, cifar10/, folder/")
    parser.add_argument("--only", default="", help="beginnings of jobs' names, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings")
    options = parser.parse_args()
    beginnings = tuple(options.only.split(","))
    with tempfile.TemporaryDirectory() as folder:
        for job in JOBS:
            if job.name.startswith(beginnings):
                write(run(job, options.data_root, Path(folder), options.seed))


def run(job: Job, data_root: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Train; return what the guard detected and did, and how the training ended."""
    path, Poisoned.steps, began = folder / "run", 0, time.process_time()
    shutil.rmtree(path, ignore_errors=True)
    data, root = (ones(data_root, folder), None) if job.data == "ones.npz" else located(job.data, data_root)
    try:
        gansmith.train(
            data,
            root=root,
            preset=job.preset,
            length=f"{job.kimg} kimg",
            run=path,
            seed=seed,
            overrides={**LINES, **job.changes},
        )
        ended = "finished"
    except TrainingDiverged:
        ended = "stopped"
    made = gansmith.open_run(path)
    events, last = made.folder.read_events(), {key: value for line in made.stats() for key, value in line.items()}
    sightings = [event for event in events if event["what"] == "began"]
    right = [event for event in sightings if event["kind"] in job.wanted]
    return {
        "job": job.name,
        "seed": seed,
        "healthy": not job.wanted,
        "preset": job.preset,
        "kimg": job.kimg,
        "changes": {key: str(value) for key, value in job.changes.items()},
        "first": right[0]["kind"] if right else None,
        "seen_within": right[0]["nimg"] - job.begins if right else None,
        "failure_within": next((e["nimg"] - job.begins for e in events if e["severity"] == "failure"), None),
        "alarms": [f"{e['kind']} at {e['nimg']:,}" for e in sightings if e["kind"] not in job.wanted],
        "rollbacks": [event["sentence"] for event in events if event["what"] == "rollback"],
        "ended": ended,
        "last": {key: last.get(key) for key in ("loss/discriminator", "guard/diversity", "guard/overfitting")},
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def located(data: str, data_root: Path) -> tuple[str, Path | None]:
    """Return a data set with its folder, or a path."""
    return (str(data_root / data), None) if "/" in data else (data, data_root / data)


def ones(data_root: Path, folder: Path) -> tuple[str, None] | str:
    """Return MNIST's images of the digit 1, without labels."""
    store = prepare(Mnist(root=data_root / "mnist"))
    path = folder / "ones.npz"
    np.savez(path, images=store.images[store.labels == 1])
    return str(path)


def write(result: dict[str, Any]) -> None:
    """Add a result to those of the day, as JSON and as two tables."""
    date = datetime.date.today().isoformat()
    path = HERE / "results" / f"{date}-guard.json"
    known = json.loads(path.read_text())["results"] if path.exists() else []
    by_place = {(each["job"], each["seed"]): each for each in [*known, result]}
    names = [job.name for job in JOBS]
    results = [by_place[place] for place in sorted(by_place, key=lambda place: (names.index(place[0]), place[1]))]
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, cwd=HERE, check=True).stdout.strip()
    about = {"date": date, "commit": commit, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    path.write_text(json.dumps({**about, "results": results}, indent=2) + "\n")
    path.with_suffix(".md").write_text("\n".join(tables(about, results)) + "\n")


def tables(about: Mapping[str, Any], results: list[dict[str, Any]]) -> Iterator[str]:
    """Return two tables: failing trainings and healthy ones."""
    yield (
        "The guard, "
        + ", ".join(f"{key} {value}" for key, value in about.items())
        + "; a line of statistics every kimg."
    )
    yield "\n| made to fail | seed | seen first | within | failure within | gone back | ended | loss of D | diversity |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for each in results:
        if not each["healthy"]:
            seen = [each["first"] or "not seen", number(each["seen_within"]), number(each["failure_within"])]
            end = [figure(each["last"][key]) for key in ("loss/discriminator", "guard/diversity")]
            yield row(each["job"], each["seed"], *seen, "; ".join(each["rollbacks"]) or "no", each["ended"], *end)
    failing = [each for each in results if not each["healthy"]]
    yield f"\nSeen: {sum(each['first'] is not None for each in failing)} of {len(failing)}."
    healthy = [each for each in results if each["healthy"]]
    for seed in sorted({each["seed"] for each in healthy}):
        of_seed = [each for each in healthy if each["seed"] == seed]
        alarms, total = sum(len(each["alarms"]) for each in of_seed), sum(each["kimg"] for each in of_seed)
        tuned = ", by which the thresholds were set" if seed == 0 else ""
        yield f"\nSeed {seed}{tuned}: {len(of_seed)} healthy trainings, {total} kimg in all, {alarms} false alarms."
    yield "\n| healthy | seed | kimg | alarms | loss of D | diversity | overfitting |"
    yield "|---|---|---|---|---|---|---|"
    for each in healthy:
        yield row(
            each["job"],
            each["seed"],
            each["kimg"],
            "; ".join(each["alarms"]) or "none",
            *map(figure, each["last"].values()),
        )


def row(*cells: object) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def number(value: int | None) -> str:
    """12,345, or a dash."""
    return "\N{EN DASH}" if value is None else f"{value:,}"


def figure(value: float | None) -> str:
    """Three digits, or a dash."""
    return "\N{EN DASH}" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()

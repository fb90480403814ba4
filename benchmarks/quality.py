"""Measure the quality of generators over training time, against other presets and TensorFlow's tutorial.

    python benchmarks/quality.py --mnist M --gtsrb G --cifar10 C --flowers F.zip [--only gtsrb,cifar10] [--seeds 0 1 2]
    python benchmarks/quality.py --gtsrb G --trial gtsrb 32 dcgan-64 "5 min" --seeds 0

Trains each of ``TRIALS``, or those given, in its own folder below --work. A stopped training is continued, a finished
one is used again. Then measures FID, label fidelity and classes of 10,000 images against as many of the data set, like
`gansmith evaluate RUN --against DATA`, for the best and the last generator. FID over time is the tracked FID of 1,000
images, which is higher. The TensorFlow tutorial is trained by peers/tensorflow_tutorial.py; all its values are of
10,000 images.

Adds the results to benchmarks/results/DATE-quality.json, with tables in .md and curves in .png. A trial and seed that
is there already is skipped unless --again is given.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gansmith
from gansmith.api import Run, open_run, resume
from gansmith.devices import choose_compute, describe_environment
from gansmith.evaluation import evaluate
from gansmith.metrics.measurement import Measurement
from gansmith.schedules import Duration
from gansmith.training.presets import DEFAULT_PRESET
from quality_tables import MACHINE, plot, tables
from record import find_commit

__all__ = ["TRIALS", "Trial", "main"]

HERE = Path(__file__).parent
TENSORFLOW = HERE / "peers" / ".venv" / "bin" / "python"
DATA = ("mnist", "gtsrb", "cifar10", "flowers")
METRICS = "fid,label-fidelity,classes"
TUTORIAL = "tensorflow-tutorial"


@dataclass(frozen=True)
class Trial:
    """One training to be judged.

    Args:
        data: one of ``DATA``.
        size: pixels.
        contender: a preset, or ``TUTORIAL``.
        length: of training, as "10 min".
    """

    data: str
    size: int
    contender: str
    length: str

    def folder(self, seed: int) -> str:
        """The name of its folder."""
        return f"{self.data}-{self.size}-{self.contender}-{self.length.replace(' ', '')}-seed{seed}"

    def key(self, seed: int) -> dict[str, Any]:
        """What tells its results from others."""
        named = {"data": self.data, "size": self.size, "contender": self.contender, "length": self.length}
        return {**named, "seed": seed}


TRIALS = (
    *(Trial("mnist", 28, DEFAULT_PRESET, length) for length in ("3 s", "1 min", "10 min")),
    *(Trial("mnist", 28, TUTORIAL, length) for length in ("10 min", "50 epochs")),
    *(Trial("gtsrb", 32, contender, "10 min") for contender in (DEFAULT_PRESET, "sndcgan-64")),
    *(Trial("cifar10", 32, contender, "10 min") for contender in (DEFAULT_PRESET, "dcgan-cifar10")),
    *(Trial("flowers", 64, contender, "20 min") for contender in (DEFAULT_PRESET, "dcgan-folder-128")),
    *(Trial("flowers", 128, contender, "20 min") for contender in (DEFAULT_PRESET, "dcgan-folder-128")),
)


def main() -> None:
    """Train, evaluate and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for data in DATA:
        parser.add_argument(f"--{data}", type=Path, help="where a copy of it lies")
    parser.add_argument("--only", default="", help="data sets, separated by commas")
    parser.add_argument(
        "--trial", nargs=4, action="append", metavar=("DATA", "SIZE", "PRESET", "LENGTH"), help="instead of the table"
    )
    parser.add_argument("--length", help="of every training, instead of the table's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--num", type=int, default=10_000, help="images that are judged")
    parser.add_argument("--work", type=Path, default=Path("runs/quality"), help="where the runs go")
    parser.add_argument("--out", type=Path, help="file without suffix; default results/DATE-quality")
    parser.add_argument("--again", action="store_true", help="judge again what has results already")
    options = parser.parse_args()
    out = options.out or HERE / "results" / f"{datetime.date.today().isoformat()}-quality{suffix()}"
    for trial in chosen(options, parser):
        for seed in options.seeds:
            if options.again or not known(out, trial.key(seed)):
                write(out, measured(trial, seed, getattr(options, trial.data), options))
    if out.with_suffix(".md").exists():
        print(out.with_suffix(".md").read_text())


def chosen(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Trial]:
    """Return the requested trials, each once."""
    table = [Trial(data, int(size), *rest) for data, size, *rest in options.trial or ()] or TRIALS
    wanted = [trial for trial in table if not options.only or trial.data in options.only.split(",")]
    if not TENSORFLOW.exists() and any(trial.contender == TUTORIAL for trial in wanted):
        print("TensorFlow's tutorial is left out; peers/README.md says how to install it")
        wanted = [trial for trial in wanted if trial.contender != TUTORIAL]
    if options.length:
        wanted = [Trial(trial.data, trial.size, trial.contender, options.length) for trial in wanted]
    for trial in wanted:
        if trial.data not in DATA or getattr(options, trial.data) is None:
            parser.error(f"--{trial.data}: say where this data set lies, or leave it out with --only")
    return list(dict.fromkeys(wanted))


# --- one training ------------------------------------------------------------------------------------------


def measured(trial: Trial, seed: int, root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train if necessary, and evaluate."""
    path = options.work / trial.folder(seed)
    print(f"--- {path.name}", flush=True)
    of = of_tutorial if trial.contender == TUTORIAL else of_run
    found = of(trial, seed, root, path, options.num)
    return {**trial.key(seed), "commit": find_commit(), "num": options.num, **machine(), **found}


def of_run(trial: Trial, seed: int, root: Path, path: Path, num: int) -> dict[str, Any]:
    """Return the values of a training by gansmith."""
    run = trained(trial, seed, root, path)
    best, last = (judged(path, trial, root, num, snapshot) for snapshot in ("best", "last"))
    tracked = [each for each in run.measurements() if each.kind == "tracking" and "fid" in each.values]
    return {
        "kimg": round(run.status()["nimg"] / 1000, 1),
        "seconds": round(last.generated.seconds or 0, 1),
        "best": figures(best),
        "last": figures(last),
        "seen": last.extractor.digest,
        "curve_seen": tracked[-1].extractor.digest if tracked else "",
        "curve": [point(each.generated.seconds, each.generated.nimg, each.values["fid"].value) for each in tracked],
        "alarms": [event["sentence"] for event in run.folder.read_events()],
    }


def trained(trial: Trial, seed: int, root: Path, path: Path) -> Run:
    """Return the finished run: started, continued, or found."""
    if not (path / "config.json").exists():
        data, at = source(trial, root)
        options: dict[str, Any] = {"preset": trial.contender, "size": trial.size, "length": trial.length, "seed": seed}
        options["overrides"] = {"init": None}  # the zoo's model knows these images
        run = gansmith.train(data, root=at, run=path, **options)
    elif (run := open_run(path)).status()["state"] != "finished":
        run = resume(path)
    if run.status()["state"] != "finished":
        raise SystemExit(f"{path}: was stopped; the same command goes on")
    return run


def of_tutorial(trial: Trial, seed: int, root: Path, path: Path, num: int) -> dict[str, Any]:
    """Return the values of TensorFlow's tutorial from its files of samples."""
    moments = path / "moments.json"
    if not (moments.exists() and json.loads(moments.read_text())["finished"]):
        words = [TENSORFLOW, HERE / "peers" / "tensorflow_tutorial.py", root, "--out", path, "--seed", seed]
        words += [*limit(trial.length), "--samples", num, "--threads", torch.get_num_threads()]
        subprocess.run(list(map(str, words)), check=True)
    told = json.loads(moments.read_text())["moments"]
    measurements = [judged(path / moment["file"], trial, root, num) for moment in told]
    found = [
        {**figures(measurement), "seconds": moment["seconds"], "kimg": round(moment["images"] / 1000, 1)}
        for measurement, moment in zip(measurements, told, strict=True)
    ]
    return {
        "kimg": found[-1]["kimg"],
        "seconds": found[-1]["seconds"],
        "best": min(found, key=lambda each: each["fid"]),
        "last": found[-1],
        "seen": measurements[-1].extractor.digest,
        "curve_seen": measurements[-1].extractor.digest,
        "curve": [[each["seconds"], each["kimg"], each["fid"]] for each in found],
    }


def limit(length: str) -> list[Any]:
    """Return the tutorial's options for the length of its training."""
    duration, seconds = Duration.from_text(length), {"s": 1, "min": 60, "h": 3600}
    if duration.unit in seconds:
        return ["--seconds", duration.amount * seconds[duration.unit]]
    return ["--epochs", int(duration.amount)]


def judged(what: Path, trial: Trial, root: Path, num: int, snapshot: str = "best") -> Measurement:
    """A run or a file of samples against the data set."""
    data, at = source(trial, root)
    return evaluate(what, data, root=at, metrics=METRICS, num=num, overrides={"snapshot": snapshot})


def source(trial: Trial, root: Path) -> tuple[str | Path, Path | None]:
    """Return the name of the data for gansmith, and their path."""
    return (root, None) if trial.data == "flowers" else (trial.data, root)


def figures(measurement: Measurement) -> dict[str, Any]:
    """What is kept of a measurement."""
    kept = {name: float(f"{estimate.value:.4g}") for name, estimate in measurement.values.items()}
    if "classes_covered" in measurement.values:
        kept["classes"] = measurement.values["classes_covered"].note
    generated = measurement.generated
    if generated.nimg is not None:
        kept |= {"seconds": round(generated.seconds or 0, 1), "kimg": round(generated.nimg / 1000, 1)}
    return kept


def point(seconds: float | None, nimg: int | None, value: float) -> list[float]:
    """Return a point of a curve: seconds, thousands of images, FID."""
    return [round(seconds or 0, 2), round((nimg or 0) / 1000, 2), float(f"{value:.4g}")]


# --- results -----------------------------------------------------------------------------------------------


def known(out: Path, key: Mapping[str, Any]) -> bool:
    """Return whether there are results of this trial and seed."""
    return any(each.items() >= key.items() for each in read(out))


def read(out: Path) -> list[dict[str, Any]]:
    """Return all results so far."""
    path = out.with_suffix(".json")
    found: list[dict[str, Any]] = json.loads(path.read_text())["results"] if path.exists() else []
    return found


def write(out: Path, result: dict[str, Any]) -> None:
    """Add a result and write all tables and curves."""
    key = {name: result[name] for name in ("data", "size", "contender", "length", "seed")}
    results = [each for each in read(out) if not each.items() >= key.items()] + [result]
    results.sort(
        key=lambda each: (DATA.index(each["data"]), each["size"], each["contender"], each["length"], each["seed"])
    )
    about = {"date": datetime.date.today().isoformat(), "results": results}
    out.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    out.with_suffix(".md").write_text(tables(results, DEFAULT_PRESET) + "\n")
    plot(results, out.with_suffix(".png"))


def machine() -> dict[str, Any]:
    """Describe this machine."""
    environment = describe_environment(choose_compute("auto", "auto"))
    return {name: environment[name] for name in MACHINE}


def suffix() -> str:
    """Return the suffix of result files: results on a GPU have their own."""
    device = machine()["device_name"]
    return "" if device == "CPU" else f"-{device.replace(' ', '-').lower()}"


if __name__ == "__main__":
    main()

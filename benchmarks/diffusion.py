"""`auto` beside trainings of diffusion models and flow matching, at equal time on a CPU.

    python benchmarks/diffusion.py --data-root path/to/data --environments path/to/environments
        [--only cifar10,flowers,dogs] [--tools gansmith,diffusers] [--minutes 10] [--stages speed,train,evaluate]

peers/README.md says how to make the tools' environments. Three stages, each of which can be run alone:

- speed measures a training step and sampling; run it while nothing else runs.
- train trains for as many steps as fit into --minutes at that speed, and draws samples. It may run beside other
  programs, which then change how long it takes but not what it does.
- evaluate compares the samples with all images of the data set (at most 10,000).

Writes DATE-diffusion-speed.json and .md, and DATE-diffusion.json, .md and .png to benchmarks/results/; results of the
same day for other trainings stay.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gansmith
from diffusion_tables import draw_pictures, speeds, table
from gansmith.api import open_run, resume
from gansmith.data import resolve
from gansmith.data.store import Preparation, prepare
from record import RESULTS, Result, merge_result, write_results

__all__ = ["DATA", "TOOLS", "Data", "main"]

HERE = Path(__file__).parent
OURS = "gansmith"
TOOLS = {  # and the file in peers/ that trains with it
    OURS: "",
    "diffusers": "diffusers_ddpm.py",
    "denoising-diffusion-pytorch": "denoising_diffusion.py",
    "torchcfm": "flow_matching.py",
}
STAGES = ("speed", "train", "evaluate")
METRICS, REAL_IMAGES = "fid,kid,precision-recall", 10_000
FIRST_SEED = 1_000_000  # of our samples: as `gansmith evaluate`
TIMED_SAMPLES = 1000
PROBE_SECONDS = 20.0


@dataclass(frozen=True)
class Data:
    """A data set at one size.

    Args:
        what: its name or its path below the folder of all data.
        size: pixels of a side.
        learnt: the feature extractor that is trained on these images: a classifier if they have labels.
    """

    what: str
    size: int
    learnt: str = "classifier"

    def names(self, root: Path) -> tuple[str, Path | None]:
        """Return the data and their folder as ``gansmith.train`` takes them."""
        return (str(root / self.what), None) if "/" in self.what else (self.what, root / self.what)


DATA = {
    "cifar10": Data("cifar10", 32),
    "flowers": Data("folder/flowers_128.zip", 64),
    "dogs": Data("folder/dogs_256.zip", 64, "self-supervised"),
}


def main(words: list[str] | None = None) -> None:
    """Run the requested stages of the requested trainings."""
    options = parse(words)
    torch.set_num_threads(options.threads)
    for name in options.only:
        for tool in options.tools:
            folder = place_of(name, tool, options)
            folder.mkdir(parents=True, exist_ok=True)
            print(f"--- {folder.name}", flush=True)
            stages = {"speed": measure_speed, "train": train, "evaluate": evaluate}
            for stage in options.stages:
                stages[stage](name, tool, folder, options)


def parse(words: list[str] | None) -> argparse.Namespace:
    """Return the options; names that are lists in the command line become tuples of known names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with cifar10/ and folder/")
    parser.add_argument("--environments", type=Path, help="a folder with an environment for each other tool")
    parser.add_argument("--only", default=",".join(DATA), help="data sets, separated by commas")
    parser.add_argument("--tools", default=",".join(TOOLS), help="separated by commas")
    parser.add_argument("--stages", default=",".join(STAGES), help="separated by commas")
    parser.add_argument("--minutes", type=float, default=10, help="of training on a machine that does nothing else")
    parser.add_argument("--samples", type=int, default=128, help="that each tool draws")
    parser.add_argument("--extractors", default="efficientnet-lite1,learnt", help="names, or learnt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/diffusion"), help="folder for runs and samples")
    options = parser.parse_args(words)
    for name, known in (("only", DATA), ("tools", TOOLS), ("stages", STAGES)):
        chosen = tuple(getattr(options, name).split(","))
        if unknown := sorted(set(chosen) - set(known)):
            parser.error(f"--{name}: {unknown[0]!r} is not one of {', '.join(known)}")
        setattr(options, name, chosen)
    options.extractors = tuple(options.extractors.split(","))
    for tool in set(options.tools) - {OURS} if set(options.stages) & {"speed", "train"} else ():
        if options.environments is None or not python_of(tool, options).exists():
            parser.error(f"--environments: holds no environment {tool}; peers/README.md says how to make it")
    return options


def place_of(name: str, tool: str, options: argparse.Namespace) -> Path:
    """Return the folder of one training."""
    return Path(options.work) / f"{name}-{tool}-{options.minutes:g}min-seed{options.seed}"


# --- speed -------------------------------------------------------------------------------------------------


def measure_speed(name: str, tool: str, folder: Path, options: argparse.Namespace) -> None:
    """Write speed.json, and the table of all speeds."""
    found = our_speed(name, folder, options) if tool == OURS else peer(name, tool, options, "--speed")
    (folder / "speed.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    minutes = options.minutes if tool == OURS else None  # for which `auto` chose a network
    result: Result = {"data": name, "size": DATA[name].size, "minutes": minutes, "tool": tool, "seed": 0, **found}
    results = merge_result("diffusion-speed", result, lambda each: order({**each, "minutes": 0}))
    write_results("diffusion-speed", "Speed without other load", results, speeds, {"threads": options.threads})


def our_speed(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Begin the training with ``auto``, interrupt it after some seconds as Ctrl-C does, and draw samples."""
    run, size = folder / "run", DATA[name].size
    shutil.rmtree(run, ignore_errors=True)
    data, root = DATA[name].names(options.data_root)
    words = [data, *(("--root", root) if root else ()), "--size", size, "--length", f"{options.minutes:g} min"]
    words += ["--seed", options.seed, "--run", run, "--init", "none"]  # the zoo's model knows these images
    process = subprocess.Popen([sys.executable, "-m", "gansmith", "train", *map(str, words)])
    while process.poll() is None and not (run / "images").exists():
        time.sleep(0.2)
    time.sleep(PROBE_SECONDS)
    process.send_signal(signal.SIGTERM)  # which a process in the background does not ignore
    process.wait()
    state = json.loads((open_run(run).folder.latest_checkpoint() / "state.json").read_text(encoding="utf-8"))
    network = (generator := open_run(run).generator(snapshot="last")).network
    began = time.perf_counter()
    for _ in generator.batches(range(TIMED_SAMPLES)):
        pass
    passed = time.perf_counter() - began
    return {
        "about": f"gansmith {gansmith.__version__}, auto",
        "parameters": sum(each.numel() for each in network.parameters()),
        "images_per_second": round(state["nimg"] / state["seconds"], 1),
        "evaluation_seconds": round(passed / TIMED_SAMPLES, 8),
        "samplers": {"one pass": 1},
        "drawn_by": "one pass",
    }


# --- training ----------------------------------------------------------------------------------------------


def train(name: str, tool: str, folder: Path, options: argparse.Namespace) -> None:
    """Train for the time at the speed that was measured; write samples.npz and facts.json."""
    path = folder / "speed.json"
    if not path.exists():
        raise SystemExit(f"{folder.name}: has no speed.json; run --stages speed first")
    speed, seconds = json.loads(path.read_text(encoding="utf-8")), 60 * options.minutes
    if tool == OURS:
        train_ours(folder, seconds * speed["images_per_second"] / 1000, options)
        return
    steps = max(1, round(seconds * speed["images_per_second"] / speed["batch"]))
    peer(name, tool, options, "--out", folder, "--steps", steps, "--samples", options.samples)


def train_ours(folder: Path, kimg: float, options: argparse.Namespace) -> None:
    """Continue the training that ``our_speed`` began, and draw from its best generator."""
    run = open_run(folder / "run")
    if run.status()["state"] != "finished":
        run = resume(run.path, kimg=round(kimg, 1))
    generator = run.generator()
    made = generator.sample(options.samples, seed=FIRST_SEED)
    np.savez_compressed(folder / "samples.npz", images=made.images)
    facts: dict[str, Any] = {"about": f"gansmith {gansmith.__version__}, auto", "torch": torch.__version__}
    state = json.loads((run.folder.latest_checkpoint() / "state.json").read_text(encoding="utf-8"))
    facts |= {"images_seen": state["nimg"], "steps": state["step"], "training_seconds": round(state["seconds"], 1)}
    facts |= {"drawn_by": "one pass", "samples": options.samples, "seed": options.seed}
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def peer(name: str, tool: str, options: argparse.Namespace, *words: object) -> dict[str, Any]:
    """Run the script of another tool in its environment; return the last line of its output, if that is JSON."""
    images = store_images(name, options)
    command = [python_of(tool, options), HERE / "peers" / TOOLS[tool], images, "--threads", options.threads]
    command += ["--seed", options.seed, *words]
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    environment = {**os.environ, **quiet, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True, check=True)
    last = done.stdout.strip().splitlines()[-1]
    return dict(json.loads(last)) if last.startswith("{") else {}


def python_of(tool: str, options: argparse.Namespace) -> Path:
    """Return the interpreter of a tool's environment."""
    return Path(options.environments) / tool / "bin" / "python"


def store_images(name: str, options: argparse.Namespace) -> Path:
    """Write the data set as the trainings of others take it, uint8 [n h w 3], and return the file."""
    path, size = options.work / f"{name}.npz", DATA[name].size
    if not path.exists():
        data, root = DATA[name].names(options.data_root)
        store = prepare(resolve(data, root), Preparation(size=(size, size)))
        np.savez(path, images=store.images)
    return Path(path)


# --- evaluation --------------------------------------------------------------------------------------------


def evaluate(name: str, tool: str, folder: Path, options: argparse.Namespace) -> None:
    """Measure the samples, and write all results and the pictures."""
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    place = {"data": name, "size": DATA[name].size, "minutes": options.minutes, "tool": tool, "seed": options.seed}
    found = {extractor: values(name, folder, extractor, options) for extractor in options.extractors}
    result: Result = {**place, **facts, "values": found}
    results = merge_result("diffusion", result, order)
    write_results("diffusion", "Equal time on a CPU", results, table, {"threads": options.threads})
    shown = [each for each in results if (each["minutes"], each["seed"]) == (options.minutes, options.seed)]
    draw_pictures(
        {(each["data"], each["tool"]): place_of(each["data"], each["tool"], options) / "samples.npz" for each in shown},
        RESULTS / f"{datetime.date.today().isoformat()}-diffusion.png",
    )


def order(result: Result) -> tuple[int, float, int, int]:
    """Return the key by which results are identified and sorted."""
    return list(DATA).index(result["data"]), result["minutes"], list(TOOLS).index(result["tool"]), result["seed"]


def values(name: str, folder: Path, extractor: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the metrics of the samples that can be measured with so many images, and their intervals."""
    data, root = DATA[name].names(options.data_root)
    chosen = DATA[name].learnt if extractor == "learnt" else extractor
    shape = {"preparation.size": f"{DATA[name].size}x{DATA[name].size}", "preparation.channels": "rgb"}
    found = gansmith.evaluate(
        folder / "samples.npz", data, root=root, metrics=METRICS, extractor=chosen, num=REAL_IMAGES, overrides=shape
    )
    kept = {each: [estimate.value, estimate.low, estimate.high] for each, estimate in found.values.items()}
    return {"extractor": found.extractor.note or found.extractor.name, "digest": found.extractor.digest, **kept}


if __name__ == "__main__":
    main()

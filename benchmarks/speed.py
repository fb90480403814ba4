"""Measure the speed of training steps and sampling, against other implementations and the machine's own limit.

    python benchmarks/speed.py [--only dcgan-64,dcgan-mnist] [--rounds 5] [--seconds 20] [--without all]

Each contender is a process, and they take turns: a round measures each contender of a part once, in alternating order.
Each ratio is between measurements of the same round. The parts:

    dcgan-64     the DCGAN at 64 pixels and batch 128, against a plain PyTorch loop
    dcgan-mnist  the TensorFlow tutorial's network at batch 256, against TensorFlow
    dcgan-r1, resnet, r3   32 pixels, ten classes, batch 64, a relativistic loss with R1 and R2 every 4 steps
    resnet-published, r3-published   the same with the widths of SNGAN's network for CIFAR-10 and R3GAN's for faces
    sampling     10,000 images at 32 pixels

"Limit" is the speed of the fastest of some usual convolutions. "Own" is the speed of all convolutions in a step of this
part, each by itself in PyTorch, forward and backward, in the training's precision. "Of it" counts only operations that
a step needs (flops.py). It can exceed 1, because some convolutions are computed in other ways (convolutions.py).
"By CPU time" compares images per second of CPU time: if it differs much from the other ratio, the machine did other
work. --without measures each part again with one optimisation switched off. Writes
benchmarks/results/DATE-speed.json and .md; results of other parts in these files stay.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from contenders import TRAININGS, WITHOUT
from flops import flops_per_image
from gansmith.devices import choose_compute, describe_environment
from gansmith.models import MODELS
from record import find_commit

__all__ = ["Contender", "compete", "contenders_of", "main", "row", "table"]

HERE = Path(__file__).parent
PARTS = (*TRAININGS, "sampling")
OURS, LIMIT = "gansmith", "limit"
TENSORFLOW = HERE / "peers" / ".venv" / "bin" / "python"


@dataclass
class Contender:
    """A process that works when told to: see peers/rounds.py.

    Args:
        name: of what it does.
        command: that starts it.
        about: what it says of itself when it is ready.
    """

    name: str
    command: Sequence[str]
    about: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Started and warmed up, until the end of the block."""
        with subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as self.process:
            try:
                self.about = self._answer()
                yield
            finally:
                self.process.communicate()

    def measure(self, seconds: float) -> dict[str, Any]:
        """Run one round."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"{self.name}: ended before it had measured; run it yourself: {' '.join(self.command)}")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--without", default="", help=f"{', '.join(WITHOUT)}, or all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="of each contender in each round")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each contender")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--against", type=Path, help="a checkout of another version, to compare with it")
    parser.add_argument("--out", type=Path, help="file without suffix; default results/DATE-speed")
    options = parser.parse_args()
    out = options.out or HERE / "results" / f"{datetime.date.today().isoformat()}-speed"
    torch.set_num_threads(options.threads)
    for part in options.only.split(","):
        contenders = contenders_of(part, options.without.split(","), options.device, options.threads, options.against)
        if contenders:
            answers = compete(contenders, options.rounds, options.seconds)
            rows = [row(part, contender, answers) for contender in contenders if contender.name != LIMIT]
            write(out, options.device, rows)
            print(table(rows), flush=True)


# --- who takes part ----------------------------------------------------------------------------------------


def contenders_of(
    part: str, without: Sequence[str], device: str, threads: int, against: Path | None = None
) -> list[Contender]:
    """Return the contenders of a part, including the limit; none if its network is missing."""
    where = ("--device", device, "--threads", str(threads))
    own = (sys.executable, str(HERE / "contenders.py"))
    if part == "sampling":
        return [Contender(OURS, (*own, "sampling", *where))]
    model = TRAININGS[part].overrides.get("model", "dcgan")
    if model not in MODELS:
        print(f"{part}: left out, for there is no model of that name yet")
        return []
    training = (*own, "training", part, *where)
    off = [name for name in WITHOUT if (name in without or "all" in without) and matters(name, part)]
    return [
        Contender(LIMIT, (*own, "convolutions", part, *where)),
        Contender(OURS, training),
        *(Contender(f"{OURS} without {name}", (*training, "--without", name)) for name in off),
        *([another_version(against, part, where)] if against else []),
        *peers(part, device, threads),
    ]


def another_version(checkout: Path, part: str, where: Sequence[str]) -> Contender:
    """Return the same training by another version of gansmith, with this one's Python and libraries."""
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    script = str(checkout.resolve() / "benchmarks" / "contenders.py")
    command = ("env", f"PYTHONPATH={checkout.resolve() / 'src'}", sys.executable, script, "training", part, *where)
    return Contender(f"{OURS} at {commit}", command)


def matters(speedup: str, part: str) -> bool:
    """Return whether an optimisation applies to a part."""
    config = TRAININGS[part].config
    if speedup == "fast-dropout":
        return bool(getattr(config.model, "dropout", 0))
    return speedup != "lazy-penalties" or any(penalty.every > 1 for penalty in config.penalties)


def peers(part: str, device: str, threads: int) -> list[Contender]:
    """What others run."""
    threaded = ("--serve", "--threads", str(threads))
    compute = choose_compute(device, "auto")
    if part == "dcgan-64":
        where = ("--device", compute.device.type)
        return [Contender("plain PyTorch", (sys.executable, str(HERE / "peers" / "plain_torch.py"), *threaded, *where))]
    if part == "dcgan-mnist" and compute.device.type == "cpu":
        if TENSORFLOW.exists():
            return [
                Contender("TensorFlow", (str(TENSORFLOW), str(HERE / "peers" / "tensorflow_tutorial.py"), *threaded))
            ]
        print(f"{part}: measured without TensorFlow; peers/README.md says how to install it")
    return []


# --- measuring ---------------------------------------------------------------------------------------------


def compete(contenders: Sequence[Contender], rounds: int, seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Return the measurements of each contender in each round, by its name."""
    answers: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    with ExitStack() as stack:
        for contender in contenders:
            stack.enter_context(contender.ready())
        for number in range(rounds):
            for contender in contenders if number % 2 == 0 else reversed(contenders):
                answers[contender.name].append(contender.measure(seconds))
    return answers


def row(part: str, contender: Contender, answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the values of one contender; speeds and ratios as [median, lowest, highest]."""
    found = answers[contender.name]
    figures: dict[str, Any] = {"part": part, "contender": contender.name, "commit": find_commit(), **contender.about}
    figures.pop("ready", None)
    figures["rounds"] = len(found)
    for clock in ("images_per_second", "images_per_cpu_second"):
        speeds, ours = ([answer[clock] for answer in each] for each in (found, answers[OURS]))
        figures[clock] = spread(speeds)
        if contender.name != OURS:
            ratios = [our / speed for our, speed in zip(ours, speeds, strict=True)]
            figures[f"gansmith_over_this_{clock}"] = spread(ratios)
    if LIMIT in answers:
        figures["gflop_per_image"] = round(needed(part, contender) / 1e9, 4)
        figures["gflops"] = round(figures["gflop_per_image"] * figures["images_per_second"][0], 1)
        figures["usual_gflops"] = {name: round(rate / 1e9, 1) for name, rate in limits(answers[LIMIT]).items()}
        figures["limit_gflops"] = max(figures["usual_gflops"].values())
        figures["share_of_limit"] = round(figures["gflops"] / figures["limit_gflops"], 3)
        figures["own_gflops"] = round(max(answer["own"] for answer in answers[LIMIT]) / 1e9, 1)
        figures["share_of_own"] = round(figures["gflops"] / figures["own_gflops"], 3)
    memory = [name for name in found[-1] if name.startswith("peak_")]
    return figures | {name: found[-1][name] for name in memory}


def needed(part: str, contender: Contender) -> float:
    """Return the operations per image of a contender's training."""
    training = TRAININGS[part]
    return flops_per_image(training.config, training.spec, simultaneous=contender.name == "TensorFlow")


def limits(answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the best speed of each convolution in all rounds."""
    rates = [answer["usual"] for answer in answers]
    return {name: max(rate[name] for rate in rates) for name in rates[0]}


def spread(values: Sequence[float]) -> list[float]:
    """Return median, lowest and highest."""
    return [float(f"{value:.4g}") for value in (statistics.median(values), min(values), max(values))]


# --- writing -----------------------------------------------------------------------------------------------


def write(out: Path, device: str, rows: Sequence[dict[str, Any]]) -> None:
    """Replace the rows of this device and number of threads in the results."""
    environment = describe_environment(choose_compute(device, "auto"))
    kept = ("processor", "cores", "threads", "torch", "device_name", "precision")
    about = {name: environment[name] for name in kept}
    if about["device_name"] != "CPU":
        out = out.with_name(f"{out.name}-{about['device_name'].replace(' ', '-').lower()}")
    path = out.with_suffix(".json")
    known = json.loads(path.read_text())["results"] if path.exists() else []
    new = {(each["part"], each["contender"]) for each in rows}
    results = [each for each in known if (each["part"], each["contender"]) not in new] + list(rows)
    results.sort(key=lambda each: PARTS.index(each["part"]))  # stable: ours come before others
    about = {"date": datetime.date.today().isoformat(), **about}
    path.write_text(json.dumps({**about, "seed": 0, "results": results}, indent=1) + "\n")
    head = f"Speed, {', '.join(f'{name} {value}' for name, value in about.items())}. Medians (lowest to highest)."
    path.with_suffix(".md").write_text(f"{head}\n\n{table(results)}\n")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with one line per contender."""
    columns = ["part", "contender", "images/s", "gansmith over this", "by CPU time", "GFLOP an image", "GFLOP/s"]
    columns += ["limit", "of it", "own", "of it", "peak memory MiB", "commit"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for each in rows:
        gpu = f" (GPU {each['peak_gpu_memory_mib']:,})" if "peak_gpu_memory_mib" in each else ""
        cells = [each["part"], each["contender"], ranged(each["images_per_second"], "{:,.4g}")]
        for clock in ("images_per_second", "images_per_cpu_second"):
            ratios = each.get(f"gansmith_over_this_{clock}")
            cells.append(ranged(ratios, "{:.2f}") if ratios else "")
        cells += [format(each[name], ",.4g") if name in each else "" for name in ("gflop_per_image", "gflops")]
        for limit in ("limit", "own"):
            cells.append(format(each[f"{limit}_gflops"], ",.4g") if f"{limit}_gflops" in each else "")
            cells.append(format(each[f"share_of_{limit}"], ".0%") if f"share_of_{limit}" in each else "")
        lines.append("| " + " | ".join([*cells, f"{each['peak_memory_mib']:,}{gpu}", each["commit"]]) + " |")
    return "\n".join(lines)


def ranged(figures: Sequence[float], form: str) -> str:
    """A median with its range."""
    median, lowest, highest = (form.format(figure) for figure in figures)
    return f"{median} ({lowest} to {highest})"


if __name__ == "__main__":
    main()

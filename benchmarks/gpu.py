"""Run everything that needs a GPU, within ten minutes: tests, speed, data, sampling, and ``auto`` on two data sets.

    python benchmarks/gpu.py --cifar10 FOLDER --gtsrb FOLDER [--limit 600] [--only tests,speed]
    python benchmarks/gpu.py --device cpu --limit 60       # a rehearsal with tiny networks

    tests     the tests marked gpu
    speed     the same steps in float32 (eager, NCHW), channels-last, bfloat16, with kernels by cuDNN's benchmark
              and as CUDA graphs, in turn
    data      steps from data on the disk and on the device
    sampling  images at 32 pixels
    auto      `gansmith train` with its defaults for three minutes on each data set that is given
    compile   the steps of one network with torch.compile, in turn with bfloat16, if there is time left

Each part is a process of its own. A part that cannot fit into what is left of the limit is left out, one that takes too
long is stopped, and both are written down. The results are on the disk before the next part begins: in
benchmarks/results/DATE-gpu.json and .md, or DATE-gpu-rehearsal if the device is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import record
from gansmith import api
from gansmith.devices import Compute, choose_compute
from gansmith.errors import GansmithError
from record import Result, merge_result, write_results

__all__ = ["Part", "main", "run_parts"]

HERE = Path(__file__).parent
PARTS = ("tests", "speed", "data", "sampling", "auto", "compile")
COLUMNS = ("part", "name", "outcome", "seconds", "values")
GRACE = 10  # seconds that a stopped part has to end, and that are kept back at the end
LEARNING = 30  # seconds that `gansmith train` takes beside its length


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process that measures something.

    Args:
        name: of the part, and what it measures.
        least: seconds below which it is not begun.
        most: seconds after which it is stopped.
        command: the process.
        read: the values in each line that it prints, or found when it has ended: (name, values).
        missing: why it is left out; "" if it is not.
    """

    name: tuple[str, str]
    least: float
    most: float
    command: Sequence[str] = ()
    read: Callable[[str], Iterator[tuple[str, Mapping[str, Any]]]] = lambda printed: iter(())
    missing: str = ""


def main() -> None:
    """Run the parts and write their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu for a rehearsal")
    parser.add_argument("--limit", type=float, default=600, help="seconds in all")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--seconds", type=float, help="of each contender and round; default 0.5, in a rehearsal 0.1")
    parser.add_argument("--auto-length", help="of each training; default '180 s', in a rehearsal '3 s'")
    parser.add_argument("--cifar10", type=Path, help="folder with a copy of CIFAR-10, or any other data")
    parser.add_argument("--gtsrb", type=Path, help="folder with a copy of GTSRB, or any other data")
    parser.add_argument("--out", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args()
    began = time.monotonic()
    try:
        compute = choose_compute(options.device, "auto")
    except GansmithError as error:
        raise SystemExit(f"{error}; `--device cpu --limit 60` is a rehearsal without a GPU") from error
    record.RESULTS = options.out
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        unknown = set(options.only.split(",")) - set(PARTS)
        if unknown:
            parser.error(f"--only: no part is called {', '.join(sorted(unknown))}; expected {', '.join(PARTS)}")
        parts = [part for part in plan(options, compute, Path(work)) if part.name[0] in options.only.split(",")]
        run_parts(parts, began + options.limit, writer(compute, options.limit))


# --- what is run -------------------------------------------------------------------------------------------


def plan(options: argparse.Namespace, compute: Compute, work: Path) -> list[Part]:
    """Return the parts in their order, those that need CUDA left out where there is none."""
    real = compute.device.type == "cuda"
    seconds = options.seconds or (0.5 if real else 0.1)
    measured = [sys.executable, str(HERE / "gpu_parts.py"), "--device", str(compute.device), "--seconds", str(seconds)]
    absent = "" if real else "needs CUDA"

    def part(kind: str, name: str, least: float, most: float, missing: str = "") -> Part:
        command = [*measured, kind, name] if kind == "speed" or kind == "compile" else [*measured, kind]
        return Part(name=(kind, name), least=least, most=most, command=command, read=lines_of(name), missing=missing)

    report = work / "tests.xml"
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={report}", "-p", "no:cacheprovider"]
    networks = ("dcgan-r1", "dcgan-64", "r3gan-widths", "stylegan2-widths")
    return [
        Part(
            name=("tests", "pytest -m gpu"),
            least=30,
            most=120,
            command=tests,
            read=lambda _: read_tests(report),
            missing=absent,
        ),
        *(part("speed", name, 20 * seconds, 30 + 30 * seconds) for name in networks),
        part("data", "disk and device", 8 * seconds, 20 + 20 * seconds),
        part("sampling", "32 px", 4 * seconds, 20 + 10 * seconds),
        *(auto_part(name, getattr(options, name), options, compute, work) for name in ("cifar10", "gtsrb")),
        part("compile", "dcgan-r1", 40, 120, absent),
    ]


def auto_part(name: str, data: Path | None, options: argparse.Namespace, compute: Compute, work: Path) -> Part:
    """Return a training with the defaults, of a folder with a copy of a data set, or of any other data."""
    length = options.auto_length or ("180 s" if compute.device.type == "cuda" else "3 s")
    seconds = float(length.removesuffix(" s")) if length.endswith(" s") else 180
    where = [name, "--root", str(data)] if data and data.is_dir() else [str(data)]
    run = work / name
    words = [sys.executable, "-m", "gansmith", "train", *where, "--run", str(run), "--length", length]
    words += ["--tracking", "none"] if compute.device.type == "cpu" else []  # a feature extractor takes minutes there
    return Part(
        name=("auto", name),
        least=seconds + LEARNING / 2,
        most=seconds + 2 * LEARNING,
        command=[*words, "--device", str(compute.device)],
        read=lambda _: read_run(run),
        missing="" if data else f"no --{name}",
    )


# --- what they have found ----------------------------------------------------------------------------------


def lines_of(name: str) -> Callable[[str], Iterator[tuple[str, Mapping[str, Any]]]]:
    """Return a reader of the JSON lines of gpu_parts.py."""

    def read(printed: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for line in printed.splitlines():
            if line.startswith("{"):
                values = json.loads(line)
                yield f"{name}: {values.pop('contender')}", values

    return read


def read_tests(report: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the counts of a JUnit report, and the names of the tests that failed."""
    if report.exists():
        suite = next(iter(ET.parse(report).getroot()))
        counts = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        failed = [
            each.get("name") for each in suite if each.find("failure") is not None or each.find("error") is not None
        ]
        yield "pytest -m gpu", {**counts, **({"failed": failed} if failed else {})}


def read_run(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield how far a training came, how fast, and the best value that it tracked."""
    with suppress(GansmithError, FileNotFoundError, IndexError):
        run = api.open_run(path)
        stats, environment = run.stats(), json.loads(run.folder.environment.read_text(encoding="utf-8"))
        last = stats[-1]
        values = {"kimg": round(last["progress/nimg"] / 1000, 1), "seconds_of_training": last["progress/seconds"]}
        values["images_per_second"] = round(last["progress/nimg"] / max(last["progress/seconds"], 1e-9), 1)
        tracked = [each for each in run.measurements() if each.values]
        named = [(estimate.value, key) for each in tracked for key, estimate in each.values.items()]
        best = {f"best_{min(named)[1]}": min(named)[0]} if named else {}
        events = run.folder.events.read_text(encoding="utf-8") if run.folder.events.exists() else ""
        chosen = {"batch": run.config.batch_size, "width": getattr(run.config.model, "width", None)}
        facts = {"precision": environment["precision"], "events": len(events.splitlines())}
        yield path.name, {"state": run.status()["state"], **values, **best, **chosen, **facts}


# --- running and writing -----------------------------------------------------------------------------------


def run_parts(parts: Sequence[Part], deadline: float, write: Callable[[Result], None]) -> None:
    """Run each part that fits before the deadline, and write what it found.

    Args:
        parts: in their order.
        deadline: by ``time.monotonic``.
        write: writes one result to the disk.
    """
    for part in parts:
        kind, name = part.name
        left = deadline - time.monotonic() - GRACE
        why = part.missing or (f"needs {part.least:.0f} s, {max(0, left):.0f} s were left" if left < part.least else "")
        if why:
            write({"part": kind, "name": name, "outcome": f"left out: {why}", "seconds": 0, "values": {}})
            continue
        began = time.monotonic()
        printed, outcome = finish(part.command, min(left, part.most))
        seconds = round(time.monotonic() - began, 1)
        found = list(part.read(printed))
        for each, values in found:
            numbers = {key: value for key, value in values.items() if key != "outcome"}
            ended = values.get("outcome", outcome)
            write({"part": kind, "name": each, "outcome": ended, "seconds": seconds, "values": numbers})
        measured = any("outcome" not in values for _, values in found)
        if not found or (outcome != "done" and not measured):
            write({"part": kind, "name": name, "outcome": outcome, "seconds": seconds, "values": {}})


def finish(command: Sequence[str], seconds: float) -> tuple[str, str]:
    """Run a process, and stop it after some seconds; return what it printed and how it ended.

    It is asked to end, upon which a training saves itself, and killed if that takes longer than ``GRACE``.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, cwd=HERE.parent)
        stopped = False
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            stopped = True
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        output.seek(0)
        printed = output.read()
    if stopped:
        return printed, f"stopped after {seconds:.0f} s"
    last = next((line for line in reversed(printed.splitlines()) if line.strip()), "")
    return printed, "done" if code == 0 else f"failed with code {code}: {last[:300]}"


def writer(compute: Compute, limit: float) -> Callable[[Result], None]:
    """Return a function that adds one result to today's files."""
    name = "gpu" if compute.device.type == "cuda" else "gpu-rehearsal"
    title = "GPU" if compute.device.type == "cuda" else "Rehearsal of benchmarks/gpu.py without a GPU: tiny networks"
    facts = {"device": compute.name, "precision": compute.precision, "limit": f"{limit:.0f} s", "seed": 0}
    facts["torch"] = torch.__version__

    def place(result: Result) -> tuple[int, str]:
        return PARTS.index(result["part"]), result["name"]

    def write(result: Result) -> None:
        write_results(name, title, merge_result(name, result, place), page, facts)

    return write


def page(results: Sequence[Result]) -> str:
    """Return a Markdown table with a line for each result."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for result in results:
        values = ", ".join(f"{key} {show(value)}" for key, value in result["values"].items())
        lines.append(f"| {' | '.join(str(result[key]) for key in COLUMNS[:-1])} | {values} |")
    return "\n".join(lines)


def show(value: Any) -> str:
    """Return a value as text: a list of three numbers as a median with its range."""
    if isinstance(value, list) and len(value) == 3 and all(isinstance(each, float) for each in value):
        return f"{value[0]:,.4g} ({value[1]:,.4g} to {value[2]:,.4g})"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()

"""Train each preset of a published GAN on its real data, with one interruption; measure time and memory.

    python benchmarks/whole_runs.py --data-root path/to/data [--scale 1.0] [--only mnist,flowers]

Each run is a process of `gansmith train`, stopped by Ctrl-C after half of its time and resumed for the rest. Speed and
peak memory are those of the whole process, with data, pictures and checkpoints. Writes a JSON file and a Markdown table
to benchmarks/results/, and the last sheet of each run to docs/pictures/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from record import find_commit

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Job:
    """One training: the arguments of ``gansmith train``, and its minutes."""

    name: str
    data: str
    root: str | None
    preset: str
    minutes: float
    more: tuple[str, ...] = ()


JOBS = [
    Job("mnist", "mnist", "mnist", "dcgan-mnist", 10),
    Job("gtsrb-32-dcgan", "gtsrb", "gtsrb", "dcgan-64", 4, ("--size", "32")),
    Job("gtsrb-32-sndcgan", "gtsrb", "gtsrb", "sndcgan-64", 4, ("--size", "32")),
    Job("gtsrb-64-dcgan", "gtsrb", "gtsrb", "dcgan-64", 6),
    Job("gtsrb-64-sndcgan", "gtsrb", "gtsrb", "sndcgan-64", 6),
    Job("cifar10", "cifar10", "cifar10", "dcgan-cifar10", 5),
    Job("flowers-128", "folder/flowers_128.zip", None, "dcgan-folder-128", 8, ("--samples.every", "10 epochs")),
]


def main() -> None:
    """Run the jobs one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder with mnist/, gtsrb/, cifar10/, folder/")
    parser.add_argument("--runs", type=Path, default=Path("runs/whole"), help="where the runs go; emptied first")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on every job's minutes")
    parser.add_argument("--only", default="", help="names of jobs, separated by commas")
    options = parser.parse_args()
    chosen = [job for job in JOBS if not options.only or job.name in options.only.split(",")]
    results = [run(job, options.data_root, options.runs / job.name, options.scale) for job in chosen]
    write(results)


def run(job: Job, data_root: Path, path: Path, scale: float) -> dict[str, object]:
    """Train, interrupt half-way and resume; return the values of both sessions together."""
    shutil.rmtree(path, ignore_errors=True)
    data = job.data if job.root else str(data_root / job.data)
    root = ("--root", str(data_root / job.root)) if job.root else ()
    seconds = 60 * job.minutes * scale
    words = ["train", data, *root, "--preset", job.preset, "--run", str(path), "--length", f"{seconds} s", *job.more]
    started = time.perf_counter()
    first = subprocess.Popen([sys.executable, "-m", "gansmith", *words])
    while first.poll() is None and seconds_trained(path) < seconds / 2:
        time.sleep(0.5)
    first.send_signal(signal.SIGINT)
    peak = ended(first)
    stopped = json.loads((path / "status.json").read_text())
    peak = max(peak, ended(subprocess.Popen([sys.executable, "-m", "gansmith", "resume", str(path)])))
    wall = time.perf_counter() - started
    status = json.loads((path / "status.json").read_text())
    state = json.loads((max((path / "training_checkpoints").glob("*[0-9]")) / "state.json").read_text())
    environment = json.loads((path / "environment.json").read_text())
    publish(job.name, path)
    return {
        "job": job.name,
        "commit": find_commit(),
        "command": "gansmith " + " ".join(words).replace(str(data_root), "DATA").replace(str(path), "RUN"),
        "stopped_at_step": stopped["step"],
        "steps": status["step"],
        "kimg": round(status["nimg"] / 1000, 1),
        "training_seconds": round(state["seconds"], 1),
        "wall_seconds": round(wall, 1),
        "images_per_second": round(status["nimg"] / wall, 1),
        "peak_memory_mib": peak,
        "precision": environment["precision"],
        "processor": environment["processor"],
    }


def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; return its largest resident memory in MiB."""
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"failed: {process.args}")
    return round(usage.ru_maxrss / 1024)


def seconds_trained(path: Path) -> float:
    """Return the seconds of training so far, from the last line of the statistics."""
    stats = path / "stats.jsonl"
    lines = stats.read_text().splitlines() if stats.exists() else []
    return float(json.loads(lines[-1])["progress/seconds"]) if lines else 0.0


def publish(name: str, path: Path) -> None:
    """Copy the last sheet of samples to docs/pictures."""
    sheets = sorted((path / "images").glob("*[0-9].png"))
    target = ROOT / "docs" / "pictures" / f"{name}.png"
    if sheets:
        shutil.copy(sheets[-1], target)
    else:  # document 004 writes single files: one sheet of them
        subprocess.run(
            [sys.executable, "-m", "gansmith", "sample", str(path), "--num", "32", "--out", str(target)], check=True
        )


def write(results: list[dict[str, object]]) -> None:
    """Write the values as JSON and as a table."""
    date = datetime.date.today().isoformat()
    about = {"date": date, "cores": os.cpu_count(), "python": platform.python_version(), "seed": 0}
    path = HERE / "results" / f"{date}-whole-runs.json"
    known = json.loads(path.read_text())["results"] if path.exists() else []
    names = {result["job"] for result in results}
    merged = [result for result in known if result["job"] not in names] + results
    path.write_text(json.dumps({**about, "results": merged}, indent=2) + "\n")
    columns = [
        "job",
        "commit",
        "steps",
        "stopped_at_step",
        "kimg",
        "wall_seconds",
        "images_per_second",
        "peak_memory_mib",
    ]
    rows = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    rows += ["| " + " | ".join(str(result[column]) for column in columns) + " |" for result in merged]
    head = f"Whole runs, {date}, {merged[0]['processor']}, {os.cpu_count()} cores, seed 0.\n\n"
    path.with_suffix(".md").write_text(head + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()

"""Break things on purpose, and count what becomes of them: ``make faults``.

    python tests/faults --seed 1 --only SIGKILL --only damage --minutes 5

Every kind tries many faults; each ends as one of:

    survived    the right result, or the older checkpoint, which is named
    refused     one line that says where, what and what to do; exit status 2; nothing is lost
    lost        more than what was done since the last checkpoint is gone, or a run cannot go on
    wrong       a result differs, and nothing was said
    traceback   any other end: a traceback, several lines, a hang, a crash

The exit status is 1 if anything was lost, wrong or ended in a traceback.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # processes are forked: no threads
    os.environ[_name] = "1"
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

from processes import warm_up  # noqa: E402
from world import Outcome, Trial, World  # noqa: E402

MODULES = ("kills", "disks", "damage", "pairs", "inputs")
COLUMNS = ("tried", "survived", "refused", "lost", "wrong", "traceback", "skipped")
TITLES = {"refused": "refused in one line", "traceback": "tracebacks"}
FAULTS = ("lost", "wrong", "traceback")
MOST_SHOWN = 40
SHORT = {"SIGKILL": 2, "damaged files": 4, "mutated inputs": 3}  # tries; of all others 1


def main() -> int:
    """Try, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description="Break things on purpose, and count what becomes of them.")
    parser.add_argument("--seed", type=int, default=0, help="of the moments, places and inputs")
    parser.add_argument("--only", action="append", help="a kind; may be given several times")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of tries")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which nothing more is begun")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="processes at once")
    parser.add_argument("--short", action="store_true", help="a small share of all, as in make test")
    parser.add_argument("--out", type=Path, help="a folder for the table, as Markdown and JSON")
    options = parser.parse_args()
    began = time.monotonic()
    warm_up()
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        world = World(root)
        world.make(short=options.short)
        chosen = _chosen(world, options)
        found = _try_all(chosen, world, options, began + 60 * options.minutes)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    table = _table(found, options, time.monotonic() - began, len(chosen))
    print(table)
    if options.out:
        _keep(options.out, table, found)
    return int(any(outcome.verdict in FAULTS for _, outcome in found))


def _chosen(world: World, options: argparse.Namespace) -> list[Trial]:
    scale = 0.1 if options.short else options.scale
    every: list[Trial] = []
    for name in MODULES:
        every += importlib.import_module(name).trials(world, scale)
    kinds = dict.fromkeys(trial.kind for trial in every)
    for kind in options.only or ():
        if kind not in kinds:
            raise SystemExit(f"--only: {kind} is no kind; expected one of {', '.join(kinds)}")
    chosen = [trial for trial in every if not options.only or trial.kind in options.only]
    random.Random(options.seed).shuffle(chosen)  # so that those that time leaves out are of all kinds
    if not options.short:
        return chosen
    return [trial for kind in kinds for trial in [each for each in chosen if each.kind == kind][: SHORT.get(kind, 1)]]


def _try_all(
    chosen: list[Trial], world: World, options: argparse.Namespace, until: float
) -> list[tuple[Trial, Outcome]]:
    """Try each in one of several processes, in an order that the seed decides."""
    pids = []
    for job in range(options.jobs):
        pid = os.fork()
        if pid == 0:
            try:
                _try_share(chosen, job, world, options, until)
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    lines = [line for job in range(options.jobs) for line in (world.root / f"found-{job}.jsonl").open()]
    plain = sorted((json.loads(line) for line in lines), key=lambda each: each[0])
    return [(chosen[i], Outcome(**outcome)) for i, outcome in plain]


def _try_share(chosen: list[Trial], job: int, world: World, options: argparse.Namespace, until: float) -> None:
    with (world.root / f"found-{job}.jsonl").open("w") as file:
        for i in range(job, len(chosen), options.jobs):
            if time.monotonic() > until:
                return
            trial = chosen[i]
            where = world.root / f"try-{i}"
            where.mkdir()
            try:
                outcome = trial.go(where, random.Random(f"{options.seed} {i}"))
            except Exception:  # a mistake of this suite, or something that it had not expected of gansmith
                outcome = Outcome("traceback", traceback.format_exc())
            shutil.rmtree(where, ignore_errors=True)
            file.write(json.dumps([i, asdict(outcome)]) + "\n")
            file.flush()
            if outcome.verdict in FAULTS:
                print(f"{outcome.verdict}: {trial.kind}: {trial.what}: {outcome.detail}", file=sys.stderr, flush=True)


def _table(found: list[tuple[Trial, Outcome]], options: argparse.Namespace, seconds: float, planned: int) -> str:
    counts: dict[str, Counter[str]] = {}
    for trial, outcome in found:
        row = counts.setdefault(trial.kind, Counter())
        row.update(outcome.tally())
        row["tried"] += 0 if outcome.verdict == "skipped" else outcome.count
    lines = [_head(options, seconds, len(found), planned), ""]
    lines += ["| kind | " + " | ".join(TITLES.get(name, name) for name in COLUMNS) + " |", "|---" * 8 + "|"]
    total = sum(counts.values(), Counter())
    for kind, row in [*sorted(counts.items()), ("all", total)]:
        lines.append(f"| {kind} | " + " | ".join(f"{row[name]:,}" for name in COLUMNS) + " |")
    return "\n".join([*lines, "", *_remarks(found)])


def _head(options: argparse.Namespace, seconds: float, done: int, planned: int) -> str:
    form = "short" if options.short else f"scale {options.scale:g}"
    left_out = f", {planned - done:,} left out for want of time" if done < planned else ""
    return (
        f"Faults, {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, {_processor()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, seed {options.seed}, {form}{left_out}, {seconds / 60:.1f} min."
    )


def _remarks(found: list[tuple[Trial, Outcome]]) -> Iterator[str]:
    """Why some were skipped, and what the faults were."""
    skipped = Counter(outcome.detail for _, outcome in found if outcome.verdict == "skipped")
    for reason, count in skipped.items():
        yield f"- skipped {count}: {reason}"
    faults = [(trial, outcome) for trial, outcome in found if outcome.verdict in FAULTS]
    for trial, outcome in faults[:MOST_SHOWN]:
        yield f"- {outcome.verdict}: {trial.kind}: {trial.what}: {' '.join(outcome.detail.split())[:300]}"


def _keep(folder: Path, table: str, found: list[tuple[Trial, Outcome]]) -> None:
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{date}-faults.md").write_text(table.rstrip() + "\n", encoding="utf-8")
    counts: dict[str, Counter[str]] = {}
    for trial, outcome in found:
        counts.setdefault(f"{trial.kind}: {trial.what}", Counter()).update(outcome.tally())
    plain = {"about": table.splitlines()[0], "tries": {name: dict(row) for name, row in sorted(counts.items())}}
    (folder / f"{date}-faults.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())

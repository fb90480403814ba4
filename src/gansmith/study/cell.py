"""Run one cell in its own process: train it, or continue where it stopped, and evaluate the result."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass, replace
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TypeAlias

import torch

from gansmith.errors import GansmithError, TrainingDiverged
from gansmith.evaluation import evaluate_run
from gansmith.evaluation.options import EvaluationOptions
from gansmith.files import open_without_link
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import read_json, read_lines
from gansmith.runs import RunFolder
from gansmith.study.record import MAY_MOVE
from gansmith.study.results import State
from gansmith.training import session
from gansmith.training.config import Config, differences, load_config
from gansmith.training.snapshots import Which, find_snapshot

__all__ = ["Job", "Outcome", "carry_out", "work"]

Outcome: TypeAlias = tuple[State, str]  # with the reason


@dataclass(frozen=True, kw_only=True)
class Job:
    """The task of a process.

    Args:
        config: of the run.
        run: its folder, which may hold earlier work.
        log: the file for everything that is printed.
        evaluation: after training; None for none.
        device: instead of the configuration's; None keeps that.
        threads: on the CPU.
    """

    config: Config
    run: Path
    log: Path
    evaluation: EvaluationOptions | None
    device: str | None
    threads: int


def work(job: Job, report: connection.Connection) -> None:
    """Run the whole process; its one message is the outcome."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal reaches the study alone, which tells its processes once
    _print_to(job.log)
    threading.Thread(target=_stop_with_the_study, daemon=True).start()
    torch.set_num_threads(job.threads)
    report.send(carry_out(job))


def carry_out(job: Job) -> Outcome:
    """Train and evaluate the cell, as far as not done before; return the outcome."""
    try:
        if not _trained(job):
            return "unfinished", "stopped"
    except TrainingDiverged as error:
        return "diverged", str(error)
    except Exception as error:
        return "failed", _said(error)
    try:
        _evaluate(job)
    except Exception as error:  # the training counts even if its evaluation fails
        return "finished", f"not evaluated: {_said(error)}"
    return "finished", ""


def _trained(job: Job) -> bool:
    """Start or continue training; return whether it reached its end."""
    config = job.config if job.device is None else replace(job.config, device=job.device)
    if not (job.run / "config.json").exists():
        session.begin(config, job.run)
    elif _state(job.run) != "finished":
        _go_on(job.run, config)
    return _state(job.run) == "finished"


def _go_on(run: Path, config: Config) -> None:
    changed = differences(load_config(RunFolder.open(run).config, edited=True), config)
    session.go_on(run, {path: new for path, (_, new) in changed.items() if path in MAY_MOVE})


def _evaluate(job: Job) -> None:
    """Evaluate the last and the best generator unless done before; nearest.png remains that of the best."""
    if job.evaluation is None:
        return
    folder = RunFolder.open(job.run)
    evaluated = list(read_lines(folder.metrics, Measurement.from_plain))
    for which in _SNAPSHOTS:
        options = replace(job.evaluation, snapshot=which, device=job.device or job.evaluation.device)
        snapshot = find_snapshot(folder, which, ema=options.ema)
        wanted = (snapshot.which, snapshot.nimg, options.num, options.seed)
        there = [line.generated for line in evaluated if line.kind == "evaluation"]
        if wanted not in [(made.snapshot, made.nimg, made.num, made.seed) for made in there]:
            evaluated.append(evaluate_run(folder, options))


_SNAPSHOTS: tuple[Which, ...] = ("last", "best")


def _state(run: Path) -> str:
    try:
        return str(read_json(RunFolder.open(run).status)["state"])
    except (OSError, ValueError, KeyError, TypeError):  # it ended before it was written
        return "unknown"


def _said(error: Exception) -> str:
    if isinstance(error, GansmithError):
        print(f"error: {error}", file=sys.stderr)
        return str(error)
    traceback.print_exc()
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _print_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    with open(log, "ab", opener=open_without_link) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _stop_with_the_study() -> None:
    """Save and end if the study's process disappears."""
    study = parent_process()
    if study is not None:
        connection.wait([study.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

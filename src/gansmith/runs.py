"""The run folder, a documented format; this module is the only one that knows its file names.

    config.json          the whole configuration
    data.json            facts about the images: size, classes, digest
    environment.json     the machine, the versions, and every downgrade (precision, device) with its reason
    status.json          state (running, finished, stopped or failed) and progress
    stats.jsonl          training statistics, one line per interval
    metrics.jsonl        metric values, one line per measurement
    events.jsonl         detections and actions of the guard, one line each
    images/              sheets of samples during training
    progress.gif, .mp4   an animation of the sheets
    losses.png           the loss curves
    nearest.png          generated images beside their nearest training images
    report.html, explore.html, utility/   the run, its latent space, and the results of gansmith utility
    best/                the generator with the best tracked metric: *.safetensors and state.json
    training_checkpoints/000500/   the checkpoint after step 500: *.safetensors and state.json

No file is a pickle. Files and folders are written under another name first and then renamed, so they are complete.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gansmith.errors import RunError, command
from gansmith.files import refuse_links, remove_leftovers
from gansmith.plain_json import append_line, keep_lines, read_json, read_lines, rewrite_json, write_json
from gansmith.zoo.places import find_run, refuse_change

__all__ = ["RunFolder", "set_aside", "write_json"]

_STATE = "state.json"
_LOCK = ".lock"
_OF_OTHERS = ("wandb",)  # Weights & Biases keeps links there; gansmith never reads or writes them
_BEST, _FORMER_BEST = "best", ".former-best"
_UNFINISHED = re.compile(r"\.(data|config)\.\w+\.unfinished\.json")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Create a new, empty run folder.

        Raises:
            RunError: the folder is not empty.
        """
        if (path / "config.json").exists():
            raise RunError(f"{path}: contains a run already; continue it with: {command('resume', path)}")
        if path.exists() and not (path.is_dir() and _is_unused(path)):
            raise RunError(f"{path}: is not empty; choose another folder with --run")
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    @contextmanager
    def begin(cls, *paths: Path) -> Iterator[RunFolder]:
        """Create and claim the first of ``paths`` that is free; of several processes, exactly one gets it.

        Raises:
            RunError: none is free, or another process has claimed it.
        """
        absent = [folder for folder in (paths[-1], *paths[-1].parents) if not folder.exists()]
        for path in paths[:-1]:  # all but the last must be new
            with suppress(FileExistsError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
                absent = [path, *(folder for folder in absent if folder != paths[-1])]
                break
        else:
            path = paths[-1]
        with cls.create(path).claim():
            folder = cls.create(path)  # checked again, since another process may have trained here in between
            try:
                yield folder
            finally:
                if path.is_dir() and _is_unused(path):  # no run was written
                    _remove_all(path.iterdir())
                    _remove_empty(absent)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run by its path, as ``zoo:NAME`` or as ``hf:user/name``.

        Raises:
            RunError: there is no run, or it contains a link, which could point outside.
        """
        path = find_run(path)
        if not (path / "config.json").is_file():
            near = sorted(str(found.parent) for found in path.glob("*/config.json"))[:3] if path.is_dir() else []
            hint = f"did you mean {' or '.join(near)}?" if near else "expected a folder that gansmith train has written"
            raise RunError(f"{path}: not a run (no config.json); {hint}")
        refuse_links(path, except_in=_OF_OTHERS)
        return cls(path)

    def discard_beginning(self, others: Iterable[Path]) -> None:
        """Remove the files that training writes before its first step; other files in the folder stay.

        Args:
            others: files that sample sheets and loggers have written.
        """
        for path in (self.checkpoint_folder, *others):
            if path.is_dir():
                shutil.rmtree(path)
        _remove_all((self.config, self.data, self.environment, self.status, self.images / "real.png", *others))
        _remove_empty([self.images])

    @property
    def config(self) -> Path:  # paths of files, in the order of the docstring above
        return self.path / "config.json"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def stats(self) -> Path:
        return self.path / "stats.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def images(self) -> Path:
        return self.path / "images"

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "training_checkpoints"

    def animation(self, suffix: str) -> Path:
        """Return the path of progress.gif or progress.mp4."""
        return self.path / f"progress.{suffix}"

    @property
    def curves(self) -> Path:
        return self.path / "losses.png"

    @property
    def nearest(self) -> Path:
        return self.path / "nearest.png"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def utility(self) -> Path:
        return self.path / "utility"

    # --- checkpoints ---------------------------------------------------------------------------------------

    def checkpoints(self, *, damaged: bool = False) -> list[Path]:
        """Return the checkpoints, oldest first; without ``damaged``, only those with a state.json."""
        found = [path for path in self.checkpoint_folder.glob("*") if path.name.isdecimal() and path.name.isascii()]
        return sorted((path for path in found if damaged or (path / _STATE).exists()), key=lambda path: int(path.name))

    def set_damaged_aside(self, step: int) -> None:
        """Rename damaged checkpoints: those after this step, and those without a state.json."""
        for checkpoint in self.checkpoints(damaged=True):
            if int(checkpoint.name) > step or not (checkpoint / _STATE).exists():
                set_aside(checkpoint)

    def latest_checkpoint(self) -> Path:
        """Return the newest complete checkpoint.

        Raises:
            RunError: there is none.
        """
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise RunError(f"{self.path}: no checkpoint yet; train longer, or save more often with --checkpoint_every")
        return checkpoints[-1]

    @property
    def best(self) -> Path | None:
        """The folder of the best generator, which may be damaged; None if there is none."""
        for folder in (self.path / _BEST, self.path / _FORMER_BEST):  # the former after a kill between two renames
            if folder.is_dir():
                return folder
        return None

    def keep_best(self, write: Callable[[Path], None]) -> None:
        """Replace the best generator atomically.

        Args:
            write: writes the files, including ``state.json``, into the folder that it is given.
        """
        for leftover in self.path.glob(f".unfinished-{_BEST}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = _filled(self.path, f".unfinished-{_BEST}-", write)
        best, former = self.path / _BEST, self.path / _FORMER_BEST
        if best.exists():
            shutil.rmtree(former, ignore_errors=True)
            best.rename(former)
        unfinished.rename(best)
        shutil.rmtree(former, ignore_errors=True)

    def add_checkpoint(self, step: int, write: Callable[[Path], None], keep: int, spared: Path | None = None) -> Path:
        """Save a checkpoint atomically and remove the oldest beyond ``keep``; return its folder.

        Args:
            step: the step, which is the name of the folder.
            write: writes the files, including ``state.json``, into the folder that it is given.
            keep: number of checkpoints that remain.
            spared: a further checkpoint that is not removed.
        """
        target = self.checkpoint_folder / f"{step:06d}"
        self.checkpoint_folder.mkdir(exist_ok=True)
        for leftover in self.checkpoint_folder.glob(".unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = _filled(self.checkpoint_folder, ".unfinished-", write)
        if target.exists():  # the same step again: state.json is moved last, since it marks a complete checkpoint
            for path in sorted(unfinished.iterdir(), key=lambda path: path.name == _STATE):
                path.replace(target / path.name)
            unfinished.rmdir()
        else:
            unfinished.rename(target)
        for checkpoint in self.checkpoints()[:-keep]:
            if checkpoint != spared:
                _remove(checkpoint)
        return target

    def drop_checkpoints_after(self, step: int) -> None:
        """Remove the checkpoints after this step, the newest first."""
        for checkpoint in reversed(self.checkpoints()):
            if int(checkpoint.name) > step:
                _remove(checkpoint)

    # --- statistics, status and notes -----------------------------------------------------------------------

    def append_stats(self, record: Mapping[str, Any]) -> None:
        """Append a line to stats.jsonl."""
        append_line(self.stats, record)

    def read_stats(self) -> list[dict[str, Any]]:
        """Read the lines of stats.jsonl; skip an incomplete line.

        Raises:
            RunError: a line is not one of statistics.
        """
        return list(read_lines(self.stats, _statistics))

    def append_measurement(self, measurement: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        append_line(self.metrics, measurement)

    def read_measurements(self) -> list[dict[str, Any]]:
        """Read the lines of metrics.jsonl, as ``metrics.measurement.Measurement.from_plain`` takes them."""
        return list(read_lines(self.metrics, dict))

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Append a line to events.jsonl."""
        append_line(self.events, event)

    def read_events(self) -> list[dict[str, Any]]:
        """Read the lines of events.jsonl, as ``guard.journal.Event.from_plain`` takes them."""
        return list(read_lines(self.events, dict))

    def forget_after(self, nimg: int, num_events: int) -> None:
        """Remove the lines that training writes again when it continues from a checkpoint.

        Args:
            nimg: number of images at the checkpoint.
            num_events: number of lines of events.jsonl at the checkpoint. The number of images does not determine it,
                because a rollback decreases that number.
        """
        keep_lines(self.stats, lambda record: _statistics(record)["progress/nimg"] <= nimg)
        keep_lines(self.metrics, lambda line: line["kind"] != "tracking" or line["generated"]["nimg"] <= nimg)
        known = itertools.count(1)
        keep_lines(self.events, lambda event: next(known) <= num_events)

    def set_status(self, state: str, **details: Any) -> None:
        """Write status.json: state ("running", "finished", "stopped", "failed"), details, and number of rollbacks."""
        rollbacks = sum(event.get("what") == "rollback" for event in self.read_events())
        rewrite_json(self.status, {"state": state, "pid": os.getpid(), **details, "rollbacks": rollbacks})

    def is_claimed(self) -> bool | None:
        """Return whether a process is training here now; None if unknown."""
        try:
            with self.claim():
                return False
        except RunError as error:
            return True if isinstance(error.__cause__, Timeout) else None

    def add_note(self, sentence: str) -> None:
        """Append a sentence about a downgrade during training to the notes of environment.json."""
        about = read_json(self.environment)
        write_json(self.environment, {**about, "notes": [*about["notes"], sentence]})

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Lock the folder against other training processes until the block or the process ends.

        Raises:
            RunError: another process is training here, or the folder belongs to the zoo.
        """
        refuse_change(self.path)
        lock = FileLock(self.path / _LOCK)
        try:
            lock.acquire(blocking=False)
        except OSError as error:  # Timeout is one
            busy = "another process is training here; wait for it or stop it first"
            shut = f"{_LOCK} cannot be opened ({error.strerror}); change its permissions, or copy the run elsewhere"
            raise RunError(f"{self.path}: {busy if isinstance(error, Timeout) else shut}") from error
        try:
            remove_leftovers(self.path, self.images)
            yield
        finally:
            lock.release()


def set_aside(folder: Path) -> None:
    """Rename a damaged folder to NAME.damaged, so that it is ignored and can still be inspected."""
    aside = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)


def _filled(parent: Path, prefix: str, write: Callable[[Path], None]) -> Path:
    """Create a folder with a random name, fill it by ``write``, and return it; remove it after an exception."""
    path = parent / f"{prefix}{secrets.token_hex(8)}"
    path.mkdir()
    try:
        write(path)
        _flush_folder(path)
    except BaseException:  # for example a full disk, which half of a checkpoint would keep full
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint in one step for other processes: rename it, then delete it."""
    unfinished = checkpoint.with_name(f".unfinished-{secrets.token_hex(8)}")
    checkpoint.rename(unfinished)
    shutil.rmtree(unfinished)


def _remove_all(files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    with suppress(OSError):  # it is not empty
        for folder in folders:
            folder.rmdir()


def _is_unused(folder: Path) -> bool:
    """Return whether the folder has only files of a training process that was killed before it wrote config.json."""
    return all(path.name in (_LOCK, "data.json") or _UNFINISHED.fullmatch(path.name) for path in folder.iterdir())


def _statistics(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of stats.jsonl after a check.

    Raises:
        KeyError: it has no progress.
        TypeError: a value is not a number.
    """
    for name, value in {"progress/nimg": line["progress/nimg"], **line}.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} is not a number")
    return line


def _flush_folder(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())

"""A run folder: a public, documented format, and the only place that knows its file names.

    config.json          the whole configuration
    data.json            what the images are: size, classes, digest
    environment.json     the machine, the versions, and every downgrade (precision, device) with its reason
    status.json          running, finished, stopped or failed, and how far it came
    stats.jsonl          one line of statistics an interval
    metrics.jsonl        one line a measurement: metric values with where they come from
    events.jsonl         one line for each thing that the guard saw or did
    images/              pictures of the way
    progress.gif, .mp4   the same, moving
    losses.png           the curves
    nearest.png          generated images beside the training images that they are closest to
    report.html          all of it on one page
    best/                the generator when it was best by the tracked figure: *.safetensors and state.json
    training_checkpoints/000500/   after step 500: *.safetensors and state.json

Nothing in it is a pickle. Whatever is written is whole: a file or folder is made under another name first.
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

__all__ = ["RunFolder", "set_aside", "write_json"]

_STATE = "state.json"
_LOCK = ".lock"
_OF_OTHERS = ("wandb",)  # Weights & Biases keeps links there, which are never read or written here
_BEST, _FORMER_BEST = "best", ".former-best"
_UNFINISHED = re.compile(r"\.(data|config)\.\w+\.unfinished\.json")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make a new, empty run folder.

        Raises:
            RunError: there is something in it already.
        """
        if (path / "config.json").exists():
            raise RunError(f"{path}: holds a run already; continue it with: {command('resume', path)}")
        if path.exists() and not (path.is_dir() and _is_unused(path)):
            raise RunError(f"{path}: is not empty; choose another folder with --run")
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    @contextmanager
    def begin(cls, *paths: Path) -> Iterator[RunFolder]:
        """Make and claim the first of ``paths`` that is free; of several processes, exactly one gets it.

        Raises:
            RunError: none is free, or another process has claimed it.
        """
        absent = [folder for folder in (paths[-1], *paths[-1].parents) if not folder.exists()]
        for path in paths[:-1]:  # of several, only one that is new
            with suppress(FileExistsError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
                absent = [path, *(folder for folder in absent if folder != paths[-1])]
                break
        else:
            path = paths[-1]
        with cls.create(path).claimed():
            folder = cls.create(path)  # looked at again: another process may have trained here in between
            try:
                yield folder
            finally:
                if path.is_dir() and _is_unused(path):  # nothing has come of it
                    _remove_all(path.iterdir())
                    _remove_empty(absent)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run.

        Raises:
            RunError: no run is there, or something in it is a link, which could lead out of it.
        """
        if not (path / "config.json").is_file():
            near = sorted(str(found.parent) for found in path.glob("*/config.json"))[:3] if path.is_dir() else []
            hint = f"did you mean {' or '.join(near)}?" if near else "expected a folder that gansmith train has made"
            raise RunError(f"{path}: no run is there (no config.json); {hint}")
        refuse_links(path, except_in=_OF_OTHERS)
        return cls(path)

    def discard_beginning(self, others: Iterable[Path]) -> None:
        """Remove what a training writes before its first step; all else that lies in the folder stays.

        Args:
            others: what pictures and loggers have written.
        """
        for path in (self.checkpoint_folder, *others):
            if path.is_dir():
                shutil.rmtree(path)
        _remove_all((self.config, self.data, self.environment, self.status, self.images / "real.png", *others))
        _remove_empty([self.images])

    @property
    def config(self) -> Path:  # the plain file names, in the order of the docstring above
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
        """progress.gif or progress.mp4."""
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

    # --- checkpoints ---------------------------------------------------------------------------------------

    def checkpoints(self, *, damaged: bool = False) -> list[Path]:
        """The checkpoints, oldest first; without ``damaged``, only those that have a state.json."""
        found = [path for path in self.checkpoint_folder.glob("*") if path.name.isdecimal() and path.name.isascii()]
        return sorted((path for path in found if damaged or (path / _STATE).exists()), key=lambda path: int(path.name))

    def set_damaged_aside(self, step: int) -> None:
        """Rename the checkpoints of later steps, which are damaged."""
        for checkpoint in self.checkpoints(damaged=True):
            if int(checkpoint.name) > step:
                set_aside(checkpoint)

    def latest_checkpoint(self) -> Path:
        """The newest whole checkpoint.

        Raises:
            RunError: there is none.
        """
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise RunError(
                f"{self.path}: has no checkpoint yet; train longer, or save more often with --checkpoint_every"
            )
        return checkpoints[-1]

    @property
    def best(self) -> Path | None:
        """The folder of the best generator, if one was kept; it may be damaged."""
        for folder in (self.path / _BEST, self.path / _FORMER_BEST):  # the former, if a kill fell between the two
            if folder.is_dir():
                return folder
        return None

    def keep_best(self, write: Callable[[Path], None]) -> None:
        """Replace the best generator, all of it or nothing.

        Args:
            write: fills the folder it is given; ``state.json`` must be among what it writes.
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
        """Save a checkpoint under its step, all of it or nothing, and drop the oldest beyond ``keep``.

        Args:
            step: names the folder.
            write: fills the folder it is given; ``state.json`` must be among what it writes.
            keep: how many remain.
            spared: one that remains beside them.
        """
        target = self.checkpoint_folder / f"{step:06d}"
        self.checkpoint_folder.mkdir(exist_ok=True)
        for leftover in self.checkpoint_folder.glob(".unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = _filled(self.checkpoint_folder, ".unfinished-", write)
        if target.exists():  # the same step again: state.json, written last, is what makes a checkpoint whole
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
        """Remove the checkpoints of later steps, the newest first."""
        for checkpoint in reversed(self.checkpoints()):
            if int(checkpoint.name) > step:
                _remove(checkpoint)

    # --- statistics ----------------------------------------------------------------------------------------

    def append_stats(self, record: Mapping[str, Any]) -> None:
        """Add a line to stats.jsonl."""
        append_line(self.stats, record)

    def read_stats(self) -> list[dict[str, Any]]:
        """The lines of stats.jsonl; a line that was cut off is left out.

        Raises:
            RunError: a line holds no statistics.
        """
        return list(read_lines(self.stats, _statistics))

    def append_measurement(self, measurement: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        append_line(self.metrics, measurement)

    def read_measurements(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, as ``metrics.measurement.Measurement.from_plain`` takes them."""
        return list(read_lines(self.metrics, dict))

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Add a line to events.jsonl."""
        append_line(self.events, event)

    def read_events(self) -> list[dict[str, Any]]:
        """The lines of events.jsonl, as ``guard.journal.Event.from_plain`` takes them."""
        return list(read_lines(self.events, dict))

    def forget_after(self, nimg: int, num_events: int) -> None:
        """Drop the lines that training will write again when it goes on from a checkpoint.

        Args:
            nimg: of the checkpoint.
            num_events: the lines of events.jsonl that it knows. Images do not tell: a rollback turns them back.
        """
        keep_lines(self.stats, lambda record: _statistics(record)["progress/nimg"] <= nimg)
        keep_lines(self.metrics, lambda line: line["kind"] != "tracking" or line["generated"]["nimg"] <= nimg)
        known = itertools.count(1)
        keep_lines(self.events, lambda event: next(known) <= num_events)

    # --- status and notes ----------------------------------------------------------------------------------

    def set_status(self, state: str, **details: Any) -> None:
        """Say in status.json how the run is ("running", "finished", "stopped", "failed") and how often it went back."""
        rollbacks = sum(event.get("what") == "rollback" for event in self.read_events())
        rewrite_json(self.status, {"state": state, "pid": os.getpid(), **details, "rollbacks": rollbacks})

    def is_claimed(self) -> bool | None:
        """Whether a process trains here now; None if that cannot be told."""
        try:
            with self.claimed():
                return False
        except RunError as error:
            return True if isinstance(error.__cause__, Timeout) else None

    def add_note(self, sentence: str) -> None:
        """Add to the notes of environment.json what was downgraded on the way."""
        about = read_json(self.environment)
        write_json(self.environment, {**about, "notes": [*about["notes"], sentence]})

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep a second training out of this folder; the system lets go of it however this process ends.

        Raises:
            RunError: another process trains here.
        """
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
    """Rename a damaged folder, so that it counts no more and can still be looked at."""
    aside = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)


def _filled(parent: Path, prefix: str, write: Callable[[Path], None]) -> Path:
    """Make a folder with a random name and the permissions that the umask gives, and fill it; all of it or nothing."""
    path = parent / f"{prefix}{secrets.token_hex(8)}"
    path.mkdir()
    try:
        write(path)
        _flush_folder(path)
    except BaseException:  # a full disk, say: half of a checkpoint would keep it full
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint; who reads beside us finds all of it or nothing."""
    unfinished = checkpoint.with_name(f".unfinished-{secrets.token_hex(8)}")
    checkpoint.rename(unfinished)
    shutil.rmtree(unfinished)


def _remove_all(files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    with suppress(OSError):  # something lies in it
        for folder in folders:
            folder.rmdir()


def _is_unused(folder: Path) -> bool:
    """Whether there is nothing but what a training that was killed before it wrote config.json has left."""
    return all(path.name in (_LOCK, "data.json") or _UNFINISHED.fullmatch(path.name) for path in folder.iterdir())


def _statistics(line: dict[str, Any]) -> dict[str, Any]:
    """A line of stats.jsonl, if it is one.

    Raises:
        KeyError: it does not say when.
        TypeError: something is not a number.
    """
    for name, value in {"progress/nimg": line["progress/nimg"], **line}.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} is not a number")
    return line


def _flush_folder(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())

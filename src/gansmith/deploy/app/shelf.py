"""The runs of the page under the names that visitors see, and their generators."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from gansmith.errors import ConfigError, RunError, command
from gansmith.run_list import RunSummary, find_runs, summarize_run
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.snapshots import find_snapshot, load_generator
from gansmith.zoo.places import find_run

__all__ = ["MOST_RUNS", "Shelf"]

MOST_RUNS = 500  # in the list of a folder
MOST_GENERATORS = 4  # in memory
RESCAN_SECONDS = 2.0
NAMED = ("zoo:", "hf:")

_Age: TypeAlias = tuple[tuple[str, int, int], ...]


class Shelf:
    """The runs of the page.

    Args:
        places: runs, ``zoo:NAME``, and folders that contain runs. A folder is searched again when the page asks.

    Raises:
        RunError: a place has neither a run nor is a folder that can contain some.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self._fixed: dict[str, Path] = {}
        self._homes: list[Path] = []
        for place in places:
            self._add(place)
        self._lock = threading.RLock()
        self._found: dict[str, Path] = {}
        self._searched = -RESCAN_SECONDS
        self._generators: OrderedDict[str, tuple[_Age, TrainedGenerator]] = OrderedDict()

    def _add(self, place: str) -> None:
        if place.startswith(NAMED):
            self._fixed[place] = find_run(Path(place))
            return
        path = Path(place)
        if path.is_dir() and not (path / "config.json").is_file():
            self._homes.append(path)
            return
        if not path.exists():
            raise RunError(f"{path}: no such run or folder; name a run, or the folder with your runs: {_EXAMPLE}")
        self._fixed[_unused_name(path, self._fixed)] = RunFolder.open(path).path

    @property
    def lists_folders(self) -> bool:
        """Whether runs can appear and disappear while the page is open."""
        return bool(self._homes)

    def names(self) -> list[str]:
        """Return the names of all runs, those that the user named first."""
        return list(self._all())

    def path(self, name: str) -> Path:
        """Return the folder of a run.

        Raises:
            ConfigError: there is no run of this name.
        """
        found = self._all().get(name)
        if found is None:
            raise ConfigError("run: this run does not exist any more; choose another one")
        return found

    def open(self, name: str) -> RunFolder:
        """Open a run by its name.

        Raises:
            RunError: it cannot be used.
            ConfigError: there is no run of this name.
        """
        return RunFolder.open(self.path(name))

    def summaries(self) -> list[tuple[str, RunSummary]]:
        """Return the names and states of all runs, without touching their locks."""
        return [(name, summarize_run(path, look_only=True)) for name, path in self._all().items()]

    def generator(self, name: str) -> TrainedGenerator:
        """Return a run's best generator, or that of the newest checkpoint; read again after training has saved another.

        Raises:
            RunError: the run has no checkpoint yet, or a damaged one.
            ConfigError: there is no run of this name.
        """
        folder = self.open(name)
        with self._lock:
            age = _age(folder)
            known = self._generators.get(name)
            if known is None or known[0] != age:
                self._generators[name] = (age, load_generator(folder, find_snapshot(folder)))
            self._generators.move_to_end(name)
            while len(self._generators) > MOST_GENERATORS:
                self._generators.popitem(last=False)
            return self._generators[name][1]

    def hide_paths(self, text: str) -> str:
        """Replace the folders of the runs in a text by their names."""
        for name, path in sorted(self._all().items(), key=lambda each: -len(str(each[1]))):
            for form in {str(path), str(path.resolve())}:
                text = text.replace(form, name)
        return text

    def _all(self) -> Mapping[str, Path]:
        if not self._homes:
            return self._fixed
        with self._lock:
            if time.monotonic() - self._searched > RESCAN_SECONDS:
                self._found = dict(self._search())
                self._searched = time.monotonic()
            return self._fixed | self._found

    def _search(self) -> dict[str, Path]:
        found = {}
        for home in self._homes:
            prefix = f"{home.resolve().name}/" if len(self._homes) > 1 else ""
            for path in find_runs(home):
                found[prefix + path.relative_to(home).as_posix()] = path
                if len(found) == MOST_RUNS:
                    return found
        return found


_EXAMPLE = command("app", "FOLDER")


def _unused_name(path: Path, taken: Mapping[str, Path]) -> str:
    """Return the shortest end of a path that no other run is called by."""
    parts = path.resolve().parts
    names = ["/".join(parts[-length:]) for length in range(1, len(parts) + 1)]
    return next((name for name in names if name not in taken), names[-1])


def _age(folder: RunFolder) -> _Age:
    """Return what changes when training saves another generator."""
    newest = folder.checkpoints()[-1:]
    found = []
    for home in [*([folder.best] if folder.best else []), *newest]:
        try:
            status = home.stat()
        except OSError:  # replaced at this moment
            continue
        found.append((home.name, status.st_ino, status.st_mtime_ns))
    return tuple(found)

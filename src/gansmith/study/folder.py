"""A study's folder, and the only place that knows its file names.

study.json         the plan, each cell's whole configuration, and the outcomes
runs/CELL/         a run folder for each cell: see ``gansmith.runs``
runs/CELL.log      the output of its process
results.json       measures, comparisons, conclusions: see ``gansmith.study.results``
results.csv        one row a run
report.html        all of it on one page
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gansmith.errors import RunError
from gansmith.files import refuse_links

__all__ = ["StudyFolder"]


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> StudyFolder:
        """Open an existing study.

        Raises:
            RunError: no study is there, or something in it is a link.
        """
        folder = cls(path)
        if not folder.plan.is_file():
            raise RunError(f"{path}: no study is there (no study.json); expected a folder that gansmith study has made")
        refuse_links(path, except_in=("wandb",))
        return folder

    @property
    def plan(self) -> Path:
        return self.path / "study.json"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def table(self) -> Path:
        return self.path / "results.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def run(self, cell: str) -> Path:
        """Return the run folder of a cell."""
        return self.runs / cell

    def log(self, cell: str) -> Path:
        """Return the file with the output of a cell's process."""
        return self.runs / f"{cell}.log"

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Lock this folder against a second command; the system releases the lock however this process ends.

        Raises:
            RunError: another process runs this study.
        """
        self.runs.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise RunError(f"{self.path}: another process runs this study; wait for it or stop it first") from error
        try:
            yield
        finally:
            lock.release()

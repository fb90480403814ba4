"""Read and write study.json: the plan of a study and the outcome of each cell."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass

from gansmith import __version__
from gansmith.component import Component, from_plain, to_plain
from gansmith.errors import ConfigError, RunError
from gansmith.plain_json import read_json, write_json
from gansmith.study.folder import StudyFolder
from gansmith.study.plan import Cell, Study, list_cells
from gansmith.study.results import State
from gansmith.training.config import differences, without_removed_fields

__all__ = ["MAY_MOVE", "Record", "prepare_record", "read_record", "write_record"]

MAY_MOVE = ("device", "data.root", "data.path")  # fields that say where, not what


@dataclass(frozen=True, kw_only=True)
class Record(Component):
    """A study and its progress.

    Args:
        study: as it is run.
        shortened: how it was shortened on the command line, a clause each.
        command: that started or continued it.
        gansmith: the version.
        cells: all runs, with their outcomes.
    """

    study: Study
    shortened: tuple[str, ...] = ()
    command: str = ""
    gansmith: str = __version__
    cells: tuple[Cell, ...]

    def with_outcome(self, title: str, state: State, reason: str) -> Record:
        """Return a copy with the outcome of a cell."""
        changed = [
            dataclasses.replace(cell, state=state, reason=reason) if cell.title == title else cell
            for cell in self.cells
        ]
        return dataclasses.replace(self, cells=tuple(changed))


def prepare_record(study: Study, shortened: tuple[str, ...], folder: StudyFolder) -> Record:
    """Return the record to continue: outcomes from the folder, and cells that were added since.

    Raises:
        RunError: the folder holds a study that this one does not continue.
    """
    fresh = Record(study=study, shortened=shortened, command=" ".join(sys.argv), cells=tuple(list_cells(study)))
    if not folder.plan.exists():
        return fresh
    old = {cell.title: cell for cell in read_record(folder).cells}
    _refuse_changes(folder, fresh, old)
    kept = [
        dataclasses.replace(cell, state=old[cell.title].state, reason=old[cell.title].reason)
        if cell.title in old
        else cell
        for cell in fresh.cells
    ]
    return dataclasses.replace(fresh, cells=tuple(kept))


def read_record(folder: StudyFolder) -> Record:
    """Read study.json.

    Raises:
        RunError: it is missing or damaged.
    """
    StudyFolder.open(folder.path)
    try:
        plain = read_json(folder.plan)
        for cell in plain["cells"]:
            cell["config"] = without_removed_fields(cell["config"])
        for part in (study := plain["study"], *study["variants"], *study["data"]):
            part["overrides"] = without_removed_fields(part["overrides"])
        record: Record = from_plain(Record, plain, "record")
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{folder.plan}: cannot be read ({error}); restore the file from a copy") from error
    return record


def write_record(record: Record, folder: StudyFolder) -> None:
    """Write study.json, completely or not at all."""
    write_json(folder.plan, to_plain(record))


def _refuse_changes(folder: StudyFolder, fresh: Record, old: dict[str, Cell]) -> None:
    remedy = "put it back, or choose another folder with --out"
    now = {cell.title: cell for cell in fresh.cells}
    for title, cell in old.items():
        if title not in now:
            raise RunError(f"{folder.path}: the study was started with {title}, which is no longer in it; {remedy}")
        for path, (was, wanted) in differences(cell.config, now[title].config).items():
            if path not in MAY_MOVE:
                raise RunError(f"{folder.path}: {title} was started with {path} {was}, and now has {wanted}; {remedy}")
    before = read_record(folder).study.evaluation
    if before != fresh.study.evaluation:
        raise RunError(f"{folder.path}: the study was started with evaluation {before}; {remedy}")

"""Run a study from its file, for the command line and Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gansmith.console import make_console
from gansmith.errors import ConfigError, command
from gansmith.study.collect import collect
from gansmith.study.folder import StudyFolder
from gansmith.study.plan import read_study, shorten_study
from gansmith.study.progress import show_progress
from gansmith.study.queue import run_cells
from gansmith.study.record import Record, prepare_record, read_record, write_record
from gansmith.study.results import StudyResults, write_results
from gansmith.study.table import show_results, write_csv

__all__ = ["run_study"]


def run_study(
    file: str | Path,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    devices: Sequence[str] = (),
    root: str | None = None,
    length: str | None = None,
    seeds: int | None = None,
) -> StudyResults:
    """Run the cells of a study that are not done, and compare its variants.

    Each cell runs in a process that Python spawns: a script that calls this needs the usual
    ``if __name__ == "__main__":``.

    Args:
        file: a study's TOML file, or the folder of a started one, to continue it.
        out: the folder to write; default: runs/NAME-OF-THE-FILE.
        workers: processes at once; default: one per device.
        devices: assigned in turn, such as ["cuda:0", "cuda:1"]; default: those of the configurations.
        root: where local copies of the named data sets lie.
        length: of each training, to shorten the study.
        seeds: how many of the study's seeds, to shorten it.

    Raises:
        GansmithError: the file, the folder or an argument cannot be used. An error in a cell is recorded as its
            outcome.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {workers}")
    folder = _folder(Path(file), out)
    begun = read_record(StudyFolder.open(Path(file))) if Path(file).is_dir() else None
    study, cuts = shorten_study(begun.study if begun else read_study(Path(file)), length=length, seeds=seeds, root=root)
    record = prepare_record(study, (*(begun.shortened if begun else ()), *cuts), folder)
    console = make_console()
    with folder.claim(), show_progress(record.cells, console) as display:
        write_record(record, folder)
        record = run_cells(record, folder, display, workers=workers or len(devices) or 1, devices=devices)
    return _finish(record, folder, console)


def _folder(file: Path, out: str | Path | None) -> StudyFolder:
    if out is not None:
        return StudyFolder(Path(out))
    return StudyFolder.open(file) if file.is_dir() else StudyFolder(Path("runs") / file.stem)


def _finish(record: Record, folder: StudyFolder, console: Console) -> StudyResults:
    results = collect(record, folder)
    write_results(results, folder.results)
    write_csv(results, folder.table)
    show_results(results, console)
    done, total = sum(cell.done for cell in record.cells), len(record.cells)
    next_step, verb = ("next", "report") if done == total else ("continue", "study")
    again = f"{next_step}: {command(verb, folder.path)}"
    for line in (f"{done} of {total} runs done: {folder.results}, {folder.table}", again):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return results

"""gansmith study FILE"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansmith.cli.options import Count, Required, Text, parse

if TYPE_CHECKING:
    from gansmith.study.folder import StudyFolder
    from gansmith.study.record import Record

__all__ = ["main"]


@dataclass(frozen=True)
class Study:
    """Train variants from several seeds, judge every run, and say what can be concluded.

    What has been done already is not done again: after an interruption, the same command goes on.
    """

    file: Required
    """a study's TOML file (see studies/), or the folder of one that was begun, to go on with it as it was"""
    out: Text = None
    """the folder to write; runs/NAME-OF-THE-FILE if not given"""
    workers: Count = None
    """runs at once, each in a process of its own; one a device if not given"""
    devices: Text = None
    """"cuda:0,cuda:1": handed out in turn"""
    root: Text = None
    """where local copies of the named data sets lie"""
    length: Text = None
    """of each training, to shorten the study: "20 kimg\""""
    seeds: Count = None
    """how many of the study's seeds, to shorten it"""


def main(arguments: Sequence[str]) -> None:
    """Run a study."""
    options = parse(Study, "study", arguments)
    from rich.console import Console

    from gansmith.study.collect import collect
    from gansmith.study.progress import displayed
    from gansmith.study.queue import run_cells
    from gansmith.study.results import write_results
    from gansmith.study.table import show_results, write_csv

    folder, record = _opened(options)
    devices = options.devices.split(",") if options.devices else []
    workers = len(devices) or 1 if options.workers is None else options.workers
    console = Console()
    with folder.claimed(), displayed(record.cells, console) as display:
        record = run_cells(record, folder, display, workers=workers, devices=devices)
    results = collect(record, folder)
    write_results(results, folder.results)
    write_csv(results, folder.table)
    show_results(results, console)
    done = sum(cell.done for cell in record.cells)
    print(f"{done} of {len(record.cells)} runs done: {folder.results}, {folder.table}")
    left = done < len(record.cells)
    print(f"go on with: gansmith study {folder.path}" if left else f"look at: gansmith report {folder.path}")


def _opened(options: Study) -> tuple[StudyFolder, Record]:
    """The study's folder, and the plan to go on with, which is written before anything is run."""
    from pathlib import Path

    from gansmith.errors import ConfigError
    from gansmith.study.folder import StudyFolder
    from gansmith.study.plan import read_study, shortened
    from gansmith.study.record import planned, read_record, write_record

    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {options.workers}")
    given = Path(options.file)
    begun = read_record(StudyFolder.open(given)) if given.is_dir() else None
    study = begun.study if begun else read_study(given)
    study, cuts = shortened(study, length=options.length, seeds=options.seeds, root=options.root)
    folder = StudyFolder(Path(options.out) if options.out else given if begun else Path("runs") / given.stem)
    record = planned(study, (*(begun.shortened if begun else ()), *cuts), folder)
    with folder.claimed():
        write_record(record, folder)
    return folder, record

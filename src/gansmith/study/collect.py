"""Collect the results of a study: read and measure every run, compare the variants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gansmith import __version__
from gansmith.errors import GansmithError
from gansmith.metrics import list_quantities
from gansmith.metrics.measurement import Measurement, list_differences
from gansmith.metrics.metric import Quantity
from gansmith.plain_json import read_json, read_lines
from gansmith.runs import RunFolder
from gansmith.study.compare import SIGNIFICANT, least_p_of_signs
from gansmith.study.comparisons import compare_variants
from gansmith.study.curves import choose_thresholds, read_curve
from gansmith.study.folder import StudyFolder
from gansmith.study.measures import Evidence, Yardstick, list_measures, measure_run
from gansmith.study.plan import Cell, DataSetting, Study
from gansmith.study.record import Record
from gansmith.study.results import RunResults, SettingResults, StudyResults, VariantFacts
from gansmith.training.config import flat
from gansmith.training.data_facts import DataFacts

__all__ = ["collect"]

MACHINE = ("device_name", "processor", "precision", "threads", "world_size")  # what seconds depend on


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """A cell with the contents of its folder."""

    cell: Cell
    folder: RunFolder
    measurements: Sequence[Measurement]
    evidence: Evidence
    machine: tuple[object, ...] = ()

    @property
    def ended(self) -> bool:
        return self.cell.state in ("finished", "diverged")


def collect(record: Record, folder: StudyFolder) -> StudyResults:
    """Return the results of a study, finished or not.

    Args:
        record: the plan, and the outcome of each cell.
        folder: where the runs are.

    Raises:
        GansmithError: a run's files are damaged.
    """
    study = record.study
    return StudyResults(
        title=study.title,
        question=study.question,
        note=study.note,
        shortened=record.shortened,
        command=record.command,
        gansmith=__version__,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        seeds=study.seed_numbers,
        variants=tuple(
            VariantFacts(
                title=variant.title,
                preset=variant.preset or study.preset,
                changes=tuple(f"{path} = {value}" for path, value in flat(variant.overrides).items()),
            )
            for variant in study.variants
        ),
        settings=tuple(_setting(record, folder, data) for data in study.data),
    )


def _setting(record: Record, folder: StudyFolder, data: DataSetting) -> SettingResults:
    study, cells = record.study, [cell for cell in record.cells if cell.data == data.title]
    metrics = _tracked(folder, cells)
    tracked = metrics[0] if metrics else ""
    num = study.evaluation.num if study.evaluation else 0
    runs = [_read(folder, cell, tracked, num) for cell in cells]
    yardstick, notes = _yardstick(study, data, runs, tracked)
    several = [f"the tracked metric differs ({' and '.join(metrics)})"] if len(metrics) > 1 else []
    quantity = yardstick.quantity
    setting = SettingResults(
        title=data.title,
        facts=_facts(runs),
        length=str(cells[0].config.length),
        tracked=tracked,
        tracked_title=quantity.title if quantity else "",
        tracked_better=quantity.better if quantity else "lower",
        thresholds=yardstick.thresholds,
        incomparable=(*several, *_incomparable(runs)),
        notes=(*notes, *_notes_on_tests(runs)),
        measures=list_measures(yardstick),
        runs=tuple(_results(run, folder, yardstick) for run in runs),
    )
    return compare_variants(setting, [variant.title for variant in study.variants])


# --- reading -----------------------------------------------------------------------------------------------


def _read(folder: StudyFolder, cell: Cell, tracked: str, num: int) -> _Run:
    run = RunFolder(folder.run(cell.title))
    measurements = list(read_lines(run.metrics, Measurement.from_plain))
    ours = [line for line in measurements if line.kind == "evaluation" and line.generated.num == num]
    evaluated = {line.generated.snapshot: line for line in ours}
    last = evaluated.get("last")
    evidence = Evidence(
        state=cell.state,
        curve=read_curve(measurements, tracked),
        stats=run.read_stats(),
        best=evaluated.get("best") if run.best else last,
        last=last,
    )
    return _Run(cell=cell, folder=run, measurements=measurements, evidence=evidence, machine=_machine(run))


def _machine(run: RunFolder) -> tuple[object, ...]:
    try:
        environment = read_json(run.environment)
    except (OSError, ValueError):
        return ()
    return tuple(environment.get(key) for key in MACHINE) if isinstance(environment, dict) else ()


def _tracked(folder: StudyFolder, cells: Sequence[Cell]) -> list[str]:
    """Return the metrics that the runs tracked; one, unless their configurations differ."""
    paths = [RunFolder(folder.run(cell.title)).metrics for cell in cells]
    lines = [line for path in paths for line in read_lines(path, Measurement.from_plain)]
    return list(dict.fromkeys(name for line in lines if line.kind == "tracking" for name in line.values))


def _quantities(study: Study, cells: Sequence[Cell]) -> dict[str, Quantity]:
    trackings = [cell.config.tracking for cell in cells]
    tracked = [tracking.metric for tracking in trackings if tracking is not None and tracking.metric is not None]
    evaluated = study.evaluation.metrics if study.evaluation is not None else None
    return list_quantities((*tracked, *(evaluated or ())))


def _facts(runs: Sequence[_Run]) -> str:
    for run in runs:
        try:
            facts = DataFacts.read(run.folder.data)
        except GansmithError:
            continue
        return f"{facts.title}: {facts.num_images:,} images, {facts.spec(use_labels=False)}"
    return ""


def _results(run: _Run, folder: StudyFolder, yardstick: Yardstick) -> RunResults:
    return RunResults(
        cell=run.cell.title,
        path=run.folder.path.relative_to(folder.path).as_posix(),
        variant=run.cell.variant,
        seed=run.cell.seed,
        state=run.cell.state,
        reason=run.cell.reason,
        curve=tuple(run.evidence.curve),
        measures=measure_run(run.evidence, yardstick),
    )


# --- what all runs of a setting share ------------------------------------------------------------------------


def _yardstick(study: Study, data: DataSetting, runs: Sequence[_Run], tracked: str) -> tuple[Yardstick, list[str]]:
    """Return what the runs are measured by, and notes for the reader."""
    ended = [run for run in runs if run.ended]
    ends = [run.evidence.curve[-1] for run in ended if run.cell.state == "finished" and run.evidence.curve]
    known = _quantities(study, [run.cell for run in runs])
    quantity = known.get(tracked)
    notes, thresholds, one_machine = [], data.thresholds, len({run.machine for run in ended}) <= 1
    if not one_machine:
        notes.append("The runs used different machines or numbers of threads, so their seconds are not compared.")
    if quantity is not None and not thresholds:
        curves = {
            variant.title: [run.evidence.curve for run in ended if run.cell.variant == variant.title]
            for variant in study.variants
        }
        try:
            thresholds = choose_thresholds(curves, quantity.better)
            notes.append(
                "The thresholds were chosen from these runs. The second is the best value of the worst variant's "
                "median run. The first is halfway to it on a logarithmic scale."
            )
        except ValueError as error:
            notes.append(f"No thresholds could be chosen: {error}.")
    names = {name for run in ended for line in (run.evidence.best, run.evidence.last) if line for name in line.values}
    yardstick = Yardstick(
        tracked=tracked,
        quantity=quantity,
        thresholds=thresholds,
        nimg=min((nimg for nimg, _, _ in ends), default=0),
        seconds=min((seconds for _, seconds, _ in ends), default=math.inf) if one_machine and ends else None,
        evaluated={name: found for name, found in known.items() if name in names},
    )
    return yardstick, notes


def _notes_on_tests(runs: Sequence[_Run]) -> list[str]:
    pairs = len({run.cell.seed for run in runs if run.ended})
    least = least_p_of_signs(pairs)
    if pairs < 2 or least < SIGNIFICANT:
        return []
    return [
        f"With {pairs} pairs, the exact sign-flip test cannot give less than p = {least:.3g}. The conclusions rest on "
        "the paired t-test, which assumes that differences between seeds are normally distributed."
    ]


def _incomparable(runs: Sequence[_Run]) -> list[str]:
    """Return why values of these runs must not be compared."""
    clauses: dict[str, None] = {}
    ended = [run for run in runs if run.ended]
    tracking = [next((line for line in run.measurements if line.kind == "tracking"), None) for run in ended]
    for lines in (tracking, [run.evidence.best for run in ended], [run.evidence.last for run in ended]):
        there = [line for line in lines if line is not None]
        clauses |= dict.fromkeys(clause for line in there[1:] for clause in list_differences(there[0], line))
    return list(clauses)

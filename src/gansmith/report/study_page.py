"""Gather the page of a study from its results and the folders of its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gansmith.errors import RunError, command
from gansmith.metrics.measurement import Measurement
from gansmith.report.charts import HALF, TALL, Chart, Frame, Line, draw_chart, to_numbers
from gansmith.report.metric_table import describe_origin
from gansmith.report.reading import Section, attempt, read_measurements, read_object
from gansmith.report.samples import RunPictures
from gansmith.report.settings import split_environment
from gansmith.report.sheets import Picture
from gansmith.runs import RunFolder
from gansmith.study.folder import StudyFolder
from gansmith.study.results import RunResults, SettingResults, StudyResults, read_results
from gansmith.study.tables import ComparisonRow, MeasureRow, list_comparison_tables, list_measure_rows
from gansmith.training.data_facts import DataFacts

__all__ = ["Setting", "StudyPage", "VariantSamples", "gather_study_page"]


@dataclass(frozen=True, kw_only=True)
class VariantSamples:
    """Images of one variant, or the real ones."""

    title: str
    shown: Section[Picture]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The content of the page about one data setting.

    Args:
        results: of the study.
        samples: of each variant, and real images.
        charts: the tracked metric over images and over seconds.
        quality: rows of the measures of quality and convergence.
        stability: rows of the measures of stability.
        comparisons: a table for each pair of variants.
        provenance: the origin of the values, in sentences.
    """

    results: SettingResults
    samples: tuple[VariantSamples, ...]
    charts: Section[list[Chart]]
    quality: list[MeasureRow]
    stability: list[MeasureRow]
    comparisons: list[tuple[str, list[ComparisonRow]]]
    provenance: Section[list[str]]


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """The content of the template of a study, in its order."""

    title: str
    results: StudyResults
    summary: tuple[tuple[str, str], ...]
    settings: tuple[Setting, ...]
    environment: Section[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]


def gather_study_page(folder: StudyFolder) -> StudyPage:
    """Gather a study's page.

    Raises:
        RunError: it has no results, or they cannot be read.
    """
    if not folder.results.exists():
        raise RunError(f"{folder.path}: has no results yet; continue it: {command('study', folder.path)}")
    results = read_results(folder.results)
    return StudyPage(
        title=results.title,
        results=results,
        summary=tuple(_summary(results)),
        settings=tuple(_setting(folder, results, setting) for setting in results.settings),
        environment=attempt(_environment, folder, results, what="environment.json"),
    )


def _summary(results: StudyResults) -> list[tuple[str, str]]:
    runs = [run for setting in results.settings for run in setting.runs]
    states = Counter(run.state for run in runs)
    return [
        ("Variants", ", ".join(variant.title for variant in results.variants)),
        ("Data", ", ".join(setting.title for setting in results.settings)),
        ("Seeds", str(len(results.seeds))),
        ("Runs", ", ".join(f"{num} {state}" for state, num in states.most_common())),
    ]


def _setting(folder: StudyFolder, results: StudyResults, setting: SettingResults) -> Setting:
    variants, name = [variant.title for variant in results.variants], f"setting{results.settings.index(setting)}"
    return Setting(
        results=setting,
        samples=tuple(_samples(folder, setting, variants)),
        charts=attempt(_charts, setting, variants, name, what="The curves"),
        quality=list_measure_rows(setting, variants, ("quality", "convergence")),
        stability=list_measure_rows(setting, variants, ("stability",)),
        comparisons=list_comparison_tables(setting),
        provenance=attempt(_provenance, folder, setting, what="The runs' metrics.jsonl"),
    )


# --- pictures ----------------------------------------------------------------------------------------------


def _samples(folder: StudyFolder, setting: SettingResults, variants: Sequence[str]) -> list[VariantSamples]:
    found, of = [], None
    for variant in variants:
        run = _median_run([run for run in setting.runs if run.variant == variant])
        if run is None:
            found.append(VariantSamples(title=variant, shown=Section(None, "None of its runs has finished.")))
            continue
        pictures = attempt(_pictures, folder, run, what="The run's folder")
        shown = attempt(_shown, pictures, variant, what="The picture")
        found.append(VariantSamples(title=f"{variant}, seed {run.seed}", shown=shown))
        of = of or pictures.content
    if of is not None:
        found.append(VariantSamples(title="Real images", shown=attempt(_shown_real, of, what="real.png")))
    return found


def _median_run(runs: Sequence[RunResults]) -> RunResults | None:
    """Return the median run by best tracked value; the first finished one if nothing was tracked."""
    ended = [run for run in runs if run.state == "finished"]
    ranked = sorted((value, i) for i, run in enumerate(ended) if (value := run.value("tracked/best")) is not None)
    if ranked:
        return ended[ranked[(len(ranked) - 1) // 2][1]]
    return ended[0] if ended else None


def _pictures(folder: StudyFolder, run: RunResults) -> RunPictures:
    found = _folder_of(folder, run)
    return RunPictures(folder=found, config=read_object(found.config), facts=DataFacts.read(found.data))


def _folder_of(folder: StudyFolder, run: RunResults) -> RunFolder:
    path = folder.path / run.path
    if not path.resolve().is_relative_to(folder.path.resolve()):
        raise RunError(f"{run.path} lies outside the study's folder.")
    return RunFolder.open(path)


def _shown(found: Section[RunPictures], title: str) -> Picture:
    pictures = found.needed()
    _, sheet, _ = pictures.best_sheet()
    return pictures.show_few(sheet, f"samples of {title}", 340, more=1)


def _shown_real(pictures: RunPictures) -> Picture:
    sheet = pictures.real_sheet()
    if sheet is None:
        raise RunError("The sheet of real images cannot be read.")
    return pictures.show_few(sheet, "real images", 340, more=1)


# --- curves ------------------------------------------------------------------------------------------------


def _charts(setting: SettingResults, variants: Sequence[str], name: str) -> list[Chart]:
    if not any(run.curve for run in setting.runs):
        raise RunError("No metric was tracked.")
    if setting.incomparable:
        raise RunError(f"These curves are not comparable: {'; '.join(setting.incomparable)}.")
    axes = (("over images", "kimg", "thousand images", 0, 1000), ("over time", "seconds", "seconds of training", 1, 1))
    return [
        _chart(setting, variants, (f"{setting.tracked_title} {title}", f"{name}-{key}", x_title, column, scale))
        for title, key, x_title, column, scale in axes
    ]


def _chart(setting: SettingResults, variants: Sequence[str], axis: tuple[str, str, str, int, int]) -> Chart:
    title, name, x_title, column, scale = axis
    lines: list[Line] = []
    medians: list[Line] = []
    for colour, variant in enumerate(variants):
        curves = [run.curve for run in setting.runs if run.variant == variant and run.curve]
        points = [
            (to_numbers(point[column] / scale for point in curve), to_numbers(point[2] for point in curve))
            for curve in curves
        ]
        lines += [Line(x=x, y=y, colour=colour, thin=True) for x, y in points]
        medians += [_median(points, colour)] if points else []
    alt = f"{title}: a thin line for each seed and a thick one for the median of {', '.join(variants)}"
    frame = Frame(x_title=x_title, size=HALF, log=True)
    svg = draw_chart([*lines, *medians], name=name, alt=alt, frame=frame)
    narrow = draw_chart([*lines, *medians], name=f"{name}-narrow", alt=alt, frame=replace(frame, size=TALL))
    return Chart(title=title, svg=svg, narrow=narrow, legend=tuple(enumerate(variants)))


def _median(points: Sequence[tuple[Sequence[float], Sequence[float]]], colour: int) -> Line:
    """Return the median over runs, where all of them were measured before and after."""
    begin, end = max(x[0] for x, _ in points), min(x[-1] for x, _ in points)
    at = sorted({value for x, _ in points for value in x if begin <= value <= end})
    values = np.median([np.interp(at, x, y) for x, y in points], axis=0)
    return Line(x=at, y=values.tolist(), colour=colour)


# --- what stands behind it ---------------------------------------------------------------------------------


def _measurements(folder: StudyFolder, run: RunResults) -> list[Measurement]:
    return read_measurements(_folder_of(folder, run))


def _machine(folder: StudyFolder, run: RunResults) -> dict[str, Any]:
    return read_object(_folder_of(folder, run).environment)


def _provenance(folder: StudyFolder, setting: SettingResults) -> list[str]:
    """Return the origin of the first run's values; comparable runs of a setting were measured alike."""
    for run in setting.runs:
        found = attempt(_measurements, folder, run, what=run.path).content
        if found:
            newest = {measurement.kind: measurement for measurement in found}
            return [f"{kind.capitalize()}. {' '.join(describe_origin(one)[:3])}" for kind, one in newest.items()]
    raise RunError("No run has values.")


def _environment(folder: StudyFolder, results: StudyResults) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    for setting in results.settings:
        for run in setting.runs:
            plain = attempt(_machine, folder, run, what=run.path).content
            if plain is not None:
                return split_environment(plain)
    raise RunError("No run has left an environment.json.")

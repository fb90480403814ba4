"""Gather the page of a run from its folder, with a sentence in place of what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gansmith.data.class_names import describe_classes
from gansmith.errors import RunError
from gansmith.metrics.measurement import Measurement
from gansmith.numerals import count, duration, kimg, plural
from gansmith.report.charts import Chart, to_numbers
from gansmith.report.curves import best_measurement, draw_statistics, draw_tracked, select_tracked
from gansmith.report.metric_table import EvaluationTable, describe_estimate, describe_main_value, make_evaluation_table
from gansmith.report.reading import Section, attempt, read_events, read_measurements, read_object, read_stats
from gansmith.report.samples import RunPictures, SampleSection, Strip, show_nearest
from gansmith.report.settings import (
    Bar,
    Command,
    Settings,
    describe_settings,
    list_bars,
    list_commands,
    split_environment,
)
from gansmith.report.sheets import Picture
from gansmith.runs import RunFolder
from gansmith.training.data_facts import DataFacts
from gansmith.zoo.places import describe_run, entry_name

__all__ = ["RunPage", "gather_run_page"]


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """The content of the template of a run, in its order."""

    title: str
    verdict: tuple[str, ...]
    summary: tuple[tuple[str, str], ...]
    samples: Section[SampleSection]
    strip: Section[Strip]
    tracked: Section[Chart]
    charts: Section[list[Chart]]
    guard: Section[list[tuple[str, str]]]
    evaluation: Section[EvaluationTable]
    nearest: Section[Picture]
    data: Section[DataFacts]
    bars: tuple[Bar, ...]
    settings: Section[Settings]
    environment: Section[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]
    commands: Section[list[Command]]


@dataclass(frozen=True, kw_only=True)
class _Files:
    """The files of a run, each read once."""

    folder: RunFolder
    config: Section[dict[str, Any]]
    facts: Section[DataFacts]
    status: Section[dict[str, Any]]
    stats: Section[list[dict[str, Any]]]
    measurements: Section[list[Measurement]]
    machine: Section[dict[str, Any]]


def gather_run_page(folder: RunFolder) -> RunPage:
    """Gather a run's page."""
    files = _Files(
        folder=folder,
        config=attempt(read_object, folder.config, what="config.json"),
        facts=attempt(DataFacts.read, folder.data, what="data.json"),
        status=attempt(read_object, folder.status, what="status.json"),
        stats=attempt(read_stats, folder, what="stats.jsonl"),
        measurements=attempt(read_measurements, folder, what="metrics.jsonl"),
        machine=attempt(read_object, folder.environment, what="environment.json"),
    )
    machine, config = files.machine.content or {}, files.config.content or {}
    return RunPage(
        title=entry_name(folder.path) or folder.path.resolve().name,
        verdict=_verdict(files),
        summary=tuple(attempt(_summary, files, what="config.json").content or ()),
        samples=attempt(lambda: _pictures(files).samples(), what="The sheet of samples"),
        strip=attempt(lambda: _pictures(files).strip(), what="The samples during training"),
        tracked=attempt(lambda: draw_tracked(files.measurements.needed()), what="The tracked metric"),
        charts=attempt(lambda: draw_statistics(files.stats.needed()), what="stats.jsonl"),
        guard=attempt(_guard, folder, config, what="events.jsonl"),
        evaluation=attempt(
            lambda: make_evaluation_table(files.measurements.needed(), describe_run(folder.path)), what="metrics.jsonl"
        ),
        nearest=attempt(show_nearest, folder, what="nearest.png"),
        data=files.facts,
        bars=tuple(list_bars(files.facts.content)) if files.facts.content else (),
        settings=attempt(lambda: describe_settings(files.config.needed()), what="config.json"),
        environment=attempt(lambda: split_environment(files.machine.needed()), what="environment.json"),
        commands=attempt(list_commands, describe_run(folder.path), machine, config, what="config.json"),
    )


def _pictures(files: _Files) -> RunPictures:
    return RunPictures(folder=files.folder, config=files.config.needed(), facts=files.facts.needed())


# --- in a sentence -----------------------------------------------------------------------------------------


def _verdict(files: _Files) -> tuple[str, ...]:
    sentences = [attempt(_course, files, what="status.json"), attempt(_best, files, what="metrics.jsonl")]
    return tuple(part.content or part.why for part in sentences)


_RUNNING = {
    True: "Running",
    False: "Interrupted, for example by a kill or a power failure; it can be resumed",
    None: "Running, or interrupted",
}


def _course(files: _Files) -> str:
    """Return how the training went."""
    status, records = files.status.needed(), files.stats.content or []
    last: Mapping[str, Any] = records[-1] if records else {}
    nimg, step = (_counted(status.get(key), last.get(f"progress/{key}")) for key in ("nimg", "step"))
    done = f"{kimg(nimg)} ({plural(step, 'step')})"
    seconds, seen = to_numbers([last.get("progress/seconds"), last.get("progress/nimg")])
    took = f" in {duration(seconds)}, {count(seen / seconds)} images per second" if seconds > 0 and seen > 0 else ""
    begin = {
        "finished": f"Finished after {done}{took}.",
        "stopped": f"Stopped at {done}{took}, before its end; it can be resumed.",
        "failed": f"Failed at {done}{took}: {status.get('reason', 'no reason was recorded')}.",
        "running": f"{_RUNNING[files.folder.is_claimed()]}; so far {done}{took}.",
    }
    return begin.get(str(status.get("state")), f"Unknown state: {status.get('state')}; {done}{took}.")


def _counted(*values: object) -> int:
    """Return the first that is a number; 0 if none is."""
    return next((int(value) for value in to_numbers(values) if value >= 0), 0)


def _best(files: _Files) -> str:
    """Return the first value of the newest evaluation, or else the best tracked value."""
    measurements = files.measurements.needed()
    evaluations = [
        measurement for measurement in measurements if measurement.kind == "evaluation" and measurement.values
    ]
    if evaluations:
        return describe_main_value(evaluations[-1])
    try:
        name, found = select_tracked(measurements)
    except RunError:
        return "Nothing was measured yet."
    best = best_measurement(name, found) or found[-1]
    at = kimg(best.generated.nimg or 0)
    images = plural(best.generated.num, "image")
    return f"Best tracked {describe_estimate(name, best.values[name])}, at {at}, on {images}."


def _guard(folder: RunFolder, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return when, and what the guard reported."""
    events = read_events(folder)
    if not events:
        absent = "guard" in config and config["guard"] is None
        raise RunError("The guard was disabled." if absent else "The guard detected no problem.")
    return [(f"after {kimg(event.nimg)}", f"{event.sentence[:1].upper()}{event.sentence[1:]}.") for event in events]


def _summary(files: _Files) -> list[tuple[str, str]]:
    config, machine = files.config.content or {}, files.machine.content or {}
    rows = []
    if files.facts.content:
        facts = files.facts.content
        classes = f", {describe_classes(facts.class_counts)}" if facts.class_names else ", no labels"
        rows.append(("Data", f"{facts.title}: {plural(facts.num_images, 'image')}, {facts.spec(False)}{classes}"))
    if config:
        rows += [("Preset", str(config.get("preset"))), ("Seed", str(config.get("seed")))]
        rows += _describe_origin(config.get("origin"))
    if machine:
        parts = [machine.get("device_name"), machine.get("precision")]
        rows.append(("Machine", ", ".join(str(part) for part in parts if part)))
    return rows


def _describe_origin(origin: object) -> list[tuple[str, str]]:
    """Return rows about the trained model that the run started from, if there is one."""
    if not isinstance(origin, Mapping):
        return []
    (nimg,) = to_numbers([origin.get("nimg")])
    seen = f", {origin.get('snapshot')} generator, {kimg(nimg)}" if nimg >= 0 else ""
    names = (("Taken", "taken"), ("Adapted", "adapted"), ("Made anew", "new"))
    return [("Started from", f"{origin.get('run')}{seen}"), *((title, str(origin.get(key))) for title, key in names)]

"""How a training goes, from its run folder alone. Nothing in the folder is changed, not even its lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from gansmith.errors import GansmithError
from gansmith.numerals import count, duration, kimg
from gansmith.report.charts import Chart, to_numbers
from gansmith.report.curves import draw_statistics, draw_tracked
from gansmith.report.reading import Section, attempt, read_events, read_measurements, read_object, read_stats
from gansmith.report.sheets import Picture, find_sheets, make_picture
from gansmith.run_list import summarize_run
from gansmith.runs import RunFolder
from gansmith.schedules import Duration, Progress
from gansmith.training.data_facts import DataFacts

__all__ = ["Fingerprint", "LiveRun", "LiveSheet", "read_live", "take_fingerprint"]

MOST_EVENTS = 20
SHEET_WIDTH = 900  # pixels of the page

Fingerprint: TypeAlias = str


@dataclass(frozen=True, kw_only=True)
class LiveSheet:
    """The newest samples of a training."""

    title: str
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """How far a training is.

    Args:
        state: see ``RunSummary``.
        headline: a sentence.
        fraction: of the whole length, in [0, 1]; None if unknown.
        facts: names and values.
        sheet: the newest samples.
        charts: the tracked metric and the statistics.
        missing: sentences about what cannot be shown.
        events: when, and what the guard reported; the newest first.
    """

    state: str
    headline: str
    fraction: float | None
    facts: tuple[tuple[str, str], ...]
    sheet: Section[LiveSheet]
    charts: tuple[Chart, ...]
    missing: tuple[str, ...]
    events: tuple[tuple[str, str], ...]


def take_fingerprint(folder: RunFolder) -> Fingerprint:
    """Return a text that changes when there is something new to show."""
    paths = (folder.status, folder.stats, folder.metrics, folder.events, folder.images)
    return f"{summarize_run(folder.path, look_only=True).state} " + " ".join(map(_age, paths))


def _age(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_mtime_ns}:{status.st_size}"


def read_live(folder: RunFolder, clean: Callable[[str], str] = str) -> LiveRun:
    """Read how a training goes; a sentence takes the place of what is missing or damaged.

    Args:
        folder: the run.
        clean: rewrites sentences from the folder, which may contain paths.
    """
    config = attempt(read_object, folder.config, what="config.json").content or {}
    status = attempt(read_object, folder.status, what="status.json").content or {}
    stats = attempt(read_stats, folder, what="stats.jsonl")
    tracked = attempt(lambda: draw_tracked(read_measurements(folder)), what="The tracked metric")
    charts = attempt(lambda: draw_statistics(stats.needed()), what="stats.jsonl")
    summary = summarize_run(folder.path, look_only=True)
    last: Mapping[str, Any] = stats.content[-1] if stats.content else {}
    fraction = _fraction(folder, config, last)
    sheet = attempt(_newest_sheet, folder, config, what="The sheet of samples")
    return LiveRun(
        state=summary.state,
        headline=clean(_headline(summary.state, status, last, fraction)),
        fraction=fraction,
        facts=_facts(folder, config, last),
        sheet=Section(sheet.content, clean(sheet.why)),
        charts=(*([tracked.content] if tracked.content else ()), *(charts.content or ())),
        missing=tuple(dict.fromkeys(clean(part.why) for part in (charts, tracked) if part.why)),
        events=tuple((when, clean(sentence)) for when, sentence in _events(folder)),
    )


def _headline(state: str, status: Mapping[str, Any], last: Mapping[str, Any], fraction: float | None) -> str:
    seconds, nimg = to_numbers([last.get("progress/seconds"), last.get("progress/nimg")])
    done = kimg(nimg) if nimg > 0 else "no images yet"
    took = f" in {duration(seconds)}" if seconds > 0 else ""
    if state == "failed":
        return f"after {done}{took}: {status.get('reason', 'no reason was recorded')}"
    left = ""
    if state == "running" and fraction and 0.02 < fraction < 1 and seconds > 0:
        left = f", about {duration(max(1, round(seconds / fraction - seconds)))} left"
    return f"{done}{took}{left}"


def _fraction(folder: RunFolder, config: Mapping[str, Any], last: Mapping[str, Any]) -> float | None:
    """Return how much of the length has passed."""
    try:
        length = Duration.from_text(str(config.get("length")))
        size = DataFacts.read(folder.data).num_images
        nimg, step, seconds = (last.get(f"progress/{name}", 0) for name in ("nimg", "step", "seconds"))
        return length.fraction(
            Progress(nimg=int(nimg), step=int(step), seconds=float(seconds), epoch_size=max(1, size))
        )
    except (GansmithError, OSError, ValueError, TypeError, OverflowError):
        return None


def _facts(folder: RunFolder, config: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = [("Preset", str(config.get("preset", ""))), ("Length", str(config.get("length", "")))]
    facts = attempt(DataFacts.read, folder.data, what="data.json").content
    if facts is not None:
        found.insert(0, ("Data", f"{facts.title}: {count(facts.num_images)} images, {facts.spec(False)}"))
    epoch, speed, step = to_numbers(
        [last.get("progress/epoch"), last.get("speed/images_per_second"), last.get("progress/step")]
    )
    found += [("Steps", count(step))] if step >= 0 else []
    found += [("Passes over the data", f"{epoch:,.1f}")] if epoch >= 0 else []
    found += [("Speed", f"{count(speed)} images per second")] if speed > 0 else []
    return tuple(found)


def _newest_sheet(folder: RunFolder, config: Mapping[str, Any]) -> LiveSheet:
    found = find_sheets(folder, config)
    if not found:
        raise GansmithError("Training has saved no samples yet.")
    newest = found[-1]
    pixels = newest.read().pixels
    alt = f"samples at {newest.title}"
    return LiveSheet(title=newest.title, picture=make_picture(pixels, alt, SHEET_WIDTH))


def _events(folder: RunFolder) -> tuple[tuple[str, str], ...]:
    found: Sequence[Any] = attempt(read_events, folder, what="events.jsonl").content or ()
    return tuple((f"after {kimg(each.nimg)}", each.sentence) for each in reversed(found[-MOST_EVENTS:]))

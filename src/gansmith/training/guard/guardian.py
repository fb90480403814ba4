"""Run the guard during training: probe, detect, report, and roll back to a good checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gansmith import dist
from gansmith.component import override, to_plain
from gansmith.errors import DamagedCheckpoint, TrainingDiverged
from gansmith.penalties import scaled_gamma
from gansmith.plain_json import read_lines, write_json
from gansmith.runs import RunFolder
from gansmith.schedules import Progress
from gansmith.training.checkpoint import go_back, save_state
from gansmith.training.checkpoint_files import open_checkpoint, read_state
from gansmith.training.config import Config
from gansmith.training.guard.detectors import compute_chance_loss, detect, detect_not_finite
from gansmith.training.guard.journal import Event, find_active_events, find_new_events
from gansmith.training.guard.lines import average_lines, group_lines, is_guard_line
from gansmith.training.guard.probes import Probes
from gansmith.training.guard.remedies import Remedy, choose_remedy
from gansmith.training.guard.settings import Guard
from gansmith.training.state import TrainState

__all__ = ["Guardian", "add_unwritten_rollback", "open_guardian"]

SPACING = 32  # training images per probed image, so that probing costs about two percent of the time


@dataclass(frozen=True, kw_only=True, eq=False)
class Guardian:
    """Runs the detectors on each line of statistics and rolls back on a failure.

    Only the main process detects; all ranks take part in a rollback.

    Args:
        guard: the settings.
        probes: measure the networks.
        run: where the journal is written.
        chance_loss: see ``compute_chance_loss``.
        operations: returns those of augmentation, should it have to be added; called in the main process. Empty if
            none is known to be safe.
        every_line: look at every line of statistics, because the user has set their interval.
        history: the lines of stats.jsonl, as ``guard.lines`` averages them.
        lines: those since the last one of the history.
        journal: the lines of events.jsonl.
    """

    guard: Guard
    probes: Probes
    run: RunFolder
    chance_loss: float
    operations: Callable[[], Sequence[str]]
    every_line: bool = True
    history: list[Mapping[str, float]] = field(default_factory=list)
    lines: list[Mapping[str, float]] = field(default_factory=list)
    journal: list[Event] = field(default_factory=list)

    def probe(self, state: TrainState) -> dict[str, float]:
        """Run the probes if their interval has elapsed; otherwise return {}."""
        if not self._looks_at(state.nimg, last=state.config.length.reached(state.progress)):
            return {}
        due = self.guard.every.due(self._last_progress(state), state.progress, state.config.length)
        if not due or self._images_since("guard/diversity", state) < SPACING * self.guard.num:
            return {}
        return self.probes.measure(state)

    def detect(self, record: Mapping[str, float], *, last: bool = False) -> list[Event]:
        """Append a line of statistics to the history and return the events to report.

        Args:
            record: the line.
            last: whether it is the last line of the training, which ends an interval of the guard early.
        """
        due = self._looks_at(int(record["progress/nimg"]), last=last)
        self.lines.append(record)
        if not due:
            return []
        self.history.append(average_lines(self.lines))
        self.lines.clear()
        active = find_active_events(self.journal)
        detected = detect(self.guard, self.chance_loss, self.history, active)
        return find_new_events(detected, active, int(record["progress/nimg"]))

    def detect_not_finite(self, state: TrainState) -> Event:
        """Return the event that the weights contain NaN or infinity."""
        last = int(self.history[-1]["progress/nimg"]) if self.history else 0
        return detect_not_finite(state.nimg, since=last)

    def write(self, state: TrainState, event: Event) -> None:
        """Append an event to the journal."""
        self.journal.append(event)
        state.num_events = len(self.journal)
        self.run.append_event(event.to_plain())

    def checkpoint_to_keep(self) -> Path | None:
        """Return the checkpoint to roll back to if an active detection becomes a failure."""
        since = [event.since for event in find_active_events(self.journal).values()]
        return self._good_checkpoint(min(since)) if since else None

    def respond(self, state: TrainState, failure: Event) -> Event | None:
        """Roll back after a failure; all ranks take part.

        Returns:
            The rollback, or None if the guard only warns.

        Raises:
            TrainingDiverged: the guard is set to stop, has nothing left to try, or cannot continue.
        """
        if self.guard.action == "warn" and failure.kind != "not-finite":
            return None
        target, remedy = dist.from_main(lambda: self._plan(state, failure))
        before = state.config
        go_back(state, target, override(before, remedy.changes))
        statistics = state.statistics.to_plain()
        event = replace(
            failure,
            what="rollback",
            sentence=f"back to step {state.step} ({state.nimg / 1000:.0f} kimg): {remedy.sentence}",
            back_to=state.nimg,
            remedy=remedy.thing,
            changes=_old_and_new(to_plain(before), remedy.changes),
        )
        if dist.is_main():
            self._write_rollback(state, event, statistics)
        dist.barrier()
        return event

    # --- before a rollback -------------------------------------------------------------------------------------

    def _plan(self, state: TrainState, failure: Event) -> tuple[Path, Remedy]:
        tried = [event for event in self.journal if event.what == "rollback"]
        target = self._good_checkpoint(failure.since)
        if self.guard.action != "rollback" or len(tried) >= self.guard.max_rollbacks or target is None:
            sentence = self._reason_to_stop(failure, tried, target)
            self.write(state, replace(failure, what="stopped", sentence=sentence))
            raise TrainingDiverged(f"training stopped at step {state.step}: {sentence}")
        active = find_active_events(self.journal)
        remedy = choose_remedy(
            failure.kind,
            active,
            [event.remedy for event in tried],
            to_plain(state.config),
            gamma=scaled_gamma(state.spec, state.config.batch_size),
            operations=self.operations() if "overfitting" in active else (),  # learning them may take seconds
        )
        return target, remedy

    def _good_checkpoint(self, since: int) -> Path | None:
        """Return the newest checkpoint from before the problem, else the oldest that is left."""
        saved = [folder for folder in self.run.checkpoints() if _is_whole(folder)]
        good = [folder for folder in saved if read_state(folder)["nimg"] <= since]
        return good[-1] if good else next(iter(saved), None)

    def _reason_to_stop(self, failure: Event, tried: Sequence[Event], target: Path | None) -> str:
        attempts = f"; tried without success: {', '.join(event.sentence for event in tried)}" if tried else ""
        last = f"the last good checkpoint is {target}" if target else "there is no good checkpoint yet"
        return f"{failure.sentence}{attempts}; {last}"

    # --- the rollback ------------------------------------------------------------------------------------------

    def _write_rollback(self, state: TrainState, event: Event, statistics: Sequence[Mapping[str, Any]]) -> None:
        """Write in an order in which the run can be resumed wherever the process is killed.

        First the journal; then the checkpoint that training returned to is saved again and later ones are dropped;
        the configuration last, see ``add_unwritten_rollback``.
        """
        self.write(state, event)
        self.history[:] = [line for line in self.history if line["progress/nimg"] <= state.nimg]
        self.run.drop_checkpoints_after(state.step)
        keep = state.config.keep_checkpoints
        self.run.add_checkpoint(state.step, lambda folder: save_state(state, folder, statistics), keep)
        write_json(self.run.config, to_plain(state.config))
        self.run.forget_after(state.nimg, state.num_events)
        if not self.every_line:
            self.history[:], self.lines[:] = group_lines(self.run.read_stats())
        self.run.set_status("running", step=state.step, nimg=state.nimg)

    def _looks_at(self, nimg: int, *, last: bool) -> bool:
        """Whether the line after so many images ends one of the guard's intervals."""
        before = int(next((lines[-1]["progress/nimg"] for lines in (self.lines, self.history) if lines), 0))
        return self.every_line or last or is_guard_line(before, nimg)

    def _images_since(self, key: str, state: TrainState) -> int:
        """Return the images since the last line that has a key, or since the start if none has."""
        return state.nimg - int(next((line["progress/nimg"] for line in reversed(self.history) if key in line), 0))

    def _last_progress(self, state: TrainState) -> Progress:
        """Return the progress of the last line."""
        line = self.history[-1] if self.history else {}
        nimg, step, seconds = (line.get(f"progress/{key}", 0) for key in ("nimg", "step", "seconds"))
        return Progress(nimg=int(nimg), step=int(step), seconds=seconds, epoch_size=state.epoch_size)


def open_guardian(
    guard: Guard, probes: Probes, run: RunFolder, state: TrainState, operations: Callable[[], Sequence[str]]
) -> Guardian:
    """Return a guardian with the history and journal of the run.

    Args:
        guard: the settings.
        probes: measure the networks.
        run: its lines after the state's have been dropped already.
        state: where training continues.
        operations: returns those of augmentation, should it have to be added.
    """
    history: list[Mapping[str, float]] = []
    lines: list[Mapping[str, float]] = []
    journal: list[Event] = []
    every_line = state.config.log_every is not None
    head_weights = max((getattr(network, "head_weights", (1.0,)) for network in state.networks.values()), key=sum)
    if dist.is_main():
        written: list[Mapping[str, float]] = [*run.read_stats()]
        history, lines = (written, lines) if every_line else group_lines(written)
        journal += read_lines(run.events, Event.from_plain)
    return Guardian(
        guard=guard,
        probes=probes,
        run=run,
        chance_loss=compute_chance_loss(state.config.loss, head_weights),
        operations=operations,
        every_line=every_line,
        history=history,
        lines=lines,
        journal=journal,
    )


def add_unwritten_rollback(config: Config, run: RunFolder, saved: Mapping[str, Any]) -> Config:
    """Return the configuration with the changes of the newest rollback, which a kill may have left unwritten."""
    events = list(read_lines(run.events, Event.from_plain))[: saved["num_events"]]
    if not events or events[-1].what != "rollback" or events[-1].back_to != saved["nimg"]:
        return config
    plain, changes = to_plain(config), events[-1].changes
    unwritten = {path: new for path, (old, new) in changes.items() if _at(plain, path) == old}
    return override(config, unwritten)


def _is_whole(folder: Path) -> bool:
    try:
        open_checkpoint(folder, needed=())
    except DamagedCheckpoint:
        return False
    return True


def _old_and_new(plain: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {path: (_at(plain, path), new) for path, new in changes.items()}


def _at(plain: Any, path: str) -> Any:
    """Return the value at a dotted path of plain data; None if there is none."""
    for key in path.split("."):
        if isinstance(plain, list):
            plain = plain[int(key)] if key.isdigit() and int(key) < len(plain) else None
        else:
            plain = plain.get(key) if isinstance(plain, Mapping) else None
    return plain

"""The loop around the steps: before, at each step, at each interval, after."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from gansmith import dist
from gansmith.data.resident import BatchAt
from gansmith.errors import TrainingDiverged
from gansmith.metrics.measurement import Measurement
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.schedules import Progress
from gansmith.training.callbacks import Moment
from gansmith.training.guard.guardian import Guardian
from gansmith.training.guard.journal import Event
from gansmith.training.loggers import LogWriter
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.training.tracker import Tracker

__all__ = ["Watcher", "train"]


class Watcher(ABC):
    """Who is told how training goes: the progress bar, or nobody."""

    @abstractmethod
    def step(self, progress: Progress) -> None:
        """A step has been made."""

    @abstractmethod
    def interval(self, progress: Progress, record: dict[str, float]) -> None:
        """Statistics have been written."""

    @abstractmethod
    def picture(self, path: str) -> None:
        """Samples have been written."""

    @abstractmethod
    def measurement(self, measurement: Measurement) -> None:
        """The figure has been measured."""

    @abstractmethod
    def notice(self, sentence: str) -> None:
        """Something has happened that the user should know."""


def train(
    state: TrainState,
    batch_at: BatchAt,
    run: RunFolder,
    sampler: TrainedGenerator,
    *,
    guardian: Guardian | None = None,
    tracker: Tracker | None = None,
    watchers: Sequence[Watcher] = (),
    logs: Sequence[LogWriter] = (),
    stop_asked: Callable[[], bool] = lambda: False,
) -> bool:
    """Train until the configured length is reached or somebody asks to stop; saves at the end either way.

    Args:
        state: where to start; changed in place.
        batch_at: the real images for (nimg, rank, world size), as ``Batches.batch`` gives them.
        run: where everything is written, by the main process.
        sampler: what pictures are made with.
        guardian: sees what goes wrong, and goes back to a good checkpoint.
        tracker: measures how good they are, and keeps the best generator.
        watchers: are told of every step.
        logs: are told the statistics.
        stop_asked: polled after every step.

    Returns:
        whether the length was reached.

    Raises:
        TrainingDiverged: training is ruined, and no guard may or can mend it; the last good checkpoint is named.
    """
    loop = _Loop(state, batch_at, run, sampler, guardian, tracker, watchers, logs)
    if state.step == 0:
        loop.at_start()
    stopped = False
    while not (stopped or state.config.length.reached(state.progress)):
        stopped = loop.one_step(stop_asked)
    loop.at_end(finished=not stopped)
    return not stopped


class _Loop:
    """The loop's few moments: before, at each step, at each interval, after."""

    def __init__(
        self,
        state: TrainState,
        batch_at: BatchAt,
        run: RunFolder,
        sampler: TrainedGenerator,
        guardian: Guardian | None,
        tracker: Tracker | None,
        watchers: Sequence[Watcher],
        logs: Sequence[LogWriter],
    ) -> None:
        self.state, self.batch_at, self.run, self.sampler, self.tracker = state, batch_at, run, sampler, tracker
        self.guardian, self.watchers, self.logs = guardian, watchers, logs
        self.sitting = time.perf_counter() - state.seconds
        self.last_interval = state.progress
        self.last_picture = -1 if state.step == 0 else state.nimg
        self.last_measurement = -1 if state.step == 0 else state.nimg
        self.measurement: Measurement | None = None

    def at_start(self) -> None:
        if self.state.config.samples.at_start:
            self.write_samples()
        if self.guardian:
            self.save()  # to go back to, should the start go wrong

    def one_step(self, stop_asked: Callable[[], bool]) -> bool:
        state, config = self.state, self.state.config
        before = state.progress
        train_step(state, self.batch_at)
        state.seconds, stop = dist.agree(time.perf_counter() - self.sitting, stop_asked())
        now = state.progress
        for watcher in self.watchers:
            watcher.step(now)
        while state.notices:
            self.notice(state.notices.pop(0))
        for callback in config.callbacks:
            if callback.every.due(before, now, config.length):
                self.call_back(callback.call)
        if config.log_every.due(before, now, config.length) or config.length.reached(now):
            self.write_statistics()
        if state.nimg < now.nimg:
            return stop  # the guard went back
        if config.samples.every.due(before, now, config.length):
            self.write_samples()
        if self.tracker and self.tracker.tracking.every.due(before, now, config.length):
            self.judge(self.tracker, sparingly=True)
        if config.checkpoint_every.due(before, now, config.length):
            self.save()
        return stop

    def at_end(self, *, finished: bool) -> None:
        if finished and self.last_picture < self.state.nimg:
            self.write_samples()
        if finished and self.tracker and self.last_measurement < self.state.nimg:
            self.judge(self.tracker, sparingly=False)
        if finished and self.tracker and self.measurement and self.last_measurement == self.state.nimg:
            self.tracker.decide(self.state, self.measurement)
        self.save()

    def notice(self, sentence: str) -> None:
        """Tell the user, and whoever reads environment.json."""
        if dist.is_main():
            self.run.add_note(sentence)
        for watcher in self.watchers:
            watcher.notice(sentence)

    def call_back(self, call: Callable[[Moment], None]) -> None:
        if dist.is_main():
            losses = self.state.statistics.last_means()
            call(Moment(progress=self.state.progress, losses=losses, generator=self.sampler, run=self.run))

    def write_statistics(self) -> None:
        if not self.is_sound():
            return
        progress, past = self.state.progress, self.last_interval
        record = {
            "progress/nimg": progress.nimg,
            "progress/step": progress.step,
            "progress/epoch": round(progress.epoch, 4),
            "progress/seconds": round(progress.seconds, 3),
            **self.state.statistics.collect(),
            "speed/images_per_second": (progress.nimg - past.nimg) / max(1e-9, progress.seconds - past.seconds),
        }
        self.last_interval = progress
        found = dist.from_main(self.probe)
        self.state.learn_from_probes(found)
        record |= found
        if dist.is_main():
            self.run.append_stats(record)
            for log in self.logs:
                log.statistics(record)
            for watcher in self.watchers:
                watcher.interval(progress, record)
        self.guard(record)

    def write_samples(self) -> None:
        self.last_picture = self.state.nimg
        if dist.is_main():
            path = self.state.config.samples.write(self.sampler, self.state.progress, self.run)
            for log in self.logs:
                log.picture(path, self.state.nimg)
            for watcher in self.watchers:
                watcher.picture(str(path))
        dist.barrier()

    def judge(self, tracker: Tracker, *, sparingly: bool) -> None:
        if (sparingly and not tracker.affordable(self.state)) or not self.is_sound():
            return
        self.last_measurement = self.state.nimg
        self.measurement = measurement = tracker.measure(self.state)
        if dist.is_main():
            for log in self.logs:
                log.statistics({"progress/nimg": self.state.nimg, **measurement.named_values()})
            for watcher in self.watchers:
                watcher.measurement(measurement)

    def save(self) -> None:
        if not self.is_sound():
            return
        # All ranks come along: a checkpoint holds the statistics of all.
        plain = self.state.statistics.to_plain()
        if dist.is_main():
            keep, spared = (
                self.state.config.keep_checkpoints,
                self.guardian.checkpoint_to_keep() if self.guardian else None,
            )
            self.run.add_checkpoint(self.state.step, lambda folder: self.state.save(folder, plain), keep, spared)
            self.run.set_status("running", step=self.state.step, nimg=self.state.nimg)
        dist.barrier()

    # --- the guard -----------------------------------------------------------------------------------------

    def probe(self) -> dict[str, float]:
        return self.guardian.probe(self.state) if self.guardian else {}

    def guard(self, record: Mapping[str, float]) -> None:
        """Let the guard see a line of statistics; say what it has to say, and do what it must."""
        guardian = self.guardian
        if guardian is None:
            if max(record["skipped/generator"], record["skipped/discriminator"]) > 0:
                raise self.diverged("a gradient is no number")
            return
        events = dist.from_main(lambda: guardian.detect(record))
        for event in events:
            self.say(guardian, event)
        failures = [event for event in events if event.severity == "failure" and event.what != "over"]
        if failures:
            self.recover(guardian, failures[0])

    def is_sound(self) -> bool:
        """Whether all weights are numbers; where they are not, the guard has done what it can."""
        if dist.from_main(self.state.is_finite):
            return True
        guardian = self.guardian
        if guardian is None:
            raise self.diverged("a weight is no number any more")
        failure = dist.from_main(lambda: guardian.detect_not_finite(self.state))
        self.say(guardian, failure)
        self.recover(guardian, failure)
        return False

    def recover(self, guardian: Guardian, failure: Event) -> None:
        rollback = guardian.respond(self.state, failure)
        if rollback is None:
            return
        self.tell(rollback)
        self.last_interval = self.state.progress
        self.last_picture, self.last_measurement = (
            min(last, self.state.nimg) for last in (self.last_picture, self.last_measurement)
        )

    def say(self, guardian: Guardian, event: Event) -> None:
        if dist.is_main():
            guardian.write(self.state, event)
        self.tell(event)

    def tell(self, event: Event) -> None:
        for log in self.logs:
            log.notice(event.sentence, event.nimg)
        for watcher in self.watchers:
            watcher.notice(f"guard: {event.sentence}")

    def diverged(self, why: str) -> TrainingDiverged:
        saved = self.run.checkpoints()
        last = f"the last good checkpoint is {saved[-1]}" if saved else "there is no good checkpoint yet"
        return TrainingDiverged(
            f"training diverged by step {self.state.step}: {why}; {last}; "
            "try a lower learning rate, or a penalty such as --penalties r1"
        )

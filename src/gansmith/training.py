"""The loop around the steps: before, at each step, at each interval, after."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from gansmith import dist
from gansmith.callbacks import Moment
from gansmith.data.resident import BatchAt
from gansmith.errors import TrainingDiverged
from gansmith.loggers import LogWriter
from gansmith.metrics.judgement import Judgement
from gansmith.runs import RunFolder
from gansmith.sample import TrainedGenerator
from gansmith.schedules import Progress
from gansmith.state import TrainState
from gansmith.steps import train_step
from gansmith.tracker import Tracker

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
    def judgement(self, judgement: Judgement) -> None:
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
        tracker: measures how good they are, and keeps the best generator.
        watchers: are told of every step.
        logs: are told the statistics.
        stop_asked: polled after every step.

    Returns:
        whether the length was reached.

    Raises:
        TrainingDiverged: a loss or a weight is no number any more; the last good checkpoint is named.
    """
    loop = _Loop(state, batch_at, run, sampler, tracker, watchers, logs)
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
        tracker: Tracker | None,
        watchers: Sequence[Watcher],
        logs: Sequence[LogWriter],
    ) -> None:
        self.state, self.batch_at, self.run, self.sampler, self.tracker = state, batch_at, run, sampler, tracker
        self.watchers, self.logs = watchers, logs
        self.sitting = time.perf_counter() - state.seconds
        self.last_interval = state.progress
        self.last_picture = -1 if state.step == 0 else state.nimg
        self.last_judgement = -1 if state.step == 0 else state.nimg

    def at_start(self) -> None:
        if self.state.config.samples.at_start:
            self.write_samples()

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
        if config.log_every.due(before, now, config.length):
            self.write_statistics()
        if config.samples.every.due(before, now, config.length):
            self.write_samples()
        if self.tracker and self.tracker.tracking.every.due(before, now, config.length):
            self.judge(self.tracker, sparingly=True)
        if config.checkpoint_every.due(before, now, config.length):
            self.save()
        return stop

    def at_end(self, *, finished: bool) -> None:
        if finished and self.last_interval.nimg < self.state.nimg:
            self.write_statistics()
        if finished and self.last_picture < self.state.nimg:
            self.write_samples()
        if finished and self.tracker and self.last_judgement < self.state.nimg:
            self.judge(self.tracker, sparingly=False)
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
        self.check_finite()
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
        if dist.is_main():
            self.run.append_stats(record)
            for log in self.logs:
                log.statistics(record)
            for watcher in self.watchers:
                watcher.interval(progress, record)

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
        if sparingly and not tracker.affordable(self.state):
            return
        self.check_finite()
        self.last_judgement = self.state.nimg
        judgement = tracker.measure(self.state)
        if dist.is_main():
            for log in self.logs:
                log.statistics({"progress/nimg": self.state.nimg, **judgement.named_figures()})
            for watcher in self.watchers:
                watcher.judgement(judgement)

    def save(self) -> None:
        self.check_finite()
        # All ranks come along: a checkpoint holds the statistics of all.
        plain = self.state.statistics.to_plain()
        if dist.is_main():
            keep = self.state.config.keep_checkpoints
            self.run.add_checkpoint(self.state.step, lambda folder: self.state.save(folder, plain), keep)
            self.run.set_status("running", step=self.state.step, nimg=self.state.nimg)
        dist.barrier()

    def check_finite(self) -> None:
        if not self.state.is_finite():
            saved = self.run.checkpoints()
            last = f"the last good checkpoint is {saved[-1]}" if saved else "there is no good checkpoint yet"
            raise TrainingDiverged(
                f"training diverged by step {self.state.step}: a loss or a weight is not a number; {last}; "
                "try a lower learning rate, or a penalty such as --penalties r1"
            )

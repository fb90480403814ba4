"""The training loop: what happens at the start, at each step, at each interval and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gansmith import dist
from gansmith.data.resident import BatchAt
from gansmith.errors import TrainingDiverged
from gansmith.metrics.measurement import Measurement
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.schedules import Duration, Progress
from gansmith.training.algorithm_choices import keep_choices
from gansmith.training.checkpoint import save_state
from gansmith.training.config import Config
from gansmith.training.guard.guardian import Guardian
from gansmith.training.guard.journal import Event
from gansmith.training.listeners import Listener, Training
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.training.tracker import Tracker

__all__ = ["choose_log_interval", "run_loop"]

LOG_KIMG, LOG_SHARE = 5, 2  # thousands of images and percent of the length between two lines of statistics


def run_loop(
    state: TrainState,
    batch_at: BatchAt,
    run: RunFolder,
    sampler: TrainedGenerator,
    *,
    guardian: Guardian | None = None,
    tracker: Tracker | None = None,
    listener: Listener | None = None,
    stop_asked: Callable[[], bool] = lambda: False,
) -> bool:
    """Train until the configured length is reached or a stop is requested; save a checkpoint either way.

    Args:
        state: where to start; changed in place.
        batch_at: the real images for (nimg, rank, world size), as ``Batches.batch`` gives them.
        run: the run folder, written by the main process.
        sampler: draws the samples.
        guardian: detects failures and goes back to a good checkpoint.
        tracker: measures the tracked metric and keeps the best generator.
        listener: receives the events; in the main process only.
        stop_asked: polled after every step.

    Returns:
        Whether the length was reached.

    Raises:
        TrainingDiverged: training has failed, and the guard is off or out of remedies; names the last good checkpoint.
    """
    loop = _Loop(state, batch_at, run, sampler, guardian, tracker, listener or Listener())
    if state.step == 0:
        loop.at_start()
    stopped = False
    while not (stopped or state.config.length.reached(state.progress)):
        stopped = loop.one_step(stop_asked)
    loop.at_end(finished=not stopped)
    return not stopped


def choose_log_interval(config: Config, now: Progress) -> Duration:
    """Return the interval of statistics: the user's, else 5 kimg or 2 % of the length, whichever is shorter.

    Args:
        config: of the training.
        now: by its speed so far, a length in time is one in images too.
    """
    if config.log_every is not None:
        return config.log_every
    nimg_of_length = now.nimg / max(config.length.fraction(now), 1e-9)
    long = LOG_SHARE * nimg_of_length / 100 > LOG_KIMG * 1000
    return Duration(LOG_KIMG, "kimg") if long else Duration(LOG_SHARE, "%")


class _Loop:
    """The events of the loop, and the state that they share."""

    def __init__(
        self,
        state: TrainState,
        batch_at: BatchAt,
        run: RunFolder,
        sampler: TrainedGenerator,
        guardian: Guardian | None,
        tracker: Tracker | None,
        listener: Listener,
    ) -> None:
        self.state, self.batch_at, self.run, self.sampler, self.tracker = state, batch_at, run, sampler, tracker
        self.guardian, self.listener = guardian, listener
        self.training = Training(state=state, generator=sampler, run=run, before=state.progress)
        self.began = time.perf_counter() - state.seconds
        self.last_interval = state.progress
        self.last_picture = -1 if state.step == 0 else state.nimg
        self.last_measurement = -1 if state.step == 0 else state.nimg
        self.measurement: Measurement | None = None
        self.num_choices = 0

    def at_start(self) -> None:
        if self.state.config.samples.at_start:
            self.write_samples()
        if self.guardian or self.state.config.init:
            self.save()  # a checkpoint to go back to if the start fails; the trained model may be gone by then

    def one_step(self, stop_asked: Callable[[], bool]) -> bool:
        state, config = self.state, self.state.config
        before = self.training.before = state.progress
        train_step(state, self.batch_at)
        self.keep_new_choices()
        state.seconds, stop = dist.agree(time.perf_counter() - self.began, stop_asked())
        now = state.progress
        self.listener.step(self.training)
        self.pass_notices_on()
        if choose_log_interval(config, now).due(before, now, config.length) or config.length.reached(now):
            self.write_statistics()
        if state.nimg < now.nimg:
            return self.is_asked_to_stop() or stop  # the guard went back
        if config.samples.every.due(before, now, config.length):
            self.write_samples()
        if self.tracker and self.tracker.tracking.every.due(before, now, config.length):
            self.measure(self.tracker, sparingly=True)
        if config.checkpoint_every.due(before, now, config.length):
            self.save()
        return self.is_asked_to_stop() or stop

    def keep_new_choices(self) -> None:
        """Record the algorithms that this step has chosen, so that whatever resumes the run uses them too."""
        table = self.state.algorithms
        if table is not None and len(table.chosen) > self.num_choices:
            self.num_choices = len(table.chosen)
            if dist.is_main():
                keep_choices(table, self.state.compute, self.run)

    def is_asked_to_stop(self) -> bool:
        """Whether a listener has asked to stop; all ranks agree. Only users' listeners ask, so only they cost time."""
        asked, config = bool(self.training.stop_reason), self.state.config
        return dist.agree(0.0, asked)[1] if config.callbacks or config.loggers else asked

    def at_end(self, *, finished: bool) -> None:
        if finished and self.last_picture < self.state.nimg:
            self.write_samples()
        if finished and self.tracker and self.last_measurement < self.state.nimg:
            self.measure(self.tracker, sparingly=False)
        if finished and self.tracker and self.measurement and self.last_measurement == self.state.nimg:
            self.tracker.decide(self.state, self.measurement)
            self.pass_notices_on()
        self.save()
        if self.training.stop_reason and not finished:
            self.notice(f"a callback stopped the training: {self.training.stop_reason}")

    def pass_notices_on(self) -> None:
        while self.state.notices:
            self.notice(self.state.notices.pop(0))

    def notice(self, sentence: str) -> None:
        """Pass a notice on, and add it to environment.json."""
        if dist.is_main():
            self.run.add_note(sentence)
        self.listener.notice(self.training, sentence)

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
        self.state.feedback.learn_from_probes(found)
        record |= found
        if dist.is_main():
            self.run.append_stats(record)
            self.listener.statistics(self.training, record)
        self.guard(record)

    def write_samples(self) -> None:
        self.last_picture = self.state.nimg
        if dist.is_main():
            path = self.state.config.samples.write(self.sampler, self.state.progress, self.run)
            self.listener.picture(self.training, path)
        dist.barrier()

    def measure(self, tracker: Tracker, *, sparingly: bool) -> None:
        if (sparingly and not tracker.affordable(self.state)) or not self.is_sound():
            return
        self.last_measurement = self.state.nimg
        self.measurement = measurement = tracker.measure(self.state)
        if dist.is_main():
            self.listener.measurement(self.training, measurement)

    def save(self) -> None:
        if not self.is_sound():
            return
        # A collective call: a checkpoint holds the statistics of all ranks.
        plain = self.state.statistics.to_plain()
        if dist.is_main():
            keep, spared = (
                self.state.config.keep_checkpoints,
                self.guardian.checkpoint_to_keep() if self.guardian else None,
            )
            self.run.add_checkpoint(self.state.step, lambda folder: save_state(self.state, folder, plain), keep, spared)
            self.run.set_status("running", step=self.state.step, nimg=self.state.nimg)
        dist.barrier()

    # --- the guard -----------------------------------------------------------------------------------------

    def probe(self) -> dict[str, float]:
        return self.guardian.probe(self.state) if self.guardian else {}

    def guard(self, record: Mapping[str, float]) -> None:
        """Let the guard look at a line of statistics, report what it finds, and recover from a failure."""
        guardian = self.guardian
        if guardian is None:
            if any(value > 0 for key, value in record.items() if key.startswith("skipped/")):
                raise self.diverged("a gradient contains NaN or infinity")
            return
        last = self.state.config.length.reached(self.state.progress)
        events = dist.from_main(lambda: guardian.detect(record, last=last))
        for event in events:
            self.report(guardian, event)
        failures = [event for event in events if event.severity == "failure" and event.what != "over"]
        if failures:
            self.recover(guardian, failures[0])

    def is_sound(self) -> bool:
        """Whether all weights are finite; if not, the guard has gone back to a good checkpoint."""
        if dist.from_main(self.state.is_finite):
            return True
        guardian = self.guardian
        if guardian is None:
            raise self.diverged("a weight is NaN or infinite")
        failure = dist.from_main(lambda: guardian.detect_not_finite(self.state))
        self.report(guardian, failure)
        self.recover(guardian, failure)
        return False

    def recover(self, guardian: Guardian, failure: Event) -> None:
        rollback = guardian.respond(self.state, failure)
        if rollback is None:
            return
        self.listener.notice(self.training, f"guard: {rollback.sentence}")
        self.last_interval = self.state.progress
        self.last_picture, self.last_measurement = (
            min(last, self.state.nimg) for last in (self.last_picture, self.last_measurement)
        )

    def report(self, guardian: Guardian, event: Event) -> None:
        if dist.is_main():
            guardian.write(self.state, event)
        self.listener.notice(self.training, f"guard: {event.sentence}")

    def diverged(self, why: str) -> TrainingDiverged:
        saved = self.run.checkpoints()
        last = f"the last good checkpoint is {saved[-1]}" if saved else "there is no good checkpoint yet"
        return TrainingDiverged(
            f"training diverged by step {self.state.step}: {why}; {last}; "
            "try a lower learning rate, or a penalty such as --penalties r1"
        )

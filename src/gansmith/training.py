"""The adversarial steps and the loop around them.

All randomness of a step is a function of the seed and of ``nimg``, over the global batch, of which each rank
keeps its slice. So a resumed training equals one that never stopped, and N ranks equal one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gansmith import dist
from gansmith.callbacks import Moment
from gansmith.data.batches import Batches
from gansmith.errors import TrainingDiverged
from gansmith.images import to_float
from gansmith.loggers import LogWriter
from gansmith.metrics.judgement import Judgement
from gansmith.penalties import DiscriminatorPass, Penalty
from gansmith.runs import RunFolder
from gansmith.sample import TrainedGenerator
from gansmith.schedules import Progress
from gansmith.state import TrainState, random_stream
from gansmith.tracker import Tracker
from gansmith.types import Batch, Images, Labels

__all__ = ["Watcher", "discriminator_step", "generate", "generator_step", "train", "train_step"]

LATENTS, DROPOUT = 1, 2  # purposes of random streams


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


# --- one step ----------------------------------------------------------------------------------------------


def train_step(state: TrainState, batch_at: Callable[[int, int, int], Batch]) -> None:
    """One update of the generator after ``discriminator_steps`` of the discriminator.

    Args:
        state: changed in place.
        batch_at: the real images for (nimg, rank, world size), as ``Batches.batch`` gives them.
    """
    config = state.config
    _set_rates(state)
    for _ in range(config.discriminator_steps):
        batch = batch_at(state.nimg, dist.rank(), dist.world_size()).to(state.compute.device)
        if not state.spec.num_classes:
            batch = Batch(batch.images, None)
        torch.manual_seed(random_stream(config.seed, state.nimg, DROPOUT, dist.rank()).initial_seed())
        fake = generate(state, batch.labels, salt=0)
        discriminator_step(state, batch, fake.detach())
        state.nimg += config.batch_size
    if not config.reuse_fakes:
        fake = generate(state, batch.labels, salt=1)
    generator_step(state, batch, fake)
    state.step += 1
    state.update_ema()


def generate(state: TrainState, labels: Labels | None, salt: int) -> Images:
    """Fakes for this rank's slice of the global batch, with the graph that the generator learns through."""
    share = dist.local_share(state.config.batch_size)
    stream = random_stream(state.config.seed, state.nimg, LATENTS, salt)
    z = state.config.model.draw_latents(state.config.batch_size, stream)[share].to(state.compute.device)
    with state.compute.autocast():
        images: Images = state.generator(z, labels)
    return images


def discriminator_step(state: TrainState, batch: Batch, fake: Images) -> None:
    """Update the discriminator on real and generated images.

    Args:
        state: changed in place.
        batch: this rank's real images.
        fake: as many generated ones, without a graph; made with the labels of the real ones.
    """
    config = state.config
    due = [penalty for penalty in config.penalties if (state.nimg // config.batch_size) % penalty.every == 0]
    scored = _score(state, batch, fake, for_penalties=bool(due))
    per_sample = config.loss.discriminator(scored.real_logits, scored.fake_logits)
    penalties = {_stat_name(penalty): penalty.per_sample(scored) for penalty in due}
    weighted = [penalty.gamma * penalty.every * penalties[_stat_name(penalty)] for penalty in due]
    norm = _descend(sum(weighted, per_sample), state.discriminator, state.discriminator_optimizer)
    state.statistics.add({"gradient/discriminator": norm})
    state.statistics.add(
        {
            "loss/discriminator": per_sample,
            "logits/real": scored.real_logits,
            "logits/fake": scored.fake_logits,
            "accuracy/real": (scored.real_logits > 0).float(),
            "accuracy/fake": (scored.fake_logits < 0).float(),
        }
    )
    if penalties:
        state.statistics.add(penalties)


def generator_step(state: TrainState, batch: Batch, fake: Images) -> None:
    """Update the generator through the discriminator, which is frozen meanwhile.

    Args:
        state: changed in place.
        batch: the real images, scored only by losses that pair them with the fakes.
        fake: generated images with their graph.
    """
    loss = state.config.loss
    with _frozen(state.discriminator), state.compute.autocast():
        fake_logits = state.discriminator(fake, batch.labels)
        real_logits = fake_logits.new_empty(0)
        if loss.pairs:
            with torch.no_grad():
                real_logits = state.discriminator(to_float(batch.images, state.config.model.value_range), batch.labels)
    per_sample = loss.generator(real_logits, fake_logits)
    norm = _descend(per_sample, state.generator, state.generator_optimizer)
    state.statistics.add({"loss/generator": per_sample})
    state.statistics.add({"gradient/generator": norm})


def _score(state: TrainState, batch: Batch, fake: Images, for_penalties: bool) -> DiscriminatorPass:
    real = to_float(batch.images, state.config.model.value_range)
    real.requires_grad_(for_penalties)
    fake.requires_grad_(for_penalties)
    with state.compute.autocast():
        # Apart, as batch statistics of real and generated images are not to be mixed (Radford et al. 2016).
        real_logits = state.discriminator(real, batch.labels)
        fake_logits = state.discriminator(fake, batch.labels)
    return DiscriminatorPass(
        score=state.discriminator,
        real_images=real,
        fake_images=fake,
        labels=batch.labels,
        real_logits=real_logits,
        fake_logits=fake_logits,
    )


def _descend(per_sample: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> Float[Tensor, "1"]:
    """Update the network; returns the length of the whole gradient."""
    optimizer.zero_grad(set_to_none=True)
    per_sample.mean().backward()  # type: ignore[no-untyped-call]
    dist.average_gradients(network.parameters())
    norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
    optimizer.step()
    return norm.reshape(1)


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def _stat_name(penalty: Penalty) -> str:
    return f"penalty/{type(penalty).__name__.lower()}"


def _set_rates(state: TrainState) -> None:
    config = state.config
    fraction = config.length.fraction(state.progress)
    config.generator_optimizer.set_rate(state.generator_optimizer, fraction)
    config.discriminator_optimizer.set_rate(state.discriminator_optimizer, fraction)


# --- the loop ----------------------------------------------------------------------------------------------


def train(
    state: TrainState,
    data: Batches,
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
        data: the real images.
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
    loop = _Loop(state, data, run, sampler, tracker, watchers, logs)
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
        data: Batches,
        run: RunFolder,
        sampler: TrainedGenerator,
        tracker: Tracker | None,
        watchers: Sequence[Watcher],
        logs: Sequence[LogWriter],
    ) -> None:
        self.state, self.data, self.run, self.sampler, self.tracker = state, data, run, sampler, tracker
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
        train_step(state, self.data.batch)
        state.seconds, stop = dist.agree(time.perf_counter() - self.sitting, stop_asked())
        now = state.progress
        for watcher in self.watchers:
            watcher.step(now)
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

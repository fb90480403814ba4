"""What a training would do: the result of a dry run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gansmith.component import to_plain
from gansmith.console import work_progress
from gansmith.devices import Compute, free_bytes
from gansmith.errors import MetricError
from gansmith.models.algorithms import AlgorithmTable
from gansmith.schedules import Progress
from gansmith.training.config import flat
from gansmith.training.messages import describe_data, describe_duration
from gansmith.training.progress_bar import open_console
from gansmith.training.resuming import describe_value
from gansmith.training.stages import Chosen, Prepared
from gansmith.training.tracker import choose_extractor
from gansmith.training.trials import Trials

__all__ = ["Preview", "estimate_training"]

SKIPPED_SHOWN = 10  # files
MEASURED_SECONDS = 1.0  # of the extractor's training, from which its length is estimated
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a training would do. ``lines`` is the text for people, ``to_plain`` the data for programs.

    Args:
        prepared: the images.
        chosen: the configuration, and the reasons of the automatic choices.
        notes: what the user should know.
        num_steps: updates of the generator.
        num_images: real images that the discriminator would see.
        images_per_second: measured in a few steps.
        seconds: of the training, an estimate unless the length is a time.
        extractor_seconds: of the feature extractor's training before it; 0 if it is in the cache or not needed.
        memory_bytes: what a step needs of the device's memory, without the networks and their optimizers.
        free_bytes: the device's free memory; None if it is unknown.
    """

    prepared: Prepared
    chosen: Chosen
    notes: tuple[str, ...]
    num_steps: float
    num_images: float
    images_per_second: float
    seconds: float
    extractor_seconds: float
    memory_bytes: int
    free_bytes: int | None

    @property
    def class_counts(self) -> dict[str, int]:
        """The images of each class, by name; empty without labels."""
        facts = self.prepared.facts
        return dict(zip(facts.class_names, facts.class_counts, strict=True))

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        config = self.chosen.config
        passes = self.num_images / max(1, len(self.prepared.training))
        free = "" if self.free_bytes is None else f" of {self.free_bytes / MIB:,.0f}"
        extractor = describe_duration(self.extractor_seconds)
        yield f"data    {describe_data(self.prepared, use_labels=config.use_labels)}"
        yield from (f"class   {name}: {count:,} images" for name, count in self.class_counts.items())
        skipped = self.prepared.store.skipped
        yield from (f"skipped {name}: {reason}" for name, reason in skipped[:SKIPPED_SHOWN])
        if len(skipped) > SKIPPED_SHOWN:
            yield f"skipped {len(skipped) - SKIPPED_SHOWN:,} files more"
        yield from (f"note    {note}" for note in self.notes)
        yield from (f"auto    {reason}" for reason in self.chosen.reasons)
        yield from (f"init    {line}" for line in (config.origin.lines() if config.origin else ()))
        fields = flat(to_plain(dataclasses.replace(config, origin=None)))
        yield from (f"config  {path} {describe_value(value)}" for path, value in fields.items())
        yield f"memory  about {self.memory_bytes / MIB:,.0f}{free} MiB{' free' if free else ''}"
        yield f"speed   about {self.images_per_second:,.0f} images a second"
        before = f", after {extractor} for the feature extractor (--tracking none skips it)"
        yield (
            f"time    about {describe_duration(self.seconds)} for {self.num_steps:,.0f} steps, {self.num_images:,.0f} "
            f"images, {passes:,.1f} passes over the data{before if self.extractor_seconds else ''}"
        )

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        store = self.prepared.store
        return {
            "data": {
                "title": store.title,
                "num_images": len(store),
                "num_held_out": len(self.prepared.held_out),
                "height": store.spec.height,
                "width": store.spec.width,
                "channels": store.spec.channels,
                "classes": self.class_counts,
                "skipped": [list(pair) for pair in store.skipped],
            },
            "notes": list(self.notes),
            "auto": list(self.chosen.reasons),
            "config": to_plain(self.chosen.config),
            "num_steps": round(self.num_steps),
            "num_images": round(self.num_images),
            "images_per_second": round(self.images_per_second, 1),
            "seconds": round(self.seconds, 3),
            "extractor_seconds": round(self.extractor_seconds, 1),
            "memory_bytes": self.memory_bytes,
            "free_bytes": self.free_bytes,
        }


def estimate_training(
    prepared: Prepared,
    chosen: Chosen,
    compute: Compute,
    notes: Sequence[str],
    algorithms: AlgorithmTable | None = None,
) -> Preview:
    """Measure a few steps on noise, and return what the whole training would take."""
    config = chosen.config
    trials = Trials(prepared.facts.spec(config.use_labels), compute, algorithms)
    speed, per_step = trials.speed(config), config.batch_size * config.discriminator_steps
    step = Progress(nimg=per_step, step=1, seconds=per_step / speed, epoch_size=len(prepared.training))
    num_steps = config.length.amount / config.length.count(step)
    extractor_seconds, trouble = _estimate_extractor(prepared, chosen)
    return Preview(
        prepared=prepared,
        chosen=chosen,
        notes=(*notes, *prepared.store.notes, *compute.notes, *trouble),
        num_steps=num_steps,
        num_images=num_steps * per_step,
        images_per_second=speed,
        seconds=num_steps * step.seconds,
        extractor_seconds=extractor_seconds,
        memory_bytes=(config.micro_batch or config.batch_size) * trials.bytes_per_image(config),
        free_bytes=free_bytes(compute.device),
    )


class _EnoughError(Exception):
    """Ends the training of an extractor when its length can be estimated."""


def _estimate_extractor(prepared: Prepared, chosen: Chosen) -> tuple[float, list[str]]:
    """Return the seconds that the training of the feature extractor takes, 0 if it is cached, and notes."""
    tracking, calls = chosen.config.tracking, list[tuple[float, int]]()
    if tracking is None:
        return 0.0, []
    (extractor, _), estimate = choose_extractor(chosen.config, prepared.store), list[float]()

    def watch(done: int, total: int) -> None:
        show(done, total)
        now = time.perf_counter()
        calls.append((now, done))
        began, first = calls[0]
        if now - began >= MEASURED_SECONDS and done > first:
            estimate.append((now - began) * total / (done - first))
            raise _EnoughError

    try:
        with work_progress("timing the feature extractor", open_console()) as show:
            extractor.network(prepared.store, prepared.training, watch)
    except _EnoughError:
        return estimate[0], []
    except MetricError as error:
        return 0.0, [f"quality tracking off, the last generator is kept: {error}"]
    return 0.0, []

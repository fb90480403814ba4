"""The default preset's choices, by the data, the device, its memory and the length, and what a few steps cost.

What it chooses from, and why it chooses so, was measured: ``docs/log.md`` has the tables, losers too.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gansmith import dist
from gansmith.augment import SAFE_OPERATIONS, AdaptiveAugment
from gansmith.component import override
from gansmith.devices import Compute
from gansmith.metrics.metric import Estimate
from gansmith.metrics.mirror_asymmetry import choose_operations
from gansmith.models.dcgan import DCGAN
from gansmith.penalties import R1, R2, Penalty, scaled_gamma
from gansmith.schedules import Duration, Progress
from gansmith.training.config import Config, differences
from gansmith.training.guard.probes import LEAST_HELD_OUT
from gansmith.training.presets import PRESETS
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, ImageSpec, size_text

__all__ = ["Situation", "Trials", "settle"]

# Width by how many images one of width 32 would see in the time that there is. Measured: 32 against 48, which draw
# level after 330,000 images of 32 x 32 pixels (GTSRB), and 48 against 64, which was behind after 1.2 million (CIFAR-10,
# once, on a machine that was not quiet); the others are guesses from there.
WIDTHS = ((0, 16), (40_000, 24), (120_000, 32), (350_000, 48), (2_500_000, 64), (8_000_000, 96), (25_000_000, 128))
AVERAGING = {"model.upsampling": "nearest", "model.downsampling": "pooled"}
GAMMA = 0.15  # of 32 x 32 pixels and 64 images a step
FEW_VIEWS = 30  # how often an image may be seen before the discriminator is likely to know it by heart
KIMG_TO_FULL = 100  # in which augmentation can rise from never to always: a fifth of ADA's, whose trainings are longer
LONG_TAIL = 5  # times as many images in the largest class as in the smallest
FEWEST_OF_A_CLASS = 3
SHARE_OF_MEMORY = 0.5  # of what is free
AS_GIVEN = "as it was given"
SECONDS_A_PICTURE = 5
LEAST_RAMP, MOST_RAMP, SHORT_TRAINING = 0.05, 0.2, 100_000  # best: 0.05 after 100,000 images, 0.15 after 200,000
RATED_FOR, LEAST_RATE, MOST_RATE = 4_400, 0.25, 4.0  # steps for which the preset's rate is best, and factors on it
LARGEST_BATCH, WORTH_DOUBLING = 512, 1.3
MOST_CYCLES, TRIAL_SECONDS = 5, 0.5  # of a trial


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the choice depends on.

    Args:
        spec: the images, with their classes.
        kind: "digits", "signs" or "photos".
        class_counts: images of each class; empty without labels.
        num_images: that are trained on.
        num_held_out: that are not.
        length: of the training.
        device: "cpu", "cuda" or "mps".
        free_bytes: its memory that is free; None where nobody can say.
        mirror_asymmetry: learns which share of the images can be told from their mirror images; None if nobody can.
    """

    spec: ImageSpec
    kind: str
    class_counts: Sequence[int]
    num_images: int
    num_held_out: int
    length: Duration
    device: str
    free_bytes: int | None
    mirror_asymmetry: Callable[[], Estimate | None] | None = None


class Trials:
    """A few steps of training, to learn what a configuration costs here.

    Args:
        spec: of the images.
        compute: where they run.
    """

    def __init__(self, spec: ImageSpec, compute: Compute) -> None:
        self.spec, self.compute = spec, compute
        self.speeds: dict[Hashable, float] = {}

    def speed(self, config: Config) -> float:
        """Images a second, measured on noise, which costs what real images would; of all processes together."""
        lazy = tuple(penalty.every for penalty in config.penalties)
        matters = (config.model, config.loss, lazy, config.augment, config.batch_size, config.discriminator_steps)
        if matters not in self.speeds:
            self.speeds[matters] = self._measured(config)
        return self.speeds[matters]

    def bytes_per_image(self, config: Config) -> int:
        """What the discriminator's step keeps of each image for the way back."""
        state, batch = self._begun(override(config, {"batch_size": 2 * dist.world_size(), "micro_batch": None}))
        sizes: dict[int, int] = {}

        def weigh(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
            train_step(state, lambda *_: batch)
        return sum(sizes.values()) // 2

    def _measured(self, config: Config) -> float:
        state, batch = self._begun(config)
        cycle = max([1, *(penalty.every for penalty in config.penalties)])  # lazy penalties come once in it
        seconds: list[float] = []
        while len(seconds) < MOST_CYCLES and sum(seconds) < TRIAL_SECONDS:
            seconds.append(self._seconds(state, batch, cycle))
        return cycle * config.batch_size * config.discriminator_steps / min(seconds)

    def _seconds(self, state: TrainState, batch: Batch, num_steps: int) -> float:
        began = time.perf_counter()
        for _ in range(num_steps):
            train_step(state, lambda *_: batch)
        state.is_finite()  # waits for the device
        seconds, _ = dist.agree(time.perf_counter() - began, False)
        return seconds

    def _begun(self, config: Config) -> tuple[TrainState, Batch]:
        state = TrainState.create(config, self.spec, self.compute, epoch_size=config.batch_size)
        stream = torch.Generator().manual_seed(0)
        share = config.batch_size // dist.world_size()
        shape = (share, self.spec.height, self.spec.width, self.spec.channels)
        images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8).permute(0, 3, 1, 2)
        labels = torch.arange(share) % self.spec.num_classes if self.spec.num_classes else None
        return state, Batch(images, labels).to(self.compute.device)


def settle(
    config: Config, given: Collection[str], situation: Situation, trials: Trials
) -> tuple[Config, tuple[str, ...]]:
    """Choose what the user has not.

    Args:
        config: of the preset "auto", with what the user has changed.
        given: dotted paths of fields that the user has set, even if to what they were.
        situation: what the choice depends on.
        trials: what say how much a configuration costs.

    Returns:
        the whole configuration, and a line for each choice with its reason.
    """
    kept = {*given, *differences(PRESETS["auto"].config, config)}
    if _touched("augment", kept):
        situation = dataclasses.replace(situation, mirror_asymmetry=None)  # which takes seconds to learn
    reasons = []
    for choice in (_classes, _network, _batch, _penalties, _augmentation):
        topic, changes, describe = choice(config, situation, trials)
        config = _changed(config, changes, kept)
        as_given = bool(changes) and all(_touched(path, kept) for path in changes)
        reasons.append(f"{topic:8} {AS_GIVEN if as_given else describe(config)}")
    return _changed(config, _pictures(situation), kept), tuple(reasons)


def _changed(config: Config, changes: Mapping[str, Any], kept: Collection[str]) -> Config:
    return override(config, {path: value for path, value in changes.items() if not _touched(path, kept)})


def _touched(path: str, kept: Collection[str]) -> bool:
    """Whether the user has set this field, one around it or one within it."""
    return any(f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.") for other in kept)


# --- the choices, in their order ---------------------------------------------------------------------------

# A word for what is chosen, new values of fields by dotted path, and a clause about the configuration that comes of it,
# in which the user may have set some of these fields.
Choice: TypeAlias = tuple[str, dict[str, Any], Callable[[Config], str]]


def _classes(config: Config, situation: Situation, trials: Trials) -> Choice:
    counts = sorted(count for count in situation.class_counts if count)  # an empty class is not a rare one
    if not counts or not config.use_labels:
        return "classes", {}, lambda settled: "none: all images are one kind"
    if len(counts) < 2 or counts[len(counts) // 2] < FEWEST_OF_A_CLASS:
        few = f"{len(counts)} of so few images ({counts[0]} and more) are left out"
        return "classes", {"use_labels": False}, lambda settled: few
    uneven = counts[-1] >= LONG_TAIL * counts[0]
    how = "the rare ones are shown more often" if uneven else "each as often as the data have it"
    sizes = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    return "classes", {"balance": 0.5 if uneven else 0.0}, lambda settled: f"{len(counts)}, of {sizes} images: {how}"


def _network(config: Config, situation: Situation, trials: Trials) -> Choice:
    if not isinstance(config.model, DCGAN):
        return "network", {}, lambda settled: AS_GIVEN
    averaged = situation.kind == "photos" and config.model.stride == 2  # digits and signs did not gain by it
    resampling = AVERAGING if averaged else {}
    num = _num_images(override(config, resampling), situation, trials)
    width = max(width for fewest, width in WIDTHS if num >= fewest)
    seen = f"{config.length} are {_in_words(num)} images for one of width {config.model.width}"

    def describe(settled: Config) -> str:
        assert isinstance(settled.model, DCGAN)
        averages = (settled.model.upsampling, settled.model.downsampling) == tuple(AVERAGING.values())
        how = ", which average pixels" if averages else ""
        return f"convolutions of width {settled.model.width}{how}: {seen}"

    return "network", {"model.width": width, **resampling}, describe


def _batch(config: Config, situation: Situation, trials: Trials) -> Choice:
    size = config.batch_size
    if situation.device == "cuda":  # whose time goes into starting small jobs
        while size < LARGEST_BATCH and _speedup(config, size, trials) > WORTH_DOUBLING:
            size *= 2
    num = _num_images(dataclasses.replace(config, batch_size=size), situation, trials)
    rate = float(f"{config.generator_optimizer.lr * _haste(num / size):.2g}")
    needed = trials.bytes_per_image(config)
    fitting = _fitting(size, needed, situation.free_bytes)
    ramp = _ramp(num)
    changes: dict[str, Any] = {"batch_size": size, "micro_batch": fitting, "ema_ramp": ramp}
    changes |= {f"{network}_optimizer.lr": rate for network in ("generator", "discriminator")}
    free = "" if situation.free_bytes is None else f" of {situation.free_bytes / 2**20:,.0f} that are free"

    def describe(settled: Config) -> str:
        at_once = settled.micro_batch or settled.batch_size
        in_parts = f", {at_once} at once" if at_once < settled.batch_size else ""
        memory = f"they take {at_once * needed / 2**20:,.0f} MiB{free}"
        average = f"half of the average is of the last {settled.ema_ramp:.0%}"
        return f"{settled.batch_size} images{in_parts}, {_rates(settled)}, {average}: {memory}"

    return "batch", changes, describe


def _rates(config: Config) -> str:
    generator, discriminator = config.generator_optimizer.lr, config.discriminator_optimizer.lr
    return f"rate {generator:g}" if generator == discriminator else f"rates G {generator:g} and D {discriminator:g}"


def _haste(num_steps: float) -> float:
    """The factor on the rate: the fewer steps there are, the larger they must be."""
    return min(MOST_RATE, max(LEAST_RATE, math.sqrt(RATED_FOR / num_steps)))


def _ramp(num_images: float) -> float:
    """The average's half-life as a share of what was seen: the longer training lasts, the less changes in it."""
    return round(min(MOST_RAMP, LEAST_RAMP * max(1.0, math.sqrt(num_images / SHORT_TRAINING))), 3)


def _speedup(config: Config, size: int, trials: Trials) -> float:
    one, two = (dataclasses.replace(config, batch_size=num) for num in (size, 2 * size))
    return trials.speed(two) / trials.speed(one)


def _penalties(config: Config, situation: Situation, trials: Trials) -> Choice:
    gamma = float(f"{scaled_gamma(situation.spec, config.batch_size, GAMMA):.2g}")
    each = {f"penalties.{i}.gamma": gamma for i, penalty in enumerate(config.penalties) if isinstance(penalty, R1 | R2)}
    if not each:
        return "penalty", {}, lambda settled: AS_GIVEN
    reason = (
        f"for {size_text((situation.spec.height, situation.spec.width))} pixels and {config.batch_size} images a step"
    )
    return "penalty", each, lambda settled: f"{', '.join(map(_in_short, settled.penalties))}: {reason}"


def _in_short(penalty: Penalty) -> str:
    if not isinstance(penalty, R1 | R2):
        return type(penalty).__name__
    return f"{type(penalty).__name__} with gamma {penalty.gamma:g} every {penalty.every} steps"


def _augmentation(config: Config, situation: Situation, trials: Trials) -> Choice:
    views = _num_images(config, situation, trials) / situation.num_images
    seen = f"each image is seen about {views:,.0f} times"
    if views < FEW_VIEWS or situation.kind not in SAFE_OPERATIONS:
        return "augment", {}, lambda settled: f"nothing: {seen}" if settled.augment is None else AS_GIVEN
    names, remark = choose_operations(situation.kind, situation.spec.channels, situation.mirror_asymmetry)
    augment = AdaptiveAugment(operations=names, kimg=KIMG_TO_FULL)
    if config.guard is not None and situation.num_held_out >= LEAST_HELD_OUT:
        augment = dataclasses.replace(augment, by="held-out")
    chosen = f"{', '.join(names)} as needed: {'; '.join(filter(None, (seen, remark)))}"
    return "augment", {"augment": augment}, lambda settled: chosen


def _pictures(situation: Situation) -> dict[str, Any]:
    """Seldom enough to take little of a short time."""
    one_second = Progress(nimg=0, step=0, seconds=1, epoch_size=1)
    seconds = situation.length.amount / situation.length.count(one_second) if situation.length.timed else math.inf
    return {"samples.every": f"{SECONDS_A_PICTURE} s"} if seconds < 20 * SECONDS_A_PICTURE else {}


def _num_images(config: Config, situation: Situation, trials: Trials) -> float:
    """How many images training will show; only a length in time takes a trial."""
    length, a_step = situation.length, config.batch_size * config.discriminator_steps
    seconds = a_step / trials.speed(config) if length.timed else 0.0
    step = Progress(nimg=a_step, step=1, seconds=seconds, epoch_size=situation.num_images)
    return a_step * length.amount / length.count(step)


def _fitting(batch_size: int, bytes_per_image: int, free: int | None) -> int | None:
    """How many images at once leave half of the memory alone; None if all do."""
    most = batch_size if free is None else int(SHARE_OF_MEMORY * free / max(1, bytes_per_image))
    return None if most >= batch_size else 1 << max(0, most.bit_length() - 1)


def _in_words(num: float) -> str:
    if num < 1e4:
        return f"{num:,.0f}"
    return f"{num / 1e6:.1f} million" if num >= 1e6 else f"{num / 1e3:.0f} thousand"

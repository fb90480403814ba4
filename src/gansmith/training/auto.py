"""The choices of the default preset: by the data, the device, its memory, the length, and the cost of a few steps.

The alternatives were measured; ``docs/log.md`` has the tables, with what lost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

from gansmith.augment import SAFE_OPERATIONS, AdaptiveAugment
from gansmith.component import override
from gansmith.metrics.metric import Estimate
from gansmith.metrics.mirror_asymmetry import choose_operations
from gansmith.models.dcgan import DCGAN
from gansmith.penalties import R1, R2, Penalty, scaled_gamma
from gansmith.schedules import Duration, Progress
from gansmith.training.config import Config
from gansmith.training.guard.probes import LEAST_HELD_OUT
from gansmith.training.presets import find_set_fields
from gansmith.training.trials import Trials
from gansmith.types import ImageSpec, size_text

__all__ = ["Situation", "choose"]

# Width by the number of images that width 32 would see within the length. Measured: 32 against 48, equal after 330,000
# images of 32 x 32 pixels (GTSRB); 48 against 64, which was behind after 1.2 million (CIFAR-10, one run on a busy
# machine). The other steps are extrapolated.
WIDTHS = ((0, 16), (40_000, 24), (120_000, 32), (350_000, 48), (2_500_000, 64), (8_000_000, 96), (25_000_000, 128))
START = "zoo:photos-64"  # what short trainings on photographs of its size start from, where it is on the machine
START_SIZE, START_WIDTH = (64, 64), 32  # of its images in pixels, of its networks
AVERAGING = {"model.upsampling": "nearest", "model.downsampling": "pooled"}
GAMMA = 0.15  # of 32 x 32 pixels and 64 images a step
FEW_VIEWS = 30  # views of each image from which the discriminator is likely to overfit
KIMG_TO_FULL = 100  # in which augmentation can rise from p = 0 to 1: a fifth of ADA's, made for longer trainings
LONG_TAIL = 5  # largest class over smallest, from which rare classes are shown more often
FEWEST_OF_A_CLASS = 3
SHARE_OF_MEMORY = 0.5  # of what is free
AS_GIVEN = "as you set it"
SECONDS_A_PICTURE = 5
LEAST_RAMP, MOST_RAMP, SHORT_TRAINING = 0.05, 0.2, 100_000  # best: 0.05 after 100,000 images, 0.15 after 200,000
BEST_STEPS, LEAST_RATE, MOST_RATE = 4_400, 0.25, 4.0  # steps for which the preset's learning rate is best; its factors
LARGEST_BATCH, WORTH_DOUBLING = 512, 1.3


@dataclass(frozen=True, kw_only=True)
class Situation:
    """The facts that the choices depend on.

    Args:
        spec: the images, with their classes.
        kind: "digits", "signs" or "photos".
        class_counts: images of each class; empty without labels.
        num_images: images to train on.
        num_held_out: images held out.
        length: of the training.
        device: "cpu", "cuda" or "mps".
        free_bytes: the device's free memory; None if it is unknown.
        has_start: whether ``START`` is on this machine.
        mirror_asymmetry: measures the share of the images that can be told from their mirror images; None if it cannot
            be measured.
    """

    spec: ImageSpec
    kind: str
    class_counts: Sequence[int]
    num_images: int
    num_held_out: int
    length: Duration
    device: str
    free_bytes: int | None
    has_start: bool = False
    mirror_asymmetry: Callable[[], Estimate | None] | None = None


def choose(config: Config, situation: Situation, trials: Trials) -> tuple[Config, tuple[str, ...]]:
    """Choose the fields that the user has not set: see ``presets.find_set_fields``.

    Args:
        config: of the preset "auto", with the user's fields.
        situation: the facts that the choices depend on.
        trials: measure the cost of configurations.

    Returns:
        The whole configuration, and a line for each choice with its reason.
    """
    kept = find_set_fields(config) | config.recipe.ignores
    if _touched("augment", kept):
        situation = dataclasses.replace(situation, mirror_asymmetry=None)  # whose measurement takes seconds
    if any(_touched(path, kept) for path in ("init", "model", "recipe")):
        situation = dataclasses.replace(situation, has_start=False)
    reasons = []
    for choice in (_classes, _network, _batch, _penalties, _augmentation):
        topic, changes, describe = choice(config, situation, trials)
        config = _change(config, changes, kept)
        as_given = bool(changes) and all(_touched(path, kept) for path in changes)
        reasons.append(f"{topic:8} {AS_GIVEN if as_given else describe(config)}")
    return _change(config, _pictures(situation), kept), tuple(reasons)


def _change(config: Config, changes: Mapping[str, Any], kept: Set[str]) -> Config:
    return override(config, {path: value for path, value in changes.items() if not _touched(path, kept)})


def _touched(path: str, kept: Set[str]) -> bool:
    """Whether the user has set this field, one around it or one within it."""
    return any(f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.") for other in kept)


# --- the choices, in their order ---------------------------------------------------------------------------

# A word for what is chosen; new values of fields by dotted path; a function that describes the resulting configuration,
# in which the user may have set some of these fields.
Choice: TypeAlias = tuple[str, dict[str, Any], Callable[[Config], str]]


def _classes(config: Config, situation: Situation, trials: Trials) -> Choice:
    counts = sorted(count for count in situation.class_counts if count)  # an empty class is not a rare one
    if not counts or not config.use_labels:
        return "classes", {}, lambda config: "none: trained without labels"
    if len(counts) < 2 or counts[len(counts) // 2] < FEWEST_OF_A_CLASS:
        few = f"labels unused: {len(counts)} classes with as few as {counts[0]} images"
        return "classes", {"use_labels": False}, lambda config: few
    uneven = counts[-1] >= LONG_TAIL * counts[0]
    how = "rare classes are shown more often" if uneven else "shown in the data's proportions"
    sizes = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    return (
        "classes",
        {"balance": 0.5 if uneven else 0.0},
        lambda config: f"{len(counts)}, with {sizes} images each: {how}",
    )


def _network(config: Config, situation: Situation, trials: Trials) -> Choice:
    if config.init:
        return "network", {}, lambda config: f"that of {config.init}"
    if not isinstance(config.model, DCGAN):
        return "network", {}, lambda config: AS_GIVEN
    averaged = situation.kind == "photos" and config.model.stride == 2  # digits and signs did not gain by it
    resampling = AVERAGING if averaged else {}
    num = _num_images(override(config, resampling), situation, trials)
    width = max(width for fewest, width in WIDTHS if num >= fewest)
    seen = f"in {config.length}, width {config.model.width} would see about {_in_words(num)} images"
    if situation.has_start and width <= START_WIDTH and _fits_start(situation):
        known = f"that of {START}, whose weights know photographs (licence: docs/zoo.md); --init none starts from noise"
        return "network", {"init": START, "model.width": START_WIDTH, **AVERAGING}, lambda config: known

    def describe(config: Config) -> str:
        assert isinstance(config.model, DCGAN)
        averages = (config.model.upsampling, config.model.downsampling) == tuple(AVERAGING.values())
        how = ", nearest-neighbour up, average pooling down" if averages else ""
        return f"width {config.model.width}{how}: {seen}"

    return "network", {"model.width": width, **resampling}, describe


def _fits_start(situation: Situation) -> bool:
    spec = situation.spec
    return situation.kind == "photos" and spec.channels == 3 and (spec.height, spec.width) == START_SIZE


def _batch(config: Config, situation: Situation, trials: Trials) -> Choice:
    size = config.batch_size
    if situation.device == "cuda":  # where launching kernels takes most of the time of a small batch
        while size < LARGEST_BATCH and _speedup(config, size, trials) > WORTH_DOUBLING:
            size *= 2
    num = _num_images(dataclasses.replace(config, batch_size=size), situation, trials)
    haste = min(_haste(num / size), 1.0 if config.init else MOST_RATE)  # a larger rate destroys trained weights
    rate = float(f"{config.generator_optimizer.lr * haste:.2g}")
    needed = trials.bytes_per_image(config)
    fitting = _fitting(size, needed, situation.free_bytes)
    ramp = _ramp(num)
    changes: dict[str, Any] = {"batch_size": size, "micro_batch": fitting, "ema_ramp": ramp}
    changes |= {f"{network}_optimizer.lr": rate for network in ("generator", "discriminator")}
    free = "" if situation.free_bytes is None else f" of {situation.free_bytes / 2**20:,.0f}"

    def describe(config: Config) -> str:
        at_once = config.micro_batch or config.batch_size
        in_parts = f" in micro-batches of {at_once}" if at_once < config.batch_size else ""
        memory = f"needs {at_once * needed / 2**20:,.0f}{free} MiB{' free' if free else ''}"
        average = f"weights averaged with a half-life of {_half_lives(config)} of training"
        return f"{config.batch_size} images{in_parts}, {_rates(config)}, {average}; {memory}"

    return "batch", changes, describe


def _half_lives(config: Config) -> str:
    shares = (min(1.0, factor * config.ema_ramp) for factor in sorted({*config.ema_factors, 1.0}))
    *others, longest = (f"{float(f'{100 * share:.2g}'):g}" for share in shares)
    return f"{', '.join(others)} or {longest} %" if others else f"{longest} %"


def _rates(config: Config) -> str:
    generator, discriminator = config.generator_optimizer.lr, config.discriminator_optimizer.lr
    same = f"learning rate {generator:g}"
    return same if generator == discriminator else f"learning rates G {generator:g} and D {discriminator:g}"


def _haste(num_steps: float) -> float:
    """The factor on the learning rate: the fewer steps, the larger it is."""
    return min(MOST_RATE, max(LEAST_RATE, math.sqrt(BEST_STEPS / num_steps)))


def _ramp(num_images: float) -> float:
    """The half-life of the averaged weights, as a share of the images seen: the longer the training, the larger."""
    return round(min(MOST_RAMP, LEAST_RAMP * max(1.0, math.sqrt(num_images / SHORT_TRAINING))), 3)


def _speedup(config: Config, size: int, trials: Trials) -> float:
    one, two = (dataclasses.replace(config, batch_size=num) for num in (size, 2 * size))
    return trials.speed(two) / trials.speed(one)


def _penalties(config: Config, situation: Situation, trials: Trials) -> Choice:
    gamma = float(f"{scaled_gamma(situation.spec, config.batch_size, GAMMA):.2g}")
    each = {f"penalties.{i}.gamma": gamma for i, penalty in enumerate(config.penalties) if isinstance(penalty, R1 | R2)}
    if not each:
        return "penalty", {}, lambda config: AS_GIVEN
    size = size_text((situation.spec.height, situation.spec.width))
    reason = f"for {size} pixels and {config.batch_size} images a step"
    return "penalty", each, lambda config: f"{', '.join(map(_in_short, config.penalties))}: {reason}"


def _in_short(penalty: Penalty) -> str:
    if not isinstance(penalty, R1 | R2):
        return type(penalty).__name__
    return f"{type(penalty).__name__} with gamma {penalty.gamma:g} every {penalty.every} steps"


def _augmentation(config: Config, situation: Situation, trials: Trials) -> Choice:
    views = _num_images(config, situation, trials) / situation.num_images
    seen = f"each image is seen about {views:,.0f} times"
    seen = seen if views >= 1 else "training will not complete one pass over the data"
    if views < FEW_VIEWS or situation.kind not in SAFE_OPERATIONS:
        return "augment", {}, lambda config: f"off: {seen}" if config.augment is None else AS_GIVEN
    names, remark = choose_operations(situation.kind, situation.spec.channels, situation.mirror_asymmetry)
    augment = AdaptiveAugment(operations=names, kimg=KIMG_TO_FULL)
    if config.guard is not None and situation.num_held_out >= LEAST_HELD_OUT:
        augment = dataclasses.replace(augment, by="held-out")
    chosen = f"{', '.join(names)}, adaptive: {'; '.join(filter(None, (seen, remark)))}"
    return "augment", {"augment": augment}, lambda config: chosen


def _pictures(situation: Situation) -> dict[str, Any]:
    """Rarely enough to take little of a short training."""
    one_second = Progress(nimg=0, step=0, seconds=1, epoch_size=1)
    seconds = situation.length.amount / situation.length.count(one_second) if situation.length.timed else math.inf
    return {"samples.every": f"{SECONDS_A_PICTURE} s"} if seconds < 20 * SECONDS_A_PICTURE else {}


def _num_images(config: Config, situation: Situation, trials: Trials) -> float:
    """The images that training will see; only a length in time needs a trial."""
    length, a_step = situation.length, config.batch_size * config.discriminator_steps
    seconds = a_step / trials.speed(config) if length.timed else 0.0
    step = Progress(nimg=a_step, step=1, seconds=seconds, epoch_size=situation.num_images)
    return a_step * length.amount / length.count(step)


def _fitting(batch_size: int, bytes_per_image: int, free: int | None) -> int | None:
    """The micro-batch that leaves half of the free memory unused; None if the whole batch does."""
    most = batch_size if free is None else int(SHARE_OF_MEMORY * free / max(1, bytes_per_image))
    return None if most >= batch_size else 1 << max(0, most.bit_length() - 1)


def _in_words(num: float) -> str:
    if num < 1e4:
        return f"{num:,.0f}"
    return f"{num / 1e6:.1f} million" if num >= 1e6 else f"{num / 1e3:.0f} thousand"

"""The probability of augmentation: fixed by a schedule, or adapted to the discriminator's overfitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.component import Between, Component, Fraction, Positive
from gansmith.schedules import Constant, Schedule

__all__ = ["AUGMENTS", "AdaptiveAugment", "Augment", "FixedAugment"]

Value = Float[Tensor, ""]

TARGETS = {"sign": 0.6, "held-out": 0.5}  # Karras et al. 2020, section 3.1


@dataclass(frozen=True, kw_only=True)
class Augment(Component):
    """Random augmentation of real and generated images in front of the discriminator.

    Args:
        operations: names in ``gansmith.augment.OPERATIONS``; empty takes those that are safe for the data.
    """

    table: ClassVar[str] = "gansmith.augment:AUGMENTS"

    operations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FixedAugment(Augment):
    """Augmentation with a given probability.

    With p=1 and "color", "translation" and "cutout" it is DiffAugment (Zhao et al. 2020).

    Args:
        p: probability that an operation is applied to an image, from 0 to 1.
        schedule: factor of p over training.
    """

    p: Fraction = 1.0
    schedule: Schedule = Constant()

    def p_at(self, fraction: float) -> float:
        """Return the probability after this fraction of training, in [0, 1]."""
        return min(1.0, self.p * self.schedule.factor(fraction))


@dataclass(frozen=True, kw_only=True)
class AdaptiveAugment(Augment):
    """Augmentation whose probability rises while the discriminator overfits (ADA; Karras et al. 2020, section 3.1).

    The probability starts at 0.

    Args:
        by: measure of overfitting. "sign": mean sign of the real logits (with a loss on pairs, of real minus fake
            logits); 0 is chance level. "held-out": position of the logits of held-out images between those of training
            images (0) and of generated images (1), which the guard measures at intervals (``guard/overfitting``);
            while that is undefined, the sign.
        target: value of the measure ``by`` at which the probability stays constant; None takes the paper's, 0.6 for
            "sign" and 0.5 for "held-out".
        kimg: thousands of images in which the probability can rise from 0 to 1.
        limit: upper limit of the probability, from 0 to 1; from 0.8 on, augmentation shows in the samples (figure 4
            of the paper).
    """

    by: Literal["sign", "held-out"] = "sign"
    target: Annotated[float, Between(-1, 1)] | None = None
    kimg: Positive = 500.0
    limit: Fraction = 0.8

    def adjust(self, p: Value, nimg: int, *, sign: Value, held_out: Value) -> Value:
        """Return the next probability, in [0, limit], without synchronising with the device.

        Args:
            p: the current probability.
            nimg: images that the discriminator has seen since the last adjustment.
            sign: the measure of that name; NaN leaves p unchanged.
            held_out: the measure "held-out"; NaN where it is undefined.
        """
        targets = TARGETS if self.target is None else {**TARGETS, self.by: self.target}
        excess = sign - targets["sign"]
        if self.by == "held-out":
            excess = torch.where(held_out.isnan(), excess, held_out - targets["held-out"])
        return (p + torch.sign(excess).nan_to_num() * (nimg / (1000 * self.kimg))).clamp(0, self.limit)


AUGMENTS: dict[str, type[Augment] | str] = {"fixed": FixedAugment, "adaptive": AdaptiveAugment}

"""Penalties added to the discriminator's loss, per sample and unreduced, all read from one pass through it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gansmith.component import Component, Positive, PositiveInt
from gansmith.schedules import Constant, Schedule
from gansmith.types import DiscriminatorOutput, Images, ImageSpec, Labels, Logits

__all__ = [
    "PENALTIES",
    "R1",
    "R2",
    "Consistency",
    "DiscriminatorPass",
    "Dragan",
    "FeatureViews",
    "LeCam",
    "Penalty",
    "PerSample",
    "Term",
    "WganGp",
    "scaled_gamma",
]

PerSample: TypeAlias = Float[Tensor, "n"]


@dataclass(frozen=True, kw_only=True)
class FeatureViews:
    """Features of the discriminator, in other circumstances than those of its pass.

    Args:
        modulated: (images, deviation) to their features [n d], with a graph, while what D computes is multiplied by
            noise of mean 1 and this standard deviation, fresh for each image and channel.
        neighbours: for this deviation, features of augmented images whose latents are near those of all m fake images
            of the step, over all ranks, without a graph, [m d].
        rows: which of the m fake images those of the pass are, int64 [n].
        overfitting: see ``augment.AdaptiveAugment``: "held-out", or "sign" while that is undefined. float32 [].
    """

    modulated: Callable[[Images, Float[Tensor, ""]], Float[Tensor, "n d"]]
    neighbours: Callable[[float], Float[Tensor, "m d"]]
    rows: Int64[Tensor, "n"]
    overfitting: Float[Tensor, ""]


@dataclass(frozen=True, kw_only=True)
class DiscriminatorPass:
    """One pass through the discriminator: its inputs and its outputs.

    Args:
        score: (images, labels) to the discriminator's logits [n].
        real_images: leaf of the graph of ``real``, when a penalty is due.
        fake_images: leaf of the graph of ``fake``, likewise.
        labels: of both, as fakes are made with the labels of the reals; None if unconditional.
        real: the discriminator's output of the real images, augmented.
        fake: its output of the fake images, augmented.
        uniform: fresh numbers in [0, 1) for each image, of the shape that is asked for: (c, h, w) gives [n c h w].
        augmented: images after fresh random operations, which are named as in ``augment.OPERATIONS``.
        real_average: moving average of the real logits over the steps so far, float32 [].
        fake_average: moving average of the fake logits, float32 [].
        views: what penalties on features read; None unless one is due. ``real`` and ``fake`` then have features.
    """

    score: Callable[[Images, Labels | None], Logits]
    real_images: Images
    fake_images: Images
    labels: Labels | None
    real: DiscriminatorOutput
    fake: DiscriminatorOutput
    uniform: Callable[[Sequence[int]], Tensor]
    augmented: Callable[[Sequence[str], Images], Images]
    real_average: Float[Tensor, ""]
    fake_average: Float[Tensor, ""]
    views: FeatureViews | None = None

    @property
    def real_logits(self) -> Logits:
        """One float32 logit for each real image, [n]."""
        return self.real.logits

    @property
    def fake_logits(self) -> Logits:
        """One float32 logit for each fake image, [n]."""
        return self.fake.logits


@dataclass(frozen=True, kw_only=True)
class Term(Component):
    """A weighted term of a loss.

    Args:
        gamma: its weight.
        every: computed at every so many steps, and weighted by as much (Karras et al. 2020, appendix B).
        schedule: factor on gamma as training proceeds.
    """

    gamma: Positive = 1.0
    every: PositiveInt = 1
    schedule: Schedule = Constant()

    def weight(self, fraction: float) -> float:
        """Return the factor on a term that is due after this fraction of training."""
        return self.gamma * self.every * self.schedule.factor(fraction)

    def is_due(self, step: int) -> bool:
        """Return whether the term is computed at this step of its network."""
        return step % self.every == 0


@dataclass(frozen=True, kw_only=True)
class Penalty(Term):
    """A term added to the discriminator's loss.

    Args:
        gamma: its weight.
        every: computed at every so many steps, and weighted by as much (Karras et al. 2020, appendix B).
        schedule: factor on gamma as training proceeds.

    Class attributes:
        averages: whether it reads the moving averages of the logits; otherwise they are not updated.
        reads_features: whether it reads features of D; otherwise they are not collected.
        reads_overfitting: whether it reads the guard's estimate, which needs held-out images.
    """

    table: ClassVar[str] = "gansmith.penalties:PENALTIES"
    averages: ClassVar[bool] = False
    reads_features: ClassVar[bool] = False
    reads_overfitting: ClassVar[bool] = False

    @abstractmethod
    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        """Return the unweighted penalty of each image, [n]."""


@dataclass(frozen=True, kw_only=True)
class R1(Penalty):
    """Half the squared gradient at the real images (Mescheder et al. 2018, eq. 9)."""

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        return _squared_gradient(scored.real.penalised_logits, scored.real_images) / 2


@dataclass(frozen=True, kw_only=True)
class R2(Penalty):
    """Half the squared gradient at the fake images (Mescheder et al. 2018, eq. 10)."""

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        return _squared_gradient(scored.fake.penalised_logits, scored.fake_images) / 2


@dataclass(frozen=True, kw_only=True)
class WganGp(Penalty):
    """Gradients of length 1 between each real image and a fake one (Gulrajani et al. 2017, eq. 3)."""

    gamma: Positive = 10.0

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        between = torch.lerp(scored.fake_images, scored.real_images, scored.uniform((1, 1, 1)))
        return _distance_from_slope_one(scored, between)


@dataclass(frozen=True, kw_only=True)
class Dragan(Penalty):
    """Gradients of length 1 around the real images (Kodali et al. 2017, alg. 1).

    Each pixel is moved by up to half the standard deviation of the batch's pixels, a rank's own micro-batch of them.
    """

    gamma: Positive = 10.0

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        real = scored.real_images
        return _distance_from_slope_one(scored, real + 0.5 * real.std() * scored.uniform(real.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class Consistency(Penalty):
    """The same logit for an image and its augmented self, real and fake (Zhao et al. 2021, bCR, alg. 1).

    Args:
        operations: what is done to the image, each to every one; names of ``augment.OPERATIONS``.
    """

    gamma: Positive = 10.0
    operations: tuple[str, ...] = ("shift",)

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        pairs = ((scored.real_images, scored.real_logits), (scored.fake_images, scored.fake_logits))
        again = (scored.score(scored.augmented(self.operations, images), scored.labels) for images, _ in pairs)
        real, fake = ((logits - other).square() for (_, logits), other in zip(pairs, again, strict=True))
        return real + fake


@dataclass(frozen=True, kw_only=True)
class LeCam(Penalty):
    """Logits near the other kind's moving average, against overfitting of few images (Tseng et al. 2021, eq. 5)."""

    averages: ClassVar[bool] = True

    gamma: Positive = 0.3

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        real = (scored.real_logits - scored.fake_average).square()
        fake = (scored.fake_logits - scored.real_average).square()
        return real + fake


def scaled_gamma(spec: ImageSpec, batch_size: int, gamma: float = 1.0) -> float:
    """Return the gamma of R1 and R2 that has the effect on such images that ``gamma`` has on 64 of 32 x 32 pixels.

    The penalty's noise falls with the batch, and a logit is spread over all pixels, so Karras et al. 2020 (ADA,
    appendix C) take pixels over batch. That was far too much after minutes, at 64 pixels and still more at 128; the
    fourth root of the pixels lies between the best two that were tried at either size (``docs/log.md``).
    """
    return gamma * math.pow(spec.height * spec.width / 32**2, 0.25) * (64 / batch_size)


def _squared_gradient(logits: Logits, images: Images) -> PerSample:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3))


def _distance_from_slope_one(scored: DiscriminatorPass, images: Images) -> PerSample:
    leaf = images.detach().requires_grad_()
    squared = _squared_gradient(scored.score(leaf, scored.labels), leaf)
    # The root's slope is infinite at 0, which an untrained or dead discriminator can reach.
    return ((squared + 1e-12).sqrt() - 1).square()


PENALTIES: dict[str, type[Penalty] | str] = {
    "r1": R1,
    "r2": R2,
    "wgan-gp": WganGp,
    "dragan": Dragan,
    "consistency": Consistency,
    "lecam": LeCam,
    "noise-consistency": "gansmith.feature_penalties:NoiseConsistency",
    "fake-contrast": "gansmith.feature_penalties:FakeContrast",
}

"""The adversarial recipe: one generator against one discriminator (Goodfellow et al. 2014, algorithm 1)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from gansmith.data.resident import BatchAt
from gansmith.images.pixels import to_float
from gansmith.losses import discriminator_loss, generator_loss
from gansmith.models.model import GeneratorNetwork
from gansmith.optimizers import Optimizer
from gansmith.penalties import DiscriminatorPass, Penalty, Term
from gansmith.regularizers import GeneratorPass, Regularizer
from gansmith.training.feature_views import FeatureSource
from gansmith.training.memory import micro_batches, retry_in_smaller_parts
from gansmith.training.recipe import Builders, Recipe
from gansmith.training.steps import (
    AUGMENT_FAKE,
    AUGMENT_GENERATED,
    AUGMENT_REAL,
    PENALTIES,
    REGULARIZERS,
    Draws,
    augment,
    draw_latents,
    freeze,
    generate,
    next_batch,
    score,
    select,
    update,
    weigh_due_terms,
)
from gansmith.types import Batch, Images, ImageSpec, Labels, Latents, Logits

if TYPE_CHECKING:
    from gansmith.training.config import Config
    from gansmith.training.state import TrainState

__all__ = ["Adversarial", "discriminator_step", "generator_step"]


@dataclass(frozen=True, kw_only=True)
class Adversarial(Recipe):
    """One generator update after ``discriminator_steps`` of the discriminator (Goodfellow et al. 2014, algorithm 1)."""

    def networks(self, config: Config, spec: ImageSpec) -> Builders:
        generator, discriminator = config.model.generator, config.model.discriminator
        return {
            "generator": functools.partial(generator, spec),
            "discriminator": functools.partial(discriminator, spec),
        }

    def optimizers(self, config: Config) -> Mapping[str, Optimizer]:
        return {"generator": config.generator_optimizer, "discriminator": config.discriminator_optimizer}

    def generator(self, networks: Mapping[str, nn.Module]) -> GeneratorNetwork:
        return cast(GeneratorNetwork, networks["generator"])

    def step(self, state: TrainState, batch_at: BatchAt) -> None:
        config = state.config
        for _ in range(config.discriminator_steps):
            batch = next_batch(state, batch_at)
            z = draw_latents(state, salt=0)
            fake = generate(state, z, batch.labels)
            discriminator_step(state, batch, fake.detach())
            state.nimg += config.batch_size
        if not config.reuse_fakes:
            z = draw_latents(state, salt=1)
            fake = generate(state, z, batch.labels)
        generator_step(state, batch, fake, z)

    def score(self, state: TrainState, images: Images, labels: Labels | None) -> Logits | None:
        return score(state, state.networks["discriminator"], images, labels).logits


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Per-image values of a pass through the discriminator, without a graph.

    Args:
        loss: adversarial, [n].
        real_logits: [n], or [0] if no real image was scored.
        fake_logits: [n].
        terms: unweighted penalties or regularizers that were due, [n] each, by their key in stats.jsonl.
    """

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    terms: Mapping[str, Tensor]

    @classmethod
    def of(cls, loss: Tensor, scored: DiscriminatorPass | GeneratorPass, terms: Mapping[str, Tensor]) -> _Scored:
        """Return the values of one micro-batch."""
        fake = scored.fake.logits.detach()
        return cls(
            loss=loss.detach(),
            real_logits=fake.new_empty(0) if scored.real is None else scored.real.logits.detach(),
            fake_logits=fake,
            terms={key: each.detach() for key, each in terms.items()},
        )

    @classmethod
    def concatenate(cls, parts: Sequence[_Scored]) -> _Scored:
        """Return the values of all micro-batches."""
        return cls(
            loss=torch.cat([part.loss for part in parts]),
            real_logits=torch.cat([part.real_logits for part in parts]),
            fake_logits=torch.cat([part.fake_logits for part in parts]),
            terms={key: torch.cat([part.terms[key] for part in parts]) for key in parts[0].terms},
        )


# --- the discriminator's step ------------------------------------------------------------------------------


def discriminator_step(state: TrainState, batch: Batch, fake: Images) -> None:
    """Update the discriminator on real and generated images.

    Args:
        state: changed in place.
        batch: this rank's real images.
        fake: as many generated ones, without a graph; made with the labels of the real ones. For penalties that read
            features, they are those of ``draw_latents(state, salt=0)``.
    """
    config = state.config
    due = weigh_due_terms(state, config.penalties, state.nimg // config.batch_size)
    gradients = functools.partial(_discriminator_gradients, state, batch, fake, due)
    scored = retry_in_smaller_parts(state, state.networks["discriminator"], gradients)
    update(state, "discriminator")
    state.feedback.learn_from_logits(config, scored.real_logits, scored.fake_logits)
    state.statistics.add(
        {
            "loss/discriminator": scored.loss,
            "logits/real": scored.real_logits,
            "logits/fake": scored.fake_logits,
            "accuracy/real": (scored.real_logits > 0).float(),
            "accuracy/fake": (scored.fake_logits < 0).float(),
        }
    )
    if scored.terms:
        state.statistics.add(scored.terms)
    if config.augment is not None:
        state.statistics.add({"augment/p": state.feedback.augment_p.reshape(1)})


def _discriminator_gradients(
    state: TrainState, batch: Batch, fake: Images, due: Sequence[tuple[Penalty, float]]
) -> _Scored:
    """Compute the discriminator's gradients of the whole batch, micro-batch by micro-batch."""
    state.optimizers["discriminator"].zero_grad(set_to_none=True)
    parts, inside = [], any(penalty.reads_features for penalty, _ in due)
    source = FeatureSource(state, batch.labels) if inside else None
    for part in micro_batches(state, len(fake)):
        scored = _score_both(state, batch, fake, part, source, for_penalties=bool(due))
        loss = discriminator_loss(state.config.loss, scored.real, scored.fake)
        penalties = [(penalty, weight, penalty.per_sample(scored)) for penalty, weight in due]
        total = sum((weight * each for _, weight, each in penalties), loss)
        (total.sum() / len(fake)).backward()  # type: ignore[no-untyped-call]
        parts.append(_Scored.of(loss, scored, {_stat_key("penalty", term): each for term, _, each in penalties}))
    return _Scored.concatenate(parts)


def _score_both(
    state: TrainState, batch: Batch, fake: Images, part: slice, source: FeatureSource | None, *, for_penalties: bool
) -> DiscriminatorPass:
    features = source is not None
    network, labels = state.networks["discriminator"], select(batch.labels, part)
    real = to_float(batch.images[part], state.config.model.value_range).requires_grad_(for_penalties)
    fake = fake[part].detach().requires_grad_(for_penalties)
    draws = Draws(state, PENALTIES, part)
    # Apart, as batch statistics of real and generated images are not to be mixed (Radford et al. 2016).
    return DiscriminatorPass(
        score=lambda images, labels: score(state, network, images, labels).logits,
        real_images=real,
        fake_images=fake,
        labels=labels,
        real=score(state, network, augment(state, real, part, AUGMENT_REAL), labels, features=features),
        fake=score(state, network, augment(state, fake, part, AUGMENT_FAKE), labels, features=features),
        uniform=draws.uniform,
        augmented=draws.augmented,
        real_average=state.feedback.logit_averages[0],
        fake_average=state.feedback.logit_averages[1],
        views=source.views(part, draws) if source else None,
    )


# --- the generator's step ----------------------------------------------------------------------------------


def generator_step(state: TrainState, batch: Batch, fake: Images, z: Latents) -> None:
    """Update what makes images through the discriminator, which is frozen meanwhile.

    Args:
        state: changed in place.
        batch: the real images, scored only by losses and regularizers that read them.
        fake: generated images with their graph.
        z: their latents.
    """
    due = weigh_due_terms(state, state.config.regularizers, state.step)
    leaf = fake.detach().requires_grad_()
    discriminator = state.networks["discriminator"]
    with freeze(discriminator):
        gradients = functools.partial(_generator_gradients, state, batch, leaf, z, due)
        scored = retry_in_smaller_parts(state, discriminator, gradients)
        fake.backward(leaf.grad)  # type: ignore[no-untyped-call]
        for name in state.config.recipe.generators:
            update(state, name)
    state.statistics.add({"loss/generator": scored.loss})
    if scored.terms:
        state.statistics.add(scored.terms)


def _generator_gradients(
    state: TrainState, batch: Batch, leaf: Images, z: Latents, due: Sequence[tuple[Regularizer, float]]
) -> _Scored:
    """Compute the gradient of the fake images in ``leaf.grad``, micro-batch by micro-batch."""
    for name in state.config.recipe.generators:
        state.optimizers[name].zero_grad(set_to_none=True)
    leaf.grad = None
    parts = []
    with_real = state.config.loss.pairs or any(regularizer.reads_real for regularizer, _ in due)
    for part in micro_batches(state, len(leaf)):
        scored = _score_fakes(state, batch, leaf, z, part, with_real=with_real)
        loss = generator_loss(state.config.loss, scored.real, scored.fake)
        terms = [(regularizer, weight, regularizer.per_sample(scored)) for regularizer, weight in due]
        total = sum((weight * each for _, weight, each in terms), loss)
        (total.sum() / len(leaf)).backward()  # type: ignore[no-untyped-call]
        parts.append(_Scored.of(loss, scored, {_stat_key("regularizer", term): each for term, _, each in terms}))
    return _Scored.concatenate(parts)


def _score_fakes(
    state: TrainState, batch: Batch, leaf: Images, z: Latents, part: slice, *, with_real: bool
) -> GeneratorPass:
    network, labels = state.networks["discriminator"], select(batch.labels, part)
    fake = score(state, network, augment(state, leaf[part], part, AUGMENT_GENERATED), labels)
    real = None
    if with_real:
        with torch.no_grad():
            images = to_float(batch.images[part], state.config.model.value_range)
            real = score(state, network, augment(state, images, part, AUGMENT_REAL), labels)
    return GeneratorPass(
        generate=functools.partial(generate, state),
        latents=z[part],
        fresh_latents=lambda: draw_latents(state, salt=0, purpose=REGULARIZERS)[part],
        labels=labels,
        fake_images=leaf[part],
        fake=fake,
        real=real,
    )


def _stat_key(kind: str, term: Term) -> str:
    return f"{kind}/{type(term).__name__.lower()}"

"""One update of the two networks.

All randomness of a step is a function of the seed and of ``nimg``, over the global batch, of which each rank
keeps its slice. So a resumed training equals one that never stopped, and N ranks equal one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from gansmith import dist
from gansmith.augment import Transform, draw
from gansmith.data.resident import BatchAt
from gansmith.devices import out_of_memory
from gansmith.images.pixels import to_float
from gansmith.penalties import DiscriminatorPass, Penalty
from gansmith.training.state import TrainState, random_stream
from gansmith.types import Batch, Images, Labels, send

__all__ = ["discriminator_step", "generate", "generator_step", "train_step"]

# Purposes of random streams.
LATENTS, DROPOUT, AUGMENT_REAL, AUGMENT_FAKE, AUGMENT_GENERATED, PENALTIES = 1, 2, 3, 4, 5, 6


def train_step(state: TrainState, batch_at: BatchAt) -> None:
    """One update of the generator after ``discriminator_steps`` of the discriminator.

    Args:
        state: changed in place.
        batch_at: the real images for (nimg, rank, world size), as ``Batches.batch`` gives them.
    """
    config = state.config
    state.follow_schedules()
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
    z = send(state.config.model.draw_latents(state.config.batch_size, stream)[share], state.compute.device)
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
    weights = [penalty.weight(config.length.fraction(state.progress)) for penalty in due]

    def backward(part: slice) -> dict[str, Tensor]:
        scored = _score(state, batch, fake, part, for_penalties=bool(due))
        per_sample = config.loss.discriminator(scored.real_logits, scored.fake_logits)
        penalties = [penalty.per_sample(scored) for penalty in due]
        total = sum((weight * each for weight, each in zip(weights, penalties, strict=True)), per_sample)
        (total.sum() / len(fake)).backward()  # type: ignore[no-untyped-call]
        return {
            "loss/discriminator": per_sample,
            "logits/real": scored.real_logits,
            "logits/fake": scored.fake_logits,
            **{_stat_name(penalty): each for penalty, each in zip(due, penalties, strict=True)},
        }

    found = _descend(state, "discriminator", len(fake), backward)
    real, fakes = found["logits/real"], found["logits/fake"]
    state.learn_from_logits(real, fakes)
    penalties = {name: found.pop(name) for name in list(found) if name.startswith("penalty/")}
    state.statistics.add({**found, "accuracy/real": (real > 0).float(), "accuracy/fake": (fakes < 0).float()})
    if penalties:
        state.statistics.add(penalties)
    if config.augment is not None:
        state.statistics.add({"augment/p": state.augment_p.reshape(1)})


def generator_step(state: TrainState, batch: Batch, fake: Images) -> None:
    """Update the generator through the discriminator, which is frozen meanwhile.

    Args:
        state: changed in place.
        batch: the real images, scored only by losses that pair them with the fakes.
        fake: generated images with their graph.
    """
    loss = state.config.loss
    leaf = fake.detach().requires_grad_()

    def backward(part: slice) -> dict[str, Tensor]:
        if part.start == 0:
            leaf.grad = None
        labels = None if batch.labels is None else batch.labels[part]
        seen = _augmented(state, leaf[part], part, AUGMENT_GENERATED)
        with state.compute.autocast():
            fake_logits = state.discriminator(seen, labels)
            real_logits = fake_logits.new_empty(0)
            if loss.pairs:
                with torch.no_grad():
                    real = to_float(batch.images[part], state.config.model.value_range)
                    real_logits = state.discriminator(_augmented(state, real, part, AUGMENT_REAL), labels)
        per_sample = loss.generator(real_logits, fake_logits)
        (per_sample.sum() / len(fake)).backward()  # type: ignore[no-untyped-call]
        return {"loss/generator": per_sample}

    def reach_generator() -> None:
        fake.backward(leaf.grad)  # type: ignore[no-untyped-call]

    with _frozen(state.discriminator):
        found = _descend(state, "generator", len(fake), backward, before_update=reach_generator)
    state.statistics.add(found)


# --- what the discriminator sees ---------------------------------------------------------------------------


def _score(state: TrainState, batch: Batch, fake: Images, part: slice, *, for_penalties: bool) -> DiscriminatorPass:
    real = to_float(batch.images[part], state.config.model.value_range)
    fake = fake[part].detach()
    real.requires_grad_(for_penalties)
    fake.requires_grad_(for_penalties)
    labels = None if batch.labels is None else batch.labels[part]

    def score(images: Images, labels: Labels | None) -> Tensor:
        with state.compute.autocast():
            logits: Tensor = state.discriminator(images, labels)
        return logits

    draws = _Draws(state, PENALTIES, part)
    # Apart, as batch statistics of real and generated images are not to be mixed (Radford et al. 2016).
    return DiscriminatorPass(
        score=score,
        real_images=real,
        fake_images=fake,
        labels=labels,
        real_logits=score(_augmented(state, real, part, AUGMENT_REAL), labels),
        fake_logits=score(_augmented(state, fake, part, AUGMENT_FAKE), labels),
        uniform=draws.uniform,
        augmented=draws.augmented,
        real_average=state.logit_averages[0],
        fake_average=state.logit_averages[1],
    )


def _augmented(state: TrainState, images: Images, part: slice, purpose: int) -> Images:
    augment = state.config.augment
    on_processor = state.augment_p.device.type == "cpu"  # elsewhere asking for the probability would wait for it
    if augment is None or (on_processor and not state.augment_p):
        return images
    transform = _Draws(state, purpose, part).transform(augment.operations)
    return transform(images, state.augment_p, state.config.model.value_range)


class _Draws:
    """The random numbers of one step and purpose for some of this rank's images.

    They are drawn for the whole global batch, so that neither ranks nor micro-batches change them.
    """

    def __init__(self, state: TrainState, purpose: int, part: slice) -> None:
        config = state.config
        first = dist.local_share(config.batch_size).start
        self.state, self.num = state, config.batch_size
        self.rows = slice(first + part.start, first + part.stop)
        self.place = (config.seed, state.nimg, purpose)
        self.stream: torch.Generator | None = None

    def transform(self, operations: Sequence[str]) -> Transform:
        """Random operations."""
        return draw(operations, self.num, self.state.spec, self._stream()).part(self.rows).to(self.state.compute.device)

    def augmented(self, operations: Sequence[str], images: Images) -> Images:
        """Images after random operations, all of which happen to all of them."""
        return self.transform(operations)(images, 1.0, self.state.config.model.value_range)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Numbers in [0, 1) of this shape for each image."""
        numbers = torch.rand(self.num, *shape, generator=self._stream())
        return send(numbers[self.rows], self.state.compute.device)

    def _stream(self) -> torch.Generator:
        if self.stream is None:
            self.stream = random_stream(*self.place)
        return self.stream


# --- updates -----------------------------------------------------------------------------------------------


def _descend(
    state: TrainState,
    name: Literal["generator", "discriminator"],
    num: int,
    backward: Callable[[slice], dict[str, Tensor]],
    before_update: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """Update a network with the gradients that ``backward`` leaves for each micro-batch.

    Returns:
        what ``backward`` found, of all images.
    """
    network: nn.Module = getattr(state, name)
    optimizer: torch.optim.Optimizer = getattr(state, f"{name}_optimizer")
    found = _in_parts(state, num, optimizer, backward)
    before_update()
    dist.average_gradients(network.parameters())
    norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]).reshape(1)
    finite = torch.isfinite(norm)
    _step_if(finite, optimizer)
    state.statistics.add({f"gradient/{name}": norm, f"skipped/{name}": (~finite).float()})
    return found


def _step_if(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Update unless the gradient is no number; fused optimizers leave the step out without waiting for the device."""
    if finite.device.type in ("cpu", "cuda") and getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~finite).float().squeeze()  # type: ignore[attr-defined]
        optimizer.step()
    elif bool(finite):
        optimizer.step()


def _in_parts(
    state: TrainState,
    num: int,
    optimizer: torch.optim.Optimizer,
    backward: Callable[[slice], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """All gradients, in smaller micro-batches from now on if memory runs out; the sums are the same."""
    while True:
        optimizer.zero_grad(set_to_none=True)
        try:
            size = min(num, state.micro_batch)
            found = [backward(slice(start, min(start + size, num))) for start in range(0, num, size)]
            return {key: torch.cat([part[key] for part in found]) for key in found[0]}
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        state.halve_micro_batch()  # outside the handler, whose traceback keeps the tensors alive


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def _stat_name(penalty: Penalty) -> str:
    return f"penalty/{type(penalty).__name__.lower()}"

"""What a step is made of, for any recipe: real batches, latents, fakes, augmentation, updates.

All randomness of a step is a function of the seed and of ``nimg``, over the global batch, of which each rank
keeps its slice. So a resumed training equals one that never stopped, and N ranks equal one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from gansmith import dist
from gansmith.augment import Transform, draw
from gansmith.data.resident import BatchAt
from gansmith.models.penultimate import record_features
from gansmith.penalties import Term
from gansmith.training.state import TrainState, random_stream
from gansmith.types import Batch, DiscriminatorOutput, Images, Labels, Latents, send

__all__ = [
    "AUGMENT_FAKE",
    "AUGMENT_GENERATED",
    "AUGMENT_NEIGHBOURS",
    "AUGMENT_REAL",
    "NEIGHBOURS",
    "PENALTIES",
    "REGULARIZERS",
    "Draws",
    "augment",
    "descend",
    "draw_latents",
    "freeze",
    "generate",
    "next_batch",
    "score",
    "select",
    "train_step",
    "update",
    "weigh_due_terms",
]

T = TypeVar("T", bound=Term)

# Purposes of random streams.
LATENTS, DROPOUT, AUGMENT_REAL, AUGMENT_FAKE, AUGMENT_GENERATED, PENALTIES, REGULARIZERS = 1, 2, 3, 4, 5, 6, 7
NEIGHBOURS, AUGMENT_NEIGHBOURS = 8, 9


def train_step(state: TrainState, batch_at: BatchAt) -> None:
    """Make one step of the recipe, and move the averages.

    Args:
        state: changed in place.
        batch_at: real images for (nimg, rank, world size), as ``Batches.batch`` returns them.
    """
    before = state.nimg
    state.follow_schedules()
    with state.algorithms.used() if state.algorithms else nullcontext():
        state.config.recipe.step(state, batch_at)
    state.step += 1
    state.update_averages(state.nimg - before)


# --- inputs ------------------------------------------------------------------------------------------------


def next_batch(state: TrainState, batch_at: BatchAt) -> Batch:
    """Return this rank's real images at ``state.nimg`` on the device, and seed dropout for them."""
    batch = batch_at(state.nimg, dist.rank(), dist.world_size()).to(state.compute.device)
    torch.manual_seed(random_stream(state.config.seed, state.nimg, DROPOUT, dist.rank()).initial_seed())
    return batch if state.spec.num_classes else Batch(batch.images, None)


def draw_latents(state: TrainState, salt: int, purpose: int = LATENTS) -> Latents:
    """Return this rank's slice of the global batch of latents, float32 [n z], on the device.

    Args:
        state: its seed and ``nimg`` decide the latents.
        salt: another number gives other latents at the same ``nimg``.
        purpose: of the random stream.
    """
    share = dist.local_share(state.config.batch_size)
    stream = random_stream(state.config.seed, state.nimg, purpose, salt)
    return send(state.config.model.draw_latents(state.config.batch_size, stream)[share], state.compute.device)


def generate(state: TrainState, z: Latents, labels: Labels | None) -> Images:
    """Return the generator's images, with the graph that it learns through."""
    with state.compute.autocast():
        images: Images = state.generator(z, labels)
    return images


def select(labels: Labels | None, part: slice) -> Tensor | None:
    """Return a part of the labels; None if there are none."""
    return None if labels is None else labels[part]


def score(
    state: TrainState, network: nn.Module, images: Images, labels: Labels | None, *, features: bool = False
) -> DiscriminatorOutput:
    """Return a discriminator's output of images.

    Args:
        state: its precision.
        network: the discriminator.
        images: in the model's range.
        labels: of the images; None if unconditional.
        features: whether to add what its head reads to an output without features.
    """
    with state.compute.autocast(), ExitStack() as stack:
        found = stack.enter_context(record_features(network)) if features else []
        output = DiscriminatorOutput.of(network(images, labels))
    return output if output.features else dataclasses.replace(output, features=tuple(found))


def augment(state: TrainState, images: Images, part: slice, purpose: int) -> Images:
    """Return images after the configured augmentation.

    Args:
        state: how probable it is.
        images: of this part.
        part: which of this rank's images they are.
        purpose: of the random stream.
    """
    augmentation, p = state.config.augment, state.feedback.augment_p
    on_processor = p.device.type == "cpu"  # elsewhere reading the probability would wait for the device
    if augmentation is None or (on_processor and not p):
        return images
    transform = Draws(state, purpose, part).transform(augmentation.operations)
    return transform(images, p, state.config.model.value_range)


class Draws:
    """The random numbers of one step and purpose for some of this rank's images.

    They are drawn for the whole global batch, so that neither ranks nor micro-batches change them.
    """

    def __init__(self, state: TrainState, purpose: int, part: slice) -> None:
        config = state.config
        first = dist.local_share(config.batch_size).start
        self.state, self.num = state, config.batch_size
        self.rows = slice(first + part.start, first + part.stop)
        self.position = (config.seed, state.nimg, purpose)
        self.stream: torch.Generator | None = None

    def transform(self, operations: Sequence[str]) -> Transform:
        """Return random operations."""
        return draw(operations, self.num, self.state.spec, self._stream()).part(self.rows).to(self.state.compute.device)

    def augmented(self, operations: Sequence[str], images: Images) -> Images:
        """Return images after random operations, each applied to every image."""
        return self.transform(operations)(images, 1.0, self.state.config.model.value_range)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Return numbers in [0, 1) of this shape for each image."""
        numbers = torch.rand(self.num, *shape, generator=self._stream())
        return send(numbers[self.rows], self.state.compute.device)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return standard normal numbers of this shape for each image."""
        numbers = torch.randn(self.num, *shape, generator=self._stream())
        return send(numbers[self.rows], self.state.compute.device)

    def _stream(self) -> torch.Generator:
        if self.stream is None:
            self.stream = random_stream(*self.position)
        return self.stream


# --- updates -----------------------------------------------------------------------------------------------


def weigh_due_terms(state: TrainState, terms: Sequence[T], step: int) -> list[tuple[T, float]]:
    """Return the penalties or regularizers that are due, each with its weight.

    Args:
        state: how far training is.
        terms: of the configuration.
        step: updates of their network so far.
    """
    fraction = state.config.length.fraction(state.progress)
    return [(term, term.weight(fraction)) for term in terms if term.is_due(step)]


def descend(state: TrainState, loss: Tensor, names: Sequence[str]) -> None:
    """Update some networks with the gradients of one loss, float32 []."""
    for name in names:
        state.optimizers[name].zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for name in names:
        update(state, name)


def update(state: TrainState, name: str) -> None:
    """Update a network with the gradients it has, averaged over ranks; leave the step out if they are not finite."""
    network, optimizer = state.networks[name], state.optimizers[name]
    dist.average_gradients(network.parameters())
    norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]).reshape(1)
    finite = torch.isfinite(norm)
    _step_if(finite, optimizer)
    state.statistics.add({f"gradient/{name}": norm, f"skipped/{name}": (~finite).float()})


def _step_if(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Step unless the gradient holds NaN or infinity; fused optimizers decide it without waiting for the device."""
    if finite.device.type != "mps" and getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~finite).float().squeeze()  # type: ignore[attr-defined]
        optimizer.step()
    elif bool(finite):
        optimizer.step()


@contextmanager
def freeze(network: nn.Module) -> Iterator[None]:
    """Leave a network's parameters without gradients for as long as the block lasts."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)

"""Memory: configurations that cannot fit are refused, and micro-batches are halved where it runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from gansmith import dist
from gansmith.devices import Compute, is_out_of_memory, require_bytes
from gansmith.errors import ConfigError
from gansmith.training.config import Config
from gansmith.types import ImageSpec

if TYPE_CHECKING:
    from gansmith.training.state import TrainState

__all__ = ["halve_micro_batch", "micro_batches", "require_training_memory", "retry_in_smaller_parts"]

T = TypeVar("T")


def micro_batches(state: TrainState, num: int) -> Iterator[slice]:
    """Yield this rank's images in parts of at most ``state.micro_batch``."""
    size = min(num, state.micro_batch)
    for start in range(0, num, size):
        yield slice(start, min(start + size, num))


def retry_in_smaller_parts(state: TrainState, scored_by: nn.Module, compute: Callable[[], T]) -> T:
    """Return what ``compute`` returns; whenever memory runs out, halve the micro-batch and start it anew.

    Args:
        state: whose ``micro_batch`` is halved, for all later steps too.
        scored_by: the network that sees the micro-batches.
        compute: must begin by deleting the gradients that an earlier attempt left.

    Raises:
        ConfigError: the micro-batch cannot be halved.
    """
    while True:
        try:
            return compute()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        halve_micro_batch(state, scored_by)  # outside the handler, whose traceback keeps the tensors alive


def halve_micro_batch(state: TrainState, scored_by: nn.Module) -> None:
    """Put half as many images at once through a network.

    Raises:
        ConfigError: a single image does not fit, or the network's batch normalisation needs all of them.
    """
    share = state.config.batch_size // dist.world_size()
    before, state.micro_batch = state.micro_batch, min(state.micro_batch, share) // 2
    mixes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in scored_by.modules())
    if not state.micro_batch or mixes:
        why = "its batch normalisation needs all at once" if mixes else "not even one by one"
        raise ConfigError(
            f"config.batch_size: {before} images do not fit through the discriminator into the memory of "
            f"{state.compute.name}, {why}; choose a smaller batch, width or size"
        )
    if state.compute.device.type == "cuda":
        torch.cuda.empty_cache()
    state.notices.append(
        f"memory ran out: the discriminator now sees {state.micro_batch} images at once, with the same sums"
    )


def require_training_memory(config: Config, spec: ImageSpec, compute: Compute) -> None:
    """Refuse networks and batches that cannot fit, before anything is allocated.

    Networks take their weights, gradients and two averages of an optimizer, and each of ``ema_factors`` its weights;
    a batch takes its real and generated images.

    Raises:
        ConfigError: they need more memory than is free.
    """
    try:
        with torch.device("meta"), torch.no_grad(), torch.random.fork_rng(devices=[]):
            networks = {name: build() for name, build in config.recipe.networks(config, spec).items()}
    except (NotImplementedError, RuntimeError):  # a user's network that cannot be built without memory
        return
    sizes = {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}
    num_weights, averaged = sum(sizes.values()), sum(sizes[name] for name in config.recipe.averaged)
    needed = 16 * num_weights + 4 * len(config.ema_factors) * averaged
    require_bytes(needed, compute.device, "config.model", f"networks of {num_weights:,} weights")
    num_values = config.batch_size // dist.world_size() * spec.height * spec.width * spec.channels
    images = f"batches of {config.batch_size:,} images of {spec}"
    require_bytes(8 * num_values, compute.device, "config.batch_size", images)

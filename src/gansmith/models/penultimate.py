"""Look inside a discriminator while it computes: the features that its head reads, and noise on what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from gansmith.models.layers import ProjectionHead

__all__ = ["modulate", "record_features"]


@contextmanager
def record_features(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what each ``ProjectionHead`` of a network reads, [n d], for as long as the block lasts."""
    found: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append(inputs[0])

    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, ProjectionHead):
                hooks.callback(module.register_forward_pre_hook(record).remove)
        yield found


@contextmanager
def modulate(network: nn.Module, noise: Callable[[Sequence[int]], Tensor]) -> Iterator[None]:
    """Multiply the input of every convolution and linear layer but the first and the head, while the block lasts.

    Pixels and the head's features are left alone, so noise reaches the features through layers only.

    Args:
        network: the discriminator.
        noise: factors for each image of a shape: (c, 1, 1) gives [n c 1 1].
    """
    heads = {part for module in network.modules() if isinstance(module, ProjectionHead) for part in module.modules()}
    reads_pixels = True

    def multiply(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal reads_pixels
        if reads_pixels:
            reads_pixels = False
            return None
        x, *others = inputs
        factors = noise((x.shape[1], *[1] * (x.dim() - 2)))
        return (x * factors.to(x.dtype), *others)

    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module not in heads:
                hooks.callback(module.register_forward_pre_hook(multiply).remove)
        yield

"""The blocks of a network: what corresponds between networks for images of different sizes, and what can be frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from gansmith.errors import ConfigError

__all__ = ["Block", "Blockwise", "freeze_blocks"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Layers of a network that work on maps of one size.

    Args:
        kind: blocks of one kind have the same layers, with other numbers of channels.
        size: height and width of its larger map, which is on the image's side.
        modules: names of the submodules that hold its weights.
    """

    kind: str
    size: tuple[int, int]
    modules: tuple[str, ...]


@runtime_checkable
class Blockwise(Protocol):
    """A network that consists of blocks, and of layers outside them that depend on no map, such as the head."""

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the blocks; the first is next to the image, the last is farthest from it."""


def freeze_blocks(network: nn.Module, num: int, where: str) -> None:
    """Keep the weights of the blocks next to the image; running statistics still follow the images.

    Args:
        network: changed in place.
        num: of the blocks.
        where: the setting, for the message.

    Raises:
        ConfigError: the network has fewer blocks, or none that are known.
    """
    if not isinstance(network, Blockwise):
        raise ConfigError(f"{where}: {num}, but {type(network).__qualname__} does not list its blocks; expected 0")
    blocks = network.list_blocks()
    if num > len(blocks):
        raise ConfigError(f"{where}: {num}, but the discriminator has {len(blocks)} blocks; choose 0 to {len(blocks)}")
    for block in blocks[:num]:
        for name in block.modules:
            network.get_submodule(name).requires_grad_(False)

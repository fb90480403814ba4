"""Images of mixed classes, and images whose layers belong to different samples.

A network that reads the class through embeddings can be given any mean of them: between two classes, or another class
in each layer. The network stays as it is: its tables of embeddings are replaced by tables with a row for each image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gansmith.models.model import GeneratorNetwork
from gansmith.types import ClassWeights, Images, Labels, Latents

__all__ = ["Gated", "can_mix_classes", "generate_images", "list_entries", "mix_entries"]

TOLERANCE = 1e-4  # of pixels in [-1, 1]: sums in another order differ less, another class differs more


@runtime_checkable
class Gated(Protocol):
    """A generator in which small maps scale large ones, so that the latent acts again in late layers."""

    def list_gates(self) -> tuple[str, ...]:
        """Return the names of the submodules that compute the factors, which another sample may replace."""


def generate_images(network: GeneratorNetwork, z: Latents, labels: Labels | ClassWeights | None) -> Images:
    """Generate one image per latent, also of mixed classes.

    Args:
        network: the generator, on the device of the arguments.
        z: float32 [n z].
        labels: int64 [n]; or float32 [n k], the weight of each class in each image. Each embedding of the network then
            is the weighted mean of those of the classes; ``can_mix_classes`` tells whether this is all it reads.
    """
    if labels is None or not labels.is_floating_point():
        images: Images = network(z, labels)
        return images
    tables = _class_tables(network, labels.shape[1])
    return _with_rows(network, z, {name: labels.to(table.dtype) @ table for name, table in tables.items()})


@torch.no_grad()
def can_mix_classes(network: GeneratorNetwork, z: Latents, num_classes: int) -> bool:
    """Return whether the network, in evaluation mode, reads the class through embeddings only.

    The image of the last class by its number must equal that by its weight.

    Args:
        network: the generator, on the device of z.
        z: float32 [1 z], any latent.
        num_classes: number of classes.
    """
    if num_classes < 1 or not _class_tables(network, num_classes):
        return False
    number = torch.full((1,), num_classes - 1, device=z.device)
    weights = torch.eye(num_classes, device=z.device)[number]
    return bool((network(z, number) - generate_images(network, z, weights)).abs().max() <= TOLERANCE)


@torch.no_grad()
def list_entries(network: GeneratorNetwork, z: Latents, labels: Labels | None, num_classes: int) -> tuple[str, ...]:
    """Return the names of the layers that can belong to another sample, in the order in which they compute.

    These are the layers that read the class, and the gates of a ``Gated`` network.

    Args:
        network: the generator, in evaluation mode, on the device of z.
        z: float32 [1 z], any latent.
        labels: int64 [1], or None.
        num_classes: number of classes; 0 if unconditional.
    """
    owners = {name.rpartition(".")[0]: _owner(name) for name in _class_tables(network, num_classes)}
    places = owners | {gate: gate for gate in _gates(network)}
    called: list[str] = []
    with _hooks(network, places, lambda name: lambda *_: called.append(places[name])):
        network(z, labels)
    return tuple(dict.fromkeys(called))


@torch.no_grad()
def mix_entries(
    network: GeneratorNetwork,
    own: tuple[Latents, Labels | None],
    other: tuple[Latents, Labels | None],
    replaced: Collection[str],
    num_classes: int,
) -> Images:
    """Generate the images of latents and classes, some layers of which belong to other latents and classes.

    Args:
        network: the generator, in evaluation mode, on the device of the tensors.
        own: latents float32 [n z] and labels int64 [n] of the samples.
        other: the same of the samples from which layers are taken.
        replaced: names of these layers; see ``list_entries``.
        num_classes: number of classes; 0 if unconditional.
    """
    gates = [name for name in _gates(network) if name in replaced]
    factors: dict[str, Tensor] = {}
    if gates:
        with _hooks(network, gates, lambda name: lambda module, given, made: factors.update({name: made})):
            network(*other)
    with _hooks(network, gates, lambda name: lambda module, given, made: factors[name]):
        if own[1] is None or other[1] is None:
            images: Images = network(*own)
            return images
        chosen = {True: other[1], False: own[1]}
        tables = _class_tables(network, num_classes).items()
        rows = {name: table[chosen[_owner(name) in replaced]] for name, table in tables}
        return _with_rows(network, own[0], rows)


def _with_rows(network: GeneratorNetwork, z: Latents, rows: Mapping[str, Tensor]) -> Images:
    """Generate images with embeddings [n d] that have a row for each image instead of each class."""
    images: Images = functional_call(network, dict(rows), (z, torch.arange(len(z), device=z.device)))
    return images


def _class_tables(network: nn.Module, num_classes: int) -> dict[str, Tensor]:
    """Return the tables [k d] of the embeddings with a row for each class, by their names in the state dict."""
    parameters = dict(network.named_parameters()) if num_classes else {}  # a normalised weight is none
    embeddings = [
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Embedding) and module.num_embeddings == num_classes
    ]
    return {name: parameters[name] for name in embeddings if name in parameters}


def _owner(table: str) -> str:
    """Return the layer that reads a table: a normalisation has two; an embedding of the network is a layer itself."""
    embedding = table.rpartition(".")[0]
    return embedding.rpartition(".")[0] or embedding


def _gates(network: nn.Module) -> Sequence[str]:
    return network.list_gates() if isinstance(network, Gated) else ()


@contextmanager
def _hooks(network: nn.Module, names: Collection[str], make: Callable[[str], Callable[..., Any]]) -> Iterator[None]:
    """Call ``make(name)(module, inputs, output)`` after each of the modules, while the block lasts."""
    with ExitStack() as hooks:
        for name in names:
            hooks.callback(network.get_submodule(name).register_forward_hook(make(name)).remove)
        yield

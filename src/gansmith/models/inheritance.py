"""Weights of a trained network for a network with other classes, channels or sizes.

Blocks correspond by the size of their maps or by their distance from the image, whichever lets more weights fit. A
block is taken whole or made anew. Layers outside blocks, such as the head, correspond by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gansmith.models.blocks import Block, Blockwise
from gansmith.models.layers import ConditionalNorm, ProjectionHead
from gansmith.models.model import GeneratorNetwork
from gansmith.types import ImageSpec

__all__ = ["Difference", "Inherited", "channel_shares", "inherit"]

_ORIGINAL, _SINGULAR = "parametrizations.weight.original", "parametrizations.weight.0._"
_ROWS_OF = {"weight": "scale", "bias": "shift"}
RGB = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """How the images and classes of the new network differ from those of the trained one.

    Args:
        old: what the trained network was made for.
        new: what the new network is made for.
        classes: float32 [new old], the share of each old class in each new one; a row of zeros is a class made anew.
        mean: float32 [old], the share of each old class in a network without classes.
    """

    old: ImageSpec
    new: ImageSpec
    classes: Float[Tensor, "new old"]
    mean: Float[Tensor, "old"]


@dataclass(kw_only=True, eq=False)
class Inherited:
    """The weights of the new network, and where they come from.

    Args:
        tensors: the whole state dict.
        num_taken: weights taken unchanged.
        num_adapted: weights computed from those of the trained network.
        num_new: weights as they were initialised.
        adapted: names of the layers with adapted weights.
        new: names of the layers made anew.
    """

    tensors: dict[str, Tensor]
    num_taken: int = 0
    num_adapted: int = 0
    num_new: int = 0
    adapted: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def channel_shares(old: int, new: int) -> Float[Tensor, "new old"]:
    """Return the share of each old channel in each new one: gray is the mean of RGB, and RGB repeats gray.

    The alpha channel of RGBA corresponds only to alpha; without a counterpart, its row is zero.
    """
    shares = torch.zeros(new, old)
    colours = min(old, RGB), min(new, RGB)
    if colours[0] == colours[1]:
        shares[: colours[1], : colours[0]] = torch.eye(colours[0])
    else:
        shares[: colours[1], : colours[0]] = 1 / colours[0]
    if old > RGB and new > RGB:
        shares[RGB, RGB] = 1
    return shares


def inherit(network: nn.Module, trained: nn.Module, tensors: Mapping[str, Tensor], difference: Difference) -> Inherited:
    """Return weights for a network from those of a trained network of the same architecture.

    Args:
        network: the new network, as initialised; it is not changed.
        trained: a network of the trained one's structure; it may be without memory (on "meta").
        tensors: the trained network's state dict.
        difference: of the images and classes.
    """
    fits = [_Fit(network, tensors, difference, pairs) for pairs in _pairings(network, trained)]
    return max((fit.result() for fit in fits), key=lambda result: result.num_taken + result.num_adapted)


# --- which layers correspond -------------------------------------------------------------------------------

Pairs = dict[tuple[str, ...], tuple[str, ...] | None]  # modules of a new block to those of the trained one


def _pairings(network: nn.Module, trained: nn.Module) -> Iterator[Pairs]:
    """Yield the ways in which blocks may correspond: by size, then by distance from the image."""
    if not (isinstance(network, Blockwise) and isinstance(trained, Blockwise)):
        yield {}
        return
    keys: list[Callable[[Block], Hashable]] = [lambda block: (block.kind, block.size), lambda block: block.kind]
    for key in keys:
        old = dict(_numbered(trained.list_blocks(), key))
        yield {
            block.modules: old[name].modules if name in old and _alike(block, old[name]) else None
            for name, block in _numbered(network.list_blocks(), key)
        }


def _numbered(blocks: Sequence[Block], key: Callable[[Block], Hashable]) -> Iterator[tuple[Hashable, Block]]:
    """Yield each block with its key and its number among those of the same key, counted from the image."""
    counts: dict[Hashable, int] = defaultdict(int)
    for block in blocks:
        yield (key(block), counts[key(block)]), block
        counts[key(block)] += 1


def _alike(one: Block, other: Block) -> bool:
    return len(one.modules) == len(other.modules)


# --- weights of one way ------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Group:
    """Tensors that are taken together or not at all, by their names in the new and in the trained network."""

    names: dict[str, str] = field(default_factory=dict)
    absent: bool = False  # the trained network has no such block


class _Fit:
    """Fits the weights of a trained network into a new one, for one way in which their blocks correspond."""

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor], difference: Difference, pairs: Pairs) -> None:
        self.network, self.difference, self.pairs = network, difference, pairs
        self.modules: dict[str, nn.Module] = dict(network.named_modules())
        self.state, self.tensors = network.state_dict(), tensors
        self.sources: dict[str, str | None] = {}
        self.own = _plain_names(self.state)
        self.given = _plain_names(tensors)
        self.labels = difference.old.num_classes, difference.new.num_classes
        self.makes_images = isinstance(network, GeneratorNetwork)

    def result(self) -> Inherited:
        """Return the weights."""
        found: dict[str, Tensor] = {}
        for group in self._groups():
            values = {} if group.absent else {name: self._value(name, old) for name, old in group.names.items()}
            if values and all(value is not None for value in values.values()):
                found |= {name: value for name, value in values.items() if value is not None}
        return self._describe(found)

    def _describe(self, found: Mapping[str, Tensor]) -> Inherited:
        result = Inherited(tensors={})
        parameters = {_plain(name) for name, _ in self.network.named_parameters()}
        parts: dict[str, list[str]] = {"adapted": [], "new": []}
        unchanged = set(map(id, self.given.values()))
        for name, like in self.own.items():
            kind = "new" if name not in found else "taken" if id(found[name]) in unchanged else "adapted"
            if name in parameters:
                setattr(result, f"num_{kind}", getattr(result, f"num_{kind}") + like.numel())
                if kind != "taken":
                    parts[kind].append(name.rpartition(".")[0] or name)
            result.tensors |= self._saved(name, found.get(name, like).to(like.dtype).clone(), kind)
        result.adapted, result.new = (tuple(dict.fromkeys(parts[kind])) for kind in ("adapted", "new"))
        return result

    def _saved(self, name: str, value: Tensor, kind: str) -> dict[str, Tensor]:
        """Return a tensor under its name in the state dict, with the singular vectors of a normalised weight."""
        if name in self.state:
            return {name: value}
        home, old = (each.rpartition(".")[0] for each in (name, self.sources[name] or ""))
        if kind == "adapted":  # the leading ones: in training, the power iteration finds them only step by step
            left, _, right = torch.linalg.svd(value.float().flatten(1), full_matrices=False)
            vectors = {"u": left[:, 0], "v": right[0]}
        else:
            vectors = {
                side: self.vectors(kind)[f"{old if kind == 'taken' else home}.{_SINGULAR}{side}"] for side in "uv"
            }
        return {f"{home}.{_ORIGINAL}": value} | {
            f"{home}.{_SINGULAR}{side}": each.clone() for side, each in vectors.items()
        }

    def vectors(self, kind: str) -> Mapping[str, Tensor]:
        return self.tensors if kind == "taken" else self.state

    def _groups(self) -> Iterator[_Group]:
        groups: dict[Hashable, _Group] = defaultdict(_Group)
        for name in self.own:
            key, old = self._locate(name)
            self.sources[name] = old
            groups[key].names[name] = old or ""
            groups[key].absent |= old is None
        yield from groups.values()

    def _locate(self, name: str) -> tuple[Hashable, str | None]:
        """Return the group of a tensor, and its name in the trained network; None if the block has no counterpart."""
        for modules, others in self.pairs.items():
            for i, module in enumerate(modules):
                if name.startswith(f"{module}."):
                    return modules, None if others is None else others[i] + name.removeprefix(module)
        return name.rpartition(".")[0] or name, name

    def _value(self, name: str, old: str) -> Tensor | None:
        """Return a tensor's value from the trained network; None if nothing fits."""
        if isinstance(self._owner(name), nn.Embedding):
            return self._rows(name, old)
        found = self._across_labels(name, old) if all(self.labels) != any(self.labels) else self.given.get(old)
        if found is None:
            return None
        return found if found.shape == self.own[name].shape else self._across_channels(name, found)

    def _owner(self, name: str) -> nn.Module:
        return self.modules[name.rpartition(".")[0]]

    # --- classes -------------------------------------------------------------------------------------------

    def _rows(self, name: str, old: str) -> Tensor | None:
        """Return a row for each class."""
        own = self.own[name]
        if not self.labels[0]:
            return self._rows_from_none(name, old)
        rows, shares = self.given.get(old), self.difference.classes
        if rows is None or rows.shape[1:] != own.shape[1:]:
            return None
        if rows.shape == own.shape and torch.equal(shares, torch.eye(len(rows))):
            return rows
        mixed = _mix(shares, rows)
        return torch.where(shares.any(dim=1)[:, None], mixed, own.cpu())

    def _rows_from_none(self, name: str, old: str) -> Tensor | None:
        """Return rows that all act as the layer of a network without classes does."""
        home, _, role = name.removesuffix(".weight").rpartition(".")
        module, own = self.modules[home], self.own[name]
        base = old.removesuffix(f".{role}.weight")
        if isinstance(module, ConditionalNorm):
            if isinstance(module.layer, nn.Identity):
                return torch.full_like(own, float(role == "scale"))
            row = self.given.get(f"{base}.{'weight' if role == 'scale' else 'bias'}")
            return None if row is None or row.shape != own.shape[1:] else row.expand_as(own)
        if isinstance(module, ProjectionHead):
            linear = self.given.get(f"{base}.linear.weight")
            return torch.zeros_like(own) if linear is not None and linear.shape[1:] == own.shape[1:] else None
        return None

    def _across_labels(self, name: str, old: str) -> Tensor | None:
        """Return a tensor of a network with classes from one without, or the reverse."""
        return (self._with_classes if self.labels[1] else self._without_classes)(name, old)

    def _with_classes(self, name: str, old: str) -> Tensor | None:
        owner, _, leaf = old.rpartition(".")
        found = self.given.get(old)
        if found is None and owner.endswith(".layer"):
            return self.given.get(f"{owner.removesuffix('.layer')}.{leaf}")
        if found is not None and found.dim() == 2 and self.own[name].shape == (len(found), 2 * found.shape[1]):
            return torch.cat([found, torch.zeros_like(found)], dim=1)  # at first, classes have no effect on images
        return found

    def _without_classes(self, name: str, old: str) -> Tensor | None:
        """Return a tensor that acts as that of a network with classes does for the mean class."""
        owner, _, leaf = old.rpartition(".")
        rows = self.given.get(f"{owner}.{_ROWS_OF.get(leaf)}.weight")
        if rows is not None:
            return self._mean(rows)
        found, layer = self.given.get(old), self.given.get(f"{owner}.layer.{leaf}")
        projection = self.given.get(f"{owner.rpartition('.')[0]}.embedding.weight")
        if found is None or (old.endswith(".linear.weight") and projection is not None):
            return layer if found is None or projection is None else found + self._mean(projection)
        return self._without_embedding(name, owner, leaf, found)

    def _without_embedding(self, name: str, owner: str, leaf: str, found: Tensor) -> Tensor:
        """Return the part of a dense layer that reads the latent; the mean class goes into the bias, if it has one."""
        weight, embedding = self.given.get(f"{owner}.weight"), self.given.get("embedding.weight")
        layer = self._owner(name)
        if weight is None or embedding is None or not isinstance(layer, nn.Linear) or not self.makes_images:
            return found
        width = layer.in_features
        if weight.shape[1] != width + embedding.shape[1]:
            return found
        return found[:, :width] if leaf == "weight" else found + weight[:, width:] @ self._mean(embedding)

    def _mean(self, rows: Tensor) -> Tensor:
        """Return the mean row."""
        return _mix(self.difference.mean[None], rows)[0]

    # --- channels ------------------------------------------------------------------------------------------

    def _across_channels(self, name: str, found: Tensor) -> Tensor | None:
        """Return a weight next to the pixels for images with other channels; None if it differs in another way."""
        old, new = self.difference.old.channels, self.difference.new.channels
        own = self.own[name]
        if old == new or found.dim() != own.dim():
            return None
        axes = [axis for axis in range(own.dim()) if own.shape[axis] != found.shape[axis]]
        if len(axes) != 1 or (each := own.shape[axes[0]] // new) * new != own.shape[axes[0]]:
            return None
        if each * old != found.shape[axes[0]]:
            return None
        shares = channel_shares(old, new) if self.makes_images else channel_shares(new, old).T
        # a network that reads images sees them as if they had been converted to the old channels
        mixed = _mix(shares, found.movedim(axes[0], 0).reshape(old, -1))
        if self.makes_images:
            fresh = own.cpu().movedim(axes[0], 0).reshape(new, -1)
            mixed = torch.where(shares.any(dim=1)[:, None], mixed, fresh)
        return mixed.reshape(own.movedim(axes[0], 0).shape).movedim(0, axes[0])


def _mix(shares: Tensor, rows: Tensor) -> Tensor:
    """Return sums of rows [m ...] weighted by shares [n m]; a single row with share 1 is kept bit for bit."""
    mixed: Tensor = torch.tensordot(shares.double(), rows.double(), dims=1)
    return mixed.to(rows.dtype)


def _plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the names that they have without spectral normalisation, and without its vectors."""
    return {_plain(name): tensor for name, tensor in tensors.items() if _SINGULAR not in name}


def _plain(name: str) -> str:
    return name.replace(_ORIGINAL, "weight")

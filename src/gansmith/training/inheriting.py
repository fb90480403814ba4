"""Start from a trained model: its weights in the networks of a new training, and a record of what was taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import nn

from gansmith import dist
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.errors import ConfigError
from gansmith.metrics.extractor import default_extractor
from gansmith.models.blocks import Block, Blockwise
from gansmith.models.inheritance import Difference, Inherited, inherit
from gansmith.training.origin import Origin
from gansmith.training.parent import Parent
from gansmith.training.related_classes import RelatedClasses, find_nearest_classes, relate_classes
from gansmith.training.state import FREEZE, TrainState
from gansmith.types import ImageSpec

__all__ = ["start_from"]

SHOWN = 4  # layers that are named
ALL = "all"
COLOURS = {1: "gray", 3: "RGB", 4: "RGBA"}


def start_from(state: TrainState, parent: Parent, store: Store, training: Indices) -> None:
    """Load a trained model's weights into the networks and averages, and record it in the configuration; on all ranks.

    Both the generator and its average start from the weights of the parent's snapshot, which are averaged: they make
    the better images, and the average follows the generator within few images.

    Args:
        state: at step 0; changed in place.
        parent: the trained model.
        store: the new images, from which classes are compared if asked.
        training: indices of those that are trained on.

    Raises:
        ConfigError: blocks that are to be frozen were made anew.
    """
    related = _relate(state, parent, store, training)
    difference = Difference(old=parent.spec, new=state.spec, classes=related.shares, mean=related.mean)
    results: dict[str, Inherited] = {}
    for name, network in state.networks.items():
        if name not in parent.tensors or type(network) is not type(parent.structures[name]):
            results[name] = _all_new(network)
            continue
        results[name] = inherit(network, parent.structures[name], parent.tensors[name], difference)
        averages = [each[name] for each in (state.averages, *state.other_averages.values()) if name in each]
        for copy in (network, *averages):
            copy.load_state_dict(results[name].tensors)
    _refuse_new_frozen(state, results)
    state.config = dataclasses.replace(state.config, origin=_describe(parent, state.spec, results, related))


def _relate(state: TrainState, parent: Parent, store: Store, training: Indices) -> RelatedClasses:
    names = store.class_names if state.spec.num_classes else ()
    tracking = state.config.tracking

    def nearest(new: Sequence[int], old: Sequence[int]) -> Sequence[int]:
        chosen = tracking.extractor if tracking and tracking.extractor else None
        network = (chosen or default_extractor(store, state.config.length)).network(store, training)
        return dist.from_main(lambda: find_nearest_classes(network, store, parent.generator(), new, old))

    counts = parent.facts.class_counts if parent.class_names else ()
    return relate_classes(parent.class_names, counts, names, state.config.init_classes, nearest)


def _all_new(network: nn.Module) -> Inherited:
    num = sum(parameter.numel() for parameter in network.parameters())
    return Inherited(tensors={}, num_new=num, new=(ALL,))


def _refuse_new_frozen(state: TrainState, results: Mapping[str, Inherited]) -> None:
    num = state.config.freeze_discriminator
    if not num:
        return
    network = state.networks["discriminator"]
    assert isinstance(network, Blockwise)
    fresh = results["discriminator"].new
    is_new = [_has_any(block, fresh) for block in network.list_blocks()]
    whole = is_new.index(True) if any(is_new) else num
    if whole < num:
        choice = f"choose at most {whole}" if whole else "leave it at 0"
        raise ConfigError(f"{FREEZE}: {num}, but block {whole + 1} of the discriminator was made anew; {choice}")


def _has_any(block: Block, layers: Sequence[str]) -> bool:
    """Return whether one of the layers is part of a block."""
    return ALL in layers or any(f"{layer}.".startswith(f"{part}.") for part in block.modules for layer in layers)


# --- in words ----------------------------------------------------------------------------------------------


def _describe(parent: Parent, spec: ImageSpec, results: Mapping[str, Inherited], related: RelatedClasses) -> Origin:
    old = parent.spec.channels
    channels = "" if old == spec.channels else f"{COLOURS[spec.channels]} from {COLOURS[old]}"
    classes = f"{len(related.new)} classes ({_shorten(related.new)})" if related.new else ""
    return Origin(
        run=parent.name,
        snapshot=parent.snapshot.which,
        nimg=parent.snapshot.nimg,
        digest=parent.digest,
        taken=", ".join(f"{name} {_share(each)}" for name, each in results.items()),
        adapted="; ".join(filter(None, (channels, related.text, *_list_layers(results, "adapted")))) or "nothing",
        new="; ".join(filter(None, (classes, *_list_layers(results, "new")))) or "nothing",
    )


def _share(result: Inherited) -> str:
    total = result.num_taken + result.num_adapted + result.num_new
    share = result.num_taken / max(1, total)
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{min(99.9, max(0.1, 100 * share)):.1f} %"


def _list_layers(results: Mapping[str, Inherited], kind: Literal["adapted", "new"]) -> list[str]:
    layers = {name: getattr(result, kind) for name, result in results.items()}
    return [f"{name} {_shorten(each)}" for name, each in layers.items() if each]


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

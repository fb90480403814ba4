"""Which of a run's generators: the best one that was kept, or that of the newest checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from gansmith.config import Config, load_config
from gansmith.devices import choose_compute
from gansmith.facts import DataFacts
from gansmith.models.model import GeneratorNetwork
from gansmith.runs import RunFolder
from gansmith.sample import TrainedGenerator
from gansmith.state import load_weights, read_state, settle

__all__ = ["Snapshot", "Which", "find_snapshot", "load_generator", "make_sampler"]

Which: TypeAlias = Literal["best", "last"]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A generator's weights on disk.

    Args:
        which: what was found: "best" by the figure that training tracked, or "last".
        weights: the file.
        ema: whether they are averaged.
        nimg: real images that training had seen.
        step: generator updates that it had made.
        seconds: that it had taken.
    """

    which: Which
    weights: Path
    ema: bool
    nimg: int
    step: int
    seconds: float


def find_snapshot(folder: RunFolder, which: Which = "best", *, ema: bool = True) -> Snapshot:
    """Where a run's generator is.

    Args:
        folder: the run.
        which: "best" takes the last one where no best was kept.
        ema: the averaged weights where there are any; without, it is always the last.

    Raises:
        RunError: the run has no checkpoint, or a damaged one.
    """
    best = folder.best if which == "best" and ema else None
    home = best or folder.latest_checkpoint()
    state = read_state(home)
    averaged = home / "generator_ema.safetensors"
    use_average = ema and averaged.exists()
    return Snapshot(
        which="best" if best else "last",
        weights=averaged if use_average else home / "generator.safetensors",
        ema=use_average,
        nimg=int(state["nimg"]),
        step=int(state["step"]),
        seconds=float(state["seconds"]),
    )


def load_generator(folder: RunFolder, snapshot: Snapshot, *, device: str = "cpu") -> TrainedGenerator:
    """A run's generator, ready to sample from.

    Raises:
        RunError: the weights are damaged, or of another network.
    """
    config, facts = load_config(folder.config), DataFacts.read(folder.data)
    with torch.device("meta"):  # no memory yet: the weights' file decides whether the sizes are true
        network = config.model.generator(facts.spec(config.use_labels))
    load_weights(network, snapshot.weights)
    settle(network, choose_compute(device, "float32").device).eval()
    return make_sampler(network, config, facts)


def make_sampler(network: GeneratorNetwork, config: Config, facts: DataFacts) -> TrainedGenerator:
    """A network with what is needed to sample from it."""
    spec = facts.spec(config.use_labels)
    names = facts.class_names if spec.num_classes else ()
    counts = facts.class_counts if spec.num_classes else ()
    return TrainedGenerator(network=network, model=config.model, spec=spec, class_names=names, class_counts=counts)

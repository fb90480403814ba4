"""What a configuration costs on this machine, measured in a few steps of training on noise."""

from __future__ import annotations

import time
from collections.abc import Hashable

import torch
from torch import Tensor

from gansmith import dist
from gansmith.component import override
from gansmith.devices import Compute
from gansmith.models.algorithms import AlgorithmTable
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, ImageSpec

__all__ = ["Trials"]

MOST_CYCLES, TRIAL_SECONDS = 5, 0.5  # of a trial


class Trials:
    """Measures the cost of configurations; each only once.

    Args:
        spec: the images.
        compute: the device.
        algorithms: how convolutions are computed on a CPU; None for a fixed rule.
    """

    def __init__(self, spec: ImageSpec, compute: Compute, algorithms: AlgorithmTable | None = None) -> None:
        self.spec, self.compute, self.algorithms = spec, compute, algorithms
        self.speeds: dict[Hashable, float] = {}

    def speed(self, config: Config) -> float:
        """Return the images a second of all processes together. Noise costs what real images do."""
        lazy = tuple((type(penalty), penalty.every) for penalty in config.penalties)
        matters = (config.model, config.loss, lazy, config.augment, config.batch_size, config.discriminator_steps)
        if matters not in self.speeds:
            self.speeds[matters] = self._measure(config)
        return self.speeds[matters]

    def bytes_per_image(self, config: Config) -> int:
        """Return the memory that the discriminator's step keeps of each image for the backward pass."""
        state, batch = self._create(override(config, {"batch_size": 2 * dist.world_size(), "micro_batch": None}))
        state.algorithms = None  # the algorithms of so small a batch are of no use
        sizes: dict[int, int] = {}

        def weigh(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
            train_step(state, lambda *_: batch)
        return sum(sizes.values()) // 2

    def _measure(self, config: Config) -> float:
        state, batch = self._create(config)
        cycle = max([1, *(penalty.every for penalty in config.penalties)])  # in which each lazy penalty comes once
        self._seconds(state, batch, 1)  # in the first step, convolutions that are new are measured
        seconds: list[float] = []
        while len(seconds) < MOST_CYCLES and sum(seconds) < TRIAL_SECONDS:
            seconds.append(self._seconds(state, batch, cycle))
        return cycle * config.batch_size * config.discriminator_steps / min(seconds)

    def _seconds(self, state: TrainState, batch: Batch, num_steps: int) -> float:
        began = time.perf_counter()
        for _ in range(num_steps):
            train_step(state, lambda *_: batch)
        state.is_finite()  # waits for the device
        seconds, _ = dist.agree(time.perf_counter() - began, False)
        return seconds

    def _create(self, config: Config) -> tuple[TrainState, Batch]:
        size, algorithms = config.batch_size, self.algorithms
        state = TrainState.create(config, self.spec, self.compute, epoch_size=size, algorithms=algorithms)
        stream = torch.Generator().manual_seed(0)
        share = config.batch_size // dist.world_size()
        shape = (share, self.spec.height, self.spec.width, self.spec.channels)
        images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8).permute(0, 3, 1, 2)
        labels = torch.arange(share) % self.spec.num_classes if self.spec.num_classes else None
        return state, Batch(images, labels).to(self.compute.device)

"""What changes while training: the networks, their averages and optimizers, and the counts."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from gansmith.component import member_name
from gansmith.devices import Compute, keep_freed_memory
from gansmith.ema import ema_decay, update_ema
from gansmith.errors import ConfigError
from gansmith.models.algorithms import AlgorithmTable
from gansmith.models.blocks import freeze_blocks
from gansmith.models.model import GeneratorNetwork
from gansmith.schedules import Progress
from gansmith.training.config import Config
from gansmith.training.feedback import Feedback
from gansmith.training.memory import require_training_memory
from gansmith.training.statistics import Statistics
from gansmith.types import ImageSpec

__all__ = ["FREEZE", "TrainState", "place", "random_stream"]

FREEZE = "config.freeze_discriminator"
OTHERS_EVERY = 4  # steps between updates of the other averages, which thus cost a quarter


def random_stream(seed: int, *position: int) -> torch.Generator:
    """Return random numbers that depend on the position in training, not on what was drawn before.

    Args:
        seed: the run's.
        position: counts that name the position: nimg, a purpose, a rank.
    """
    entropy = np.random.SeedSequence([seed, *position]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy >> np.uint64(1)))


@dataclass(kw_only=True, eq=False)
class TrainState:
    """The networks of a recipe by name, their averages and optimizers, and how far training is.

    Args:
        config: every setting of the run, the recipe included.
        spec: size, channels and classes of the images.
        compute: device and precision.
        epoch_size: images in the data set.
        networks: by the recipe's names.
        averages: moving averages of those that the recipe averages, under the same names; empty without averaging.
        other_averages: likewise for each of ``config.ema_factors``, by the factor on the half-life.
        optimizers: one for each network, under the same names.
        feedback: running values learnt from the discriminator's logits.
        statistics: sums since the last line of stats.jsonl.
        nimg: real images that the discriminator has seen.
        step: generator updates.
        seconds: training time, over all sessions.
        tracking_seconds: the part of it that measuring the tracked metric took.
        num_tracked: measurements of the tracked metric.
        num_events: lines of events.jsonl.
        micro_batch: images at once through the discriminator, at most.
        algorithms: how convolutions are computed on a CPU, which grows with every new shape; None for a fixed rule.
        notices: sentences to print before the next step.
    """

    config: Config
    spec: ImageSpec
    compute: Compute
    epoch_size: int
    networks: dict[str, nn.Module]
    averages: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    other_averages: dict[float, dict[str, nn.Module]] = field(default_factory=dict)
    feedback: Feedback = field(default_factory=lambda: Feedback.on(torch.device("cpu")))
    statistics: Statistics = field(default_factory=Statistics)
    nimg: int = 0
    step: int = 0
    seconds: float = 0.0
    tracking_seconds: float = 0.0
    num_tracked: int = 0
    num_events: int = 0
    micro_batch: int = 2**31
    algorithms: AlgorithmTable | None = None
    notices: list[str] = field(default_factory=list)

    @classmethod
    def create(
        cls,
        config: Config,
        spec: ImageSpec,
        compute: Compute,
        epoch_size: int,
        networks: Callable[[], Mapping[str, nn.Module]] | None = None,
        algorithms: AlgorithmTable | None = None,
    ) -> TrainState:
        """Return a state at step 0, whose weights are a function of the seed.

        Args:
            config: every setting.
            spec: size, channels and classes of the images.
            compute: device and precision.
            epoch_size: images in the data set.
            networks: builds the networks, instead of the recipe.
            algorithms: how convolutions are computed on a CPU; None for a fixed rule.

        Raises:
            ConfigError: the networks do not fit into memory, or a setting is one that the recipe does not read.
        """
        if compute.device.type == "cpu":
            keep_freed_memory()
        _refuse_ignored_settings(config)
        if networks is None:
            require_training_memory(config, spec, compute)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_stream(config.seed).initial_seed())
            built = networks() if networks else _build(config, spec)
        for network in built.values():
            place(network, compute.device).train()
        if config.freeze_discriminator:
            freeze_blocks(_discriminator_of(built, config), config.freeze_discriminator, FREEZE)
        averages = _copy_averaged(config, built)
        settings = config.recipe.optimizers(config)
        return cls(
            config=config,
            spec=spec,
            compute=compute,
            epoch_size=epoch_size,
            networks=dict(built),
            averages=averages,
            other_averages={factor: copy.deepcopy(averages) for factor in _chosen_factors(config)},
            optimizers={name: settings[name].build(network.parameters()) for name, network in built.items()},
            feedback=Feedback.on(compute.device),
            micro_batch=config.micro_batch or config.batch_size,
            algorithms=algorithms,
        )

    @property
    def progress(self) -> Progress:
        """How far training is."""
        return Progress(nimg=self.nimg, step=self.step, seconds=self.seconds, epoch_size=self.epoch_size)

    @property
    def generator(self) -> GeneratorNetwork:
        """What makes images, with the weights of the last step."""
        return self.config.recipe.generator(self.networks)

    @property
    def generator_ema(self) -> GeneratorNetwork:
        """What makes images, with averaged weights where there are any."""
        return self.config.recipe.generator({**self.networks, **self.averages})

    def follow_schedules(self) -> None:
        """Set learning rates and the augmentation probability to their values at this progress."""
        fraction = self.config.length.fraction(self.progress)
        for name, settings in self.config.recipe.optimizers(self.config).items():
            settings.set_rates(self.optimizers[name], fraction)
        self.feedback.follow_schedule(self.config, fraction)

    def update_averages(self, num_images: int) -> None:
        """Move every average towards its network.

        Args:
            num_images: real images that the discriminator has seen since the last update.
        """
        self._average(self.averages, num_images, 1.0)
        if self.step % OTHERS_EVERY == 0:
            for factor, averages in self.other_averages.items():
                self._average(averages, OTHERS_EVERY * num_images, factor)

    def _average(self, averages: Mapping[str, nn.Module], num_images: int, factor: float) -> None:
        config = self.config
        ramp = min(1.0, factor * config.ema_ramp)
        decay = ema_decay(num_images, self.nimg, factor * config.ema_halflife_kimg, ramp)
        for name, average in averages.items():
            update_ema(average, self.networks[name], decay)

    def is_finite(self) -> bool:
        """Return whether all weights, averages and running statistics are free of NaN and infinity."""
        others = [average for averages in self.other_averages.values() for average in averages.values()]
        networks = (*self.networks.values(), *self.averages.values(), *others)
        tensors = [each for network in networks for each in network.state_dict().values() if each.is_floating_point()]
        largest = torch.stack([norm.float() for norm in torch._foreach_norm(tensors, float("inf"))])
        return bool(torch.isfinite(largest).all())


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to its device, with convolutions in the channels-last layout that is fastest everywhere."""
    moved: nn.Module = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def _copy_averaged(config: Config, networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    averaged = config.recipe.averaged if config.ema_halflife_kimg else ()
    return {name: copy.deepcopy(networks[name]).eval().requires_grad_(False) for name in averaged}


def _chosen_factors(config: Config) -> tuple[float, ...]:
    return config.ema_factors if config.ema_halflife_kimg and config.tracking else ()


def _build(config: Config, spec: ImageSpec) -> Mapping[str, nn.Module]:
    return {name: build() for name, build in config.recipe.networks(config, spec).items()}


def _discriminator_of(networks: Mapping[str, nn.Module], config: Config) -> nn.Module:
    if "discriminator" not in networks:
        raise ConfigError(f"{FREEZE}: the recipe {member_name(config.recipe)} has no discriminator; expected 0")
    return networks["discriminator"]


def _refuse_ignored_settings(config: Config) -> None:
    defaults = {field.name: field for field in dataclasses.fields(config)}
    for name in sorted(config.recipe.ignores):
        if getattr(config, name) != defaults[name].default:
            raise ConfigError(
                f"config.{name}: the recipe {member_name(config.recipe)} does not read it; leave it at its default"
            )

"""Everything that changes while training, and its whole, atomic, exact way to disk and back."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gansmith import dist
from gansmith.augment import AdaptiveAugment, FixedAugment
from gansmith.component import to_plain
from gansmith.devices import Compute, keep_freed_memory, require_bytes
from gansmith.ema import ema_decay, update_ema
from gansmith.errors import ConfigError, DamagedCheckpoint, RunError
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork
from gansmith.schedules import Progress
from gansmith.training.checkpoint import Checkpoint, open_checkpoint, read_tensors, write_files
from gansmith.training.config import Config
from gansmith.training.statistics import Statistics
from gansmith.types import ImageSpec, Logits

LOGIT_DECAY = 0.99  # of the logits' moving averages, a step (Tseng et al. 2021)

__all__ = ["TrainState", "fill", "load_weights", "random_stream", "settle"]


def random_stream(seed: int, *position: int) -> torch.Generator:
    """Random numbers that depend on where training is, never on how it came there.

    Args:
        seed: the run's.
        position: counts that name the place: nimg, a purpose, a rank.
    """
    entropy = np.random.SeedSequence([seed, *position]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy >> np.uint64(1)))


@dataclass(kw_only=True, eq=False)
class TrainState:
    """The networks, their averages and optimizers, and how far they have come.

    Args:
        config: what decides everything else.
        spec: what the images are.
        compute: where and how the networks run.
        epoch_size: images in the data set.
        nimg: real images that the discriminator has seen.
        step: generator updates.
        seconds: time spent in training, over all sittings.
        tracking_seconds: those of them that went into tracking the figure.
        num_tracked: how often it was measured.
        augment_p: how often each augmentation happens, float32 [] on the device.
        overfitting: how far unseen real images were on the way to samples for the discriminator when the guard looked
            last, float32 [] on the device.
        logit_averages: moving averages of the real and the fake logits, float32 [2] on the device.
        num_events: lines of events.jsonl so far.
        micro_batch: images at once through the discriminator, at most.
        notices: what the user should be told.
    """

    config: Config
    spec: ImageSpec
    compute: Compute
    epoch_size: int
    generator: GeneratorNetwork
    discriminator: DiscriminatorNetwork
    generator_ema: GeneratorNetwork
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    statistics: Statistics = field(default_factory=Statistics)
    nimg: int = 0
    step: int = 0
    seconds: float = 0.0
    tracking_seconds: float = 0.0
    num_tracked: int = 0
    augment_p: Tensor = field(default_factory=lambda: torch.zeros(()))
    overfitting: Tensor = field(default_factory=lambda: torch.zeros(()))
    logit_averages: Tensor = field(default_factory=lambda: torch.zeros(2))
    num_events: int = 0
    micro_batch: int = 2**31
    notices: list[str] = field(default_factory=list)

    @classmethod
    def create(
        cls,
        config: Config,
        spec: ImageSpec,
        compute: Compute,
        epoch_size: int,
        networks: Callable[[], tuple[GeneratorNetwork, DiscriminatorNetwork]] | None = None,
    ) -> TrainState:
        """Fresh networks, the model's or those of ``networks``; their weights are a function of the seed."""
        if compute.device.type == "cpu":
            keep_freed_memory()
        if networks is None:
            _require_memory(config, spec, compute)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_stream(config.seed).initial_seed())
            pair = networks() if networks else (config.model.generator(spec), config.model.discriminator(spec))
        generator, discriminator = pair
        for network in (generator, discriminator):
            settle(network, compute.device).train()
        average = copy.deepcopy(generator).eval().requires_grad_(False) if config.ema_halflife_kimg else generator
        return cls(
            config=config,
            spec=spec,
            compute=compute,
            epoch_size=epoch_size,
            generator=generator,
            discriminator=discriminator,
            generator_ema=average,
            generator_optimizer=config.generator_optimizer.build(generator.parameters()),
            discriminator_optimizer=config.discriminator_optimizer.build(discriminator.parameters()),
            augment_p=torch.zeros((), device=compute.device),
            overfitting=torch.zeros((), device=compute.device),
            logit_averages=torch.zeros(2, device=compute.device),
            micro_batch=config.micro_batch or config.batch_size,
        )

    @property
    def progress(self) -> Progress:
        """How far training has come."""
        return Progress(nimg=self.nimg, step=self.step, seconds=self.seconds, epoch_size=self.epoch_size)

    def follow_schedules(self) -> None:
        """Give optimizers and augmentation what is due now."""
        config = self.config
        fraction = config.length.fraction(self.progress)
        config.generator_optimizer.set_rates(self.generator_optimizer, fraction)
        config.discriminator_optimizer.set_rates(self.discriminator_optimizer, fraction)
        if isinstance(config.augment, FixedAugment):
            self.augment_p.fill_(config.augment.p_at(fraction))

    @torch.no_grad()
    def learn_from_logits(self, real: Logits, fake: Logits) -> None:
        """Update what follows the discriminator's answers: moving averages, and how much is augmented."""
        if any(penalty.averages for penalty in self.config.penalties):
            means = dist.sum_over_ranks(torch.stack([real.mean(), fake.mean()])) / dist.world_size()
            self.logit_averages.lerp_(means, 1 - LOGIT_DECAY)
        augment = self.config.augment
        if isinstance(augment, AdaptiveAugment):
            figure = self.overfitting if augment.by == "held-out" else self._mean_sign(real, fake)
            self.augment_p.copy_(augment.adjust(self.augment_p, figure, self.config.batch_size))

    def _mean_sign(self, real: Logits, fake: Logits) -> Tensor:
        signs = (real - fake if self.config.loss.pairs else real).sign()  # pairs fix only the distance of the logits
        return dist.sum_over_ranks(signs.mean()) / dist.world_size()

    def learn_from_probes(self, figures: Mapping[str, float]) -> None:
        """Remember what the guard's look at both networks has found; without a figure nothing is known by heart."""
        if figures:
            self.overfitting.fill_(figures.get("guard/overfitting", 0.0))

    def halve_micro_batch(self) -> None:
        """Put fewer images at once through the discriminator, for memory has run out.

        Raises:
            ConfigError: that is not possible.
        """
        share = self.config.batch_size // dist.world_size()
        before, self.micro_batch = self.micro_batch, min(self.micro_batch, share) // 2
        mixes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.discriminator.modules())
        if not self.micro_batch or mixes:
            why = "its batch normalisation needs all at once" if mixes else "not even one by one"
            raise ConfigError(
                f"config.batch_size: {before} images do not fit through the discriminator into the memory of "
                f"{self.compute.name}, {why}; choose a smaller batch, width or size"
            )
        if self.compute.device.type == "cuda":
            torch.cuda.empty_cache()
        self.notices.append(
            f"memory ran out: the discriminator now sees {self.micro_batch} images at once, with the same sums"
        )

    def update_ema(self) -> None:
        """Let the averaged generator follow, once a generator update."""
        if self.generator_ema is not self.generator:
            images = self.config.batch_size * self.config.discriminator_steps
            decay = ema_decay(images, self.nimg, self.config.ema_halflife_kimg, self.config.ema_ramp)
            update_ema(self.generator_ema, self.generator, decay)

    def is_finite(self) -> bool:
        """Whether all weights, their averages and the statistics of normalisations are numbers."""
        networks = (self.generator, self.discriminator, self.generator_ema)
        tensors = [each for network in networks for each in network.state_dict().values() if each.is_floating_point()]
        largest = torch.stack([norm.float() for norm in torch._foreach_norm(tensors, float("inf"))])
        return bool(torch.isfinite(largest).all())

    # --- to disk and back ----------------------------------------------------------------------------------

    def save(self, folder: Path, statistics: Sequence[Mapping[str, Any]]) -> None:
        """Fill a checkpoint folder; state.json comes last, and makes it whole.

        Args:
            folder: empty.
            statistics: ``Statistics.to_plain``, which all ranks must have taken part in.
        """
        files = {stem: _tensors(network.state_dict()) for stem, network in self._networks().items()}
        files["optimizers"] = self._optimizer_tensors()
        plain = {**self._counts(), **self._memories(), "statistics": list(statistics), "config": to_plain(self.config)}
        write_files(folder, files, plain)

    def save_generator(self, folder: Path, told: Mapping[str, Any]) -> None:
        """Fill a folder with the generator that pictures are made with, and nothing that training needs.

        Args:
            folder: empty.
            told: what else state.json is to say.
        """
        stem = "generator" if self.generator_ema is self.generator else "generator_ema"
        write_files(folder, {stem: _tensors(self.generator_ema.state_dict())}, {**self._counts(), **told})

    def _networks(self) -> dict[str, nn.Module]:
        """By the stem of their file."""
        networks: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        return networks if self.generator_ema is self.generator else {**networks, "generator_ema": self.generator_ema}

    def _counts(self) -> dict[str, float]:
        names = ("nimg", "step", "seconds", "tracking_seconds", "num_tracked")
        return {name: getattr(self, name) for name in names}

    def _memories(self) -> dict[str, Any]:
        figures = {name: getattr(self, name).tolist() for name in ("augment_p", "overfitting", "logit_averages")}
        return {**figures, "num_events": self.num_events}

    def load(self, saved: Path | Checkpoint) -> None:
        """Go on from a checkpoint.

        Args:
            saved: its folder, or what was read of it.

        Raises:
            RunError: it is damaged, or of other networks.
        """
        saved = open_checkpoint(saved) if isinstance(saved, Path) else saved
        plain, tensors = saved.state, dict(saved.tensors)
        if plain["config"].get("ema_halflife_kimg") == 0:  # averaging begins now
            tensors.setdefault("generator_ema", tensors["generator"])
        for stem, network in self._networks().items():
            fill(network, _part(tensors, stem, saved.path), saved.path / f"{stem}.safetensors")
        self._load_optimizers(_part(tensors, "optimizers", saved.path), saved.path / "optimizers.safetensors")
        self.nimg, self.step, self.seconds = int(plain["nimg"]), int(plain["step"]), float(plain["seconds"])
        self.tracking_seconds, self.num_tracked = float(plain["tracking_seconds"]), int(plain["num_tracked"])
        self.augment_p.fill_(plain["augment_p"])
        self.overfitting.fill_(plain["overfitting"])
        self.logit_averages.copy_(torch.tensor(plain["logit_averages"]))
        self.num_events = int(plain["num_events"])
        self.statistics.load_plain(plain["statistics"], self.compute.device)

    def go_back(self, folder: Path, config: Config) -> None:
        """Go on from a checkpoint of this run in another way; the time that has passed stays passed.

        Raises:
            RunError: it is damaged.
        """
        passed = self.seconds, self.tracking_seconds, self.num_tracked
        self.load(folder)
        self.seconds, self.tracking_seconds, self.num_tracked = passed
        self.config = config

    def _optimizers(self) -> Iterable[tuple[str, nn.Module, torch.optim.Optimizer]]:
        yield "generator", self.generator, self.generator_optimizer
        yield "discriminator", self.discriminator, self.discriminator_optimizer

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        return {
            f"{owner}.{kind}.{name}": _saved(value)
            for owner, network, optimizer in self._optimizers()
            for name, parameter in network.named_parameters()
            for kind, value in optimizer.state.get(parameter, {}).items()
        }

    def _load_optimizers(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        left = dict(tensors)
        for owner, network, optimizer in self._optimizers():
            kinds = _kinds(optimizer)
            for name, parameter in network.named_parameters():
                found = {kind: left.pop(key) for kind in kinds if (key := f"{owner}.{kind}.{name}") in left}
                if found and found.keys() != kinds:
                    missing = f"{owner}.{min(kinds - found.keys())}.{name}"
                    raise RunError(f"{path}: has no tensor {missing}, which {type(optimizer).__name__} needs")
                optimizer.state[parameter] = {kind: _like(parameter, value, path) for kind, value in found.items()}
        if left:
            raise RunError(f"{path}: holds a tensor that the optimizers do not keep ({min(left)})")


def _kinds(optimizer: torch.optim.Optimizer) -> set[str]:
    """What this optimizer keeps of each parameter once it has stepped."""
    probe = copy.copy(optimizer)
    device = optimizer.param_groups[0]["params"][0].device
    parameter = nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros(1, device=device)
    options = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    probe.state, probe.param_groups = defaultdict(dict), [{**options, "params": [parameter]}]
    probe.step()
    return set(probe.state[parameter])


def _require_memory(config: Config, spec: ImageSpec, compute: Compute) -> None:
    """Refuse networks and batches that cannot fit, before anything is made of them.

    Networks take their weights, gradients and two averages of an optimizer; a batch its real and generated images.
    """
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            pair = (config.model.generator(spec), config.model.discriminator(spec))
    except (NotImplementedError, RuntimeError):  # a model of the user's that cannot be made without memory
        return
    num_weights = sum(weight.numel() for network in pair for weight in network.parameters())
    require_bytes(16 * num_weights, compute.device, "config.model", f"networks of {num_weights:,} weights")
    num_values = config.batch_size // dist.world_size() * spec.height * spec.width * spec.channels
    images = f"batches of {config.batch_size:,} images of {spec}"
    require_bytes(8 * num_values, compute.device, "config.batch_size", images)


def settle(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to its device, with convolutions in the channels-last layout that is fastest everywhere."""
    moved: nn.Module = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network, which may still be without memory (on "meta"), from a safetensors file.

    Raises:
        RunError: the file is damaged or of another network.
    """
    fill(network, read_tensors(path), path)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill a network, which may still be on "meta", with tensors that were read from a file.

    Raises:
        RunError: names, shapes or dtypes are those of another network.
    """
    own = network.state_dict()
    described = {name: (tensor.shape, tensor.dtype) for name, tensor in own.items()}
    if described != {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}:
        raise RunError(f"{path}: holds the weights of another network than config.json describes")
    unborn = any(tensor.is_meta for tensor in own.values())
    network.load_state_dict(tensors, assign=unborn)


def _part(tensors: Mapping[str, Mapping[str, Tensor]], stem: str, folder: Path) -> Mapping[str, Tensor]:
    if stem not in tensors:
        raise DamagedCheckpoint(f"{folder}: the checkpoint has no {stem}.safetensors")
    return tensors[stem]


def _tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _saved(value) for name, value in state.items()}


def _saved(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


def _like(parameter: nn.Parameter, value: Tensor, path: Path) -> Tensor:
    """An optimizer's tensor in the parameter's memory format, without which fused updates would be slow or wrong."""
    if value.dim() == 0:  # the step count, which fused optimizers keep beside the parameter
        return value.to(parameter.device)
    if value.shape != parameter.shape or value.dtype != parameter.dtype:
        raise RunError(f"{path}: holds the optimizer of another network than config.json describes")
    return torch.empty_like(parameter, requires_grad=False).copy_(value)

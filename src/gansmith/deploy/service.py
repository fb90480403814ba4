"""A generator as a service: checks what is asked, and generates the images of several clients together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gansmith
from gansmith.data.integrity import hash_tensors
from gansmith.deploy.batching import Batcher, find_fixed_size
from gansmith.errors import ConfigError, tell
from gansmith.runs import RunFolder
from gansmith.sampling.generator import BATCH_SIZE, MOST_SEED, Samples, TrainedGenerator
from gansmith.sampling.paths import walk_through
from gansmith.training.config import load_config
from gansmith.training.data_facts import DataFacts
from gansmith.training.snapshots import Snapshot, Which, find_snapshot, load_generator
from gansmith.types import Labels, Latents, PixelArray, send

__all__ = ["Service", "ServiceSettings", "open_service"]

LARGEST = {  # of each number in the settings
    "batch_size": BATCH_SIZE, "wait_ms": 10_000, "most_images": 100_000, "most_frames": 100_000, "most_pixels": 10**9,
    "most_waiting": 10**7, "timeout_seconds": 86_400,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The limits of a service.

    Args:
        batch_size: images of one pass of the generator; a pass with fewer is filled up.
        wait_ms: milliseconds that a pass with free places waits for further requests.
        most_images: images of one request.
        most_frames: frames of one interpolation.
        most_pixels: pixels of one answer: images times height times width.
        most_waiting: images in the queue; beyond it, requests are answered with 503.
        timeout_seconds: time until a request is answered with 504.
        token: clients have to send it as "Authorization: Bearer TOKEN"; None lets everybody in.
    """

    batch_size: int = 8
    wait_ms: float = 0.0
    most_images: int = 64
    most_frames: int = 120
    most_pixels: int = 4_000_000
    most_waiting: int = 512
    timeout_seconds: float = 30.0
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.name in LARGEST):
            value, least = getattr(self, name), 0 if name == "wait_ms" else 1
            if not least <= value <= LARGEST[name]:
                raise ConfigError(f"{name}: {value} is out of range; expected {least} to {LARGEST[name]:,}")
        if self.token is not None and not (self.token and self.token.isascii() and self.token.isprintable()):
            raise ConfigError("token: expected one or more printable ASCII characters")


class Service:
    """Answers requests for images. Each seed gives one image, bit for bit the same in every request.

    Args:
        generator: the generator.
        settings: the limits.
        about: what ``info`` says of the generator.
    """

    def __init__(
        self, generator: TrainedGenerator, settings: ServiceSettings, about: Mapping[str, Any] | None = None
    ) -> None:
        self.generator, self.settings, self.about = generator, settings, about or {}
        self.batcher = Batcher(
            generator.images,
            batch_size=_choose_batch_size(generator, settings.batch_size),
            wait_seconds=settings.wait_ms / 1000,
            most_waiting=settings.most_waiting,
        )

    async def sample(self, seed: int, num: int, label: str | None, truncation: float) -> Samples:
        """Return the images of the seeds ``seed``, ``seed`` + 1, ...

        Raises:
            ConfigError: a value is out of range, or the class is unknown.
            QueueFull: too many images wait.
            TimeoutError: the images are not ready in time.
        """
        self._check_size("num", num, self.settings.most_images)
        self._check_seeds("seed", seed, seed + num - 1)
        if not 0 < truncation <= 1:
            raise ConfigError(f"truncation: {truncation} is out of range; expected more than 0 and at most 1")
        seeds = range(seed, seed + num)
        z, labels = self.generator.draw(seeds, self.generator.class_number(label))
        return await self._samples(z * truncation, labels, seeds)

    async def interpolate(self, seeds: Sequence[int], frames: int, label: str | None) -> Samples:
        """Return the images between seeds, one leg after the other.

        Args:
            seeds: at least two.
            frames: images of each leg, from one seed to the next, both included.
            label: of all images; None takes the class of the first seed.

        Raises:
            ConfigError: a value is out of range, or the class is unknown.
            QueueFull: too many images wait.
            TimeoutError: the images are not ready in time.
        """
        if len(seeds) < 2:
            raise ConfigError(f"seeds: got {len(seeds)}, expected two or more, such as seeds=1,2")
        if frames < 2:
            raise ConfigError(f"frames: {frames} is out of range; expected 2, the two ends, or more")
        self._check_size("frames", (len(seeds) - 1) * (frames - 1) + 1, self.settings.most_frames)
        self._check_seeds("seeds", *seeds)
        ends, labels = self.generator.draw(seeds, self.generator.class_number(label))
        z = walk_through(ends, frames)
        return await self._samples(z, None if labels is None else labels[:1].repeat(len(z)), ())

    def info(self) -> dict[str, Any]:
        """Return what the service generates, and its limits, as plain data."""
        spec, settings = self.generator.spec, self.settings
        limits = {each.name: getattr(settings, each.name) for each in fields(settings) if each.name in LARGEST}
        return {
            **self.about,
            "height": spec.height,
            "width": spec.width,
            "channels": spec.channels,
            "classes": list(self.generator.class_names),
            "limits": {**limits, "batch_size": self.batcher.batch_size},
            "gansmith": gansmith.__version__,
        }

    async def _samples(self, z: Latents, labels: Labels | None, seeds: Sequence[int]) -> Samples:
        future = asyncio.wrap_future(self.batcher.submit(z, labels))
        images: PixelArray = await asyncio.wait_for(future, self.settings.timeout_seconds)
        numbers = None if labels is None else labels.numpy()
        names = self.generator.class_names
        return Samples(images=images, labels=numbers, seeds=tuple(seeds), class_names=names)

    def _check_size(self, name: str, num: int, most: int) -> None:
        spec = self.generator.spec
        most = min(most, max(1, self.settings.most_pixels // (spec.height * spec.width)))
        if not 1 <= num <= most:
            raise ConfigError(f"{name}: {num} images are out of range; expected 1 to {most}")

    def _check_seeds(self, name: str, *seeds: int) -> None:
        for seed in seeds:
            if not -MOST_SEED <= seed <= MOST_SEED:
                raise ConfigError(f"{name}: {seed} is out of range; expected from {-MOST_SEED} to {MOST_SEED}")


def open_service(
    run: str | Path,
    settings: ServiceSettings,
    *,
    snapshot: Which = "best",
    ema: bool = True,
    device: str = "cpu",
) -> Service:
    """Return the service of a run's generator.

    Args:
        run: the run's folder.
        settings: the limits.
        snapshot: "best" or "last".
        ema: use the averaged weights.
        device: where the generator runs.

    Raises:
        RunError: there is no run, or it cannot be used.
    """
    folder = RunFolder.open(Path(run))
    found = find_snapshot(folder, snapshot, ema=ema)
    generator = load_generator(folder, found, device=device)
    return Service(generator, settings, _describe(folder, found, generator))


def _describe(folder: RunFolder, found: Snapshot, generator: TrainedGenerator) -> dict[str, Any]:
    """Return where a generator comes from, without paths of this machine."""
    return {
        "run": folder.path.resolve().name,
        "data": DataFacts.read(folder.data).title,
        "model": type(load_config(folder.config).model).__name__,
        "snapshot": found.which,
        "ema": found.ema,
        "step": found.step,
        "nimg": found.nimg,
        "weights_sha256": hash_tensors(generator.network.state_dict()),
    }


@torch.no_grad()
def _choose_batch_size(generator: TrainedGenerator, batch_size: int) -> int:
    device = next(generator.network.parameters()).device

    def network(z: Latents, labels: Labels | None) -> Tensor:
        images: Tensor = generator.network(send(z, device), None if labels is None else send(labels, device))
        return images.cpu()

    generator.network.eval()
    found = find_fixed_size(network, *generator.draw(range(batch_size)))
    if found < batch_size:
        tell("on this machine an image depends on its place in a batch, so images are generated one by one")
    return found

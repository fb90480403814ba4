"""Our contenders of benchmarks/speed.py, which runs each in a process of its own: see peers/rounds.py.

python benchmarks/contenders.py training dcgan-64 [--without bfloat16]
python benchmarks/contenders.py sampling
python benchmarks/contenders.py convolutions
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flops import convolution_flops, convolutions_in, counted, flops_per_image
from gansmith.data.batches import Batches
from gansmith.data.resident import place_batches
from gansmith.data.store import Store
from gansmith.devices import Compute, choose_compute
from gansmith.models import matmul
from gansmith.models.algorithms import AlgorithmTable
from gansmith.models.layers import Dropout
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.config import Config
from gansmith.training.presets import configure
from gansmith.training.state import TrainState, place
from gansmith.training.steps import train_step
from gansmith.types import ImageSpec
from peers.rounds import serve, timed

__all__ = ["TRAININGS", "WITHOUT", "Training", "main"]

IMAGES = 4096  # of noise, that training draws its batches from
SAMPLES = 10_000


@dataclass(frozen=True)
class Training:
    """A training whose step is measured."""

    preset: str
    spec: ImageSpec
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """What it trains."""
        return configure(preset=self.preset, overrides=self.overrides)


CIFAR10 = ImageSpec(height=32, width=32, channels=3, num_classes=10)
SNGAN = {  # for CIFAR-10: Miyato et al. 2018, appendix B.4
    "model": "resnet",
    "model.width": 128,
    "model.generator_width": 256,
    "model.max_multiple": 1,
    "model.spectral_norm": True,
}
R3GAN = {"model": "r3", "model.width": 96, "model.max_multiple": 8, "model.blocks": 2}  # for faces: Huang et al. 2024
TRAININGS = {
    "dcgan-64": Training("dcgan-64", ImageSpec(height=64, width=64, channels=3), {"batch_size": 128}),
    "dcgan-mnist": Training("dcgan-mnist", ImageSpec(height=28, width=28, channels=1)),
    "dcgan-r1": Training("dcgan-r1", CIFAR10),
    "resnet": Training("dcgan-r1", CIFAR10, {"model": "resnet"}),
    "r3": Training("dcgan-r1", CIFAR10, {"model": "r3"}),
    "resnet-published": Training("dcgan-r1", CIFAR10, SNGAN),
    "r3-published": Training("dcgan-r1", CIFAR10, R3GAN),
}
SAMPLED = ImageSpec(height=32, width=32, channels=3)

# Channels in and out, pixels of the larger map, kernel, stride, transposed; a batch of 64 each.
CONVOLUTIONS = {
    "64 to 128, 4x4 stride 2, at 32 px": (64, 128, 32, 4, 2, False),
    "128 to 256, 4x4 stride 2, at 16 px": (128, 256, 16, 4, 2, False),
    "128 to 64, transposed 4x4 stride 2, to 32 px": (128, 64, 32, 4, 2, True),
    "128 to 128, 3x3, at 16 px": (128, 128, 16, 3, 1, False),
    "256 to 256, 3x3, at 16 px": (256, 256, 16, 3, 1, False),
    "256 to 512, 1x1, at 16 px": (256, 512, 16, 1, 1, False),
}


def main() -> None:
    """Get ready, and work when told to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("training", "sampling", "convolutions"))
    parser.add_argument("name", nargs="?", choices=TRAININGS, help="of the training, unless sampling")
    parser.add_argument("--without", choices=WITHOUT, help="one speed-up that is switched off")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="default: as PyTorch chooses")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    compute = choose_compute(options.device, "auto")
    if options.what == "training":
        serve_training(TRAININGS[options.name], options.without, compute)
    elif options.what == "sampling":
        serve(with_memory(sampling(compute), compute))
    else:
        serve(convolutions(TRAININGS[options.name], compute), precision=compute.precision)


# --- training ----------------------------------------------------------------------------------------------


def serve_training(training: Training, without: str | None, compute: Compute) -> None:
    """Count a cycle of steps while warming up, then measure."""
    change, mend = WITHOUT[without] if without else (None, None)
    config = training.config if change is None else change(training.config)
    cycle, images, state = prepared(config, training.spec, compute)
    if mend is not None:
        mend(state)
    done = counted(cycle) / images
    measure = timed(cycle, images, wait=waiting(compute))
    needed = flops_per_image(training.config, training.spec)
    precision = state.compute.precision
    serve(with_memory(measure, compute), precision=precision, flops_needed=needed, flops_done=done)


def prepared(config: Config, spec: ImageSpec, compute: Compute) -> tuple[Callable[[], None], int, TrainState]:
    """As many steps as there are between lazy penalties, on how many images they train, and what they change."""
    compute = choose_compute(str(compute.device), config.precision)
    algorithms = AlgorithmTable() if compute.device.type == "cpu" else None
    state = TrainState.create(config, spec, compute, epoch_size=IMAGES, algorithms=algorithms)
    batch_at = place_batches(compute.device, Batches(store=noise(spec), batch_size=config.batch_size))
    steps = math.lcm(*(penalty.every for penalty in config.penalties))

    def cycle() -> None:
        for _ in range(steps):
            train_step(state, batch_at)

    cycle()
    return cycle, steps * config.batch_size * config.discriminator_steps, state


def noise(spec: ImageSpec) -> Store:
    """Return a data set of noise images."""
    draw = np.random.default_rng(0)
    return Store(
        path=Path("noise"),
        title="noise",
        kind="photos",
        spec=spec,
        images=draw.integers(0, 256, (IMAGES, spec.height, spec.width, spec.channels), np.uint8),
        labels=draw.integers(0, spec.num_classes, IMAGES) if spec.num_classes else None,
        class_names=tuple(map(str, range(spec.num_classes))),
        groups=None,
        digest="",
    )


def float32(config: Config) -> Config:
    """Use single precision for convolutions."""
    return dataclasses.replace(config, precision="float32")


def eager_penalties(config: Config) -> Config:
    """Compute penalties at every step."""
    return dataclasses.replace(config, penalties=tuple(dataclasses.replace(p, every=1) for p in config.penalties))


def contiguous(state: TrainState) -> None:
    """Store weights and maps channel after channel (NCHW)."""
    for network in state.networks.values():
        network.to(memory_format=torch.contiguous_format)
        for layer in network.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    for name, settings in state.config.recipe.optimizers(state.config).items():
        state.optimizers[name] = settings.build(state.networks[name].parameters())


def plain_adam(state: TrainState) -> None:
    """Use PyTorch's default Adam."""
    for name, network in state.networks.items():
        state.optimizers[name] = torch.optim.Adam(network.parameters())


def learning_judge(state: TrainState) -> None:
    """Let the discriminator's weights get gradients in the generator's step too."""
    discriminator = state.networks["discriminator"]
    discriminator.requires_grad_ = lambda requires_grad=True: discriminator  # type: ignore[method-assign]


def rule_of_algorithms(state: TrainState) -> None:
    """Choose the algorithms of convolutions by the fixed rule."""
    state.algorithms = None


def slow_dropout(state: TrainState) -> None:
    """Use PyTorch's dropout masks."""
    for parent in list(state.networks["discriminator"].modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, Dropout):
                setattr(parent, name, nn.Dropout(layer.threshold / 65536))


Change = Callable[[Config], Config]
Mend = Callable[[TrainState], None]

WITHOUT: dict[str, tuple[Change | None, Mend | None]] = {
    "bfloat16": (float32, None),
    "channels-last": (None, contiguous),
    "fused-adam": (None, plain_adam),
    "frozen-discriminator": (None, learning_judge),
    "fast-dropout": (None, slow_dropout),
    "lazy-penalties": (eager_penalties, None),
    "measured-algorithms": (None, rule_of_algorithms),
}

# --- sampling and convolutions -----------------------------------------------------------------------------


def sampling(compute: Compute) -> Callable[[float], dict[str, Any]]:
    """Of 10,000 images at 32 pixels by the network of ``dcgan-r1``, as pictures and evaluations make them."""
    model = TRAININGS["dcgan-r1"].config.model
    network = place(model.generator(SAMPLED), compute.device).eval()
    generator = TrainedGenerator(network=network, model=model, spec=SAMPLED)  # type: ignore[arg-type]

    def sample() -> None:
        for _ in generator.batches(range(SAMPLES)):
            pass

    generator.sample(64)
    return timed(sample, SAMPLES, wait=waiting(compute))


def convolutions(training: Training, compute: Compute) -> Callable[[float], dict[str, Any]]:
    """How fast this machine does usual convolutions, and all of those in a training, by themselves, in FLOP/s."""
    dtype = torch.bfloat16 if compute.precision == "bfloat16" else torch.float32
    usual = {name: convolution(*shape, compute.device, dtype) for name, shape in CONVOLUTIONS.items()}
    matmul.pays = lambda *_, **__: False
    cycle, _, state = prepared(training.config, training.spec, compute)
    rule_of_algorithms(state)
    own = convolutions_in(cycle)

    def measure(seconds: float) -> dict[str, Any]:
        each = seconds / (len(usual) + len(own))
        rates = {name: flops / quickest(run, each, compute) for name, (run, flops) in usual.items()}
        spent = sum(times * quickest(run, each, compute) for run, _, times in own)
        return {"usual": rates, "own": sum(times * flops for _, flops, times in own) / spent}

    return measure


def quickest(run: Callable[[], object], seconds: float, compute: Compute) -> float:
    """The shortest of the times that some work takes."""
    wait, times, began = waiting(compute), [math.inf], time.perf_counter()
    while len(times) < 4 or time.perf_counter() - began < seconds:
        wait()
        started = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - started)
    return min(times)


def convolution(
    inputs: int, outputs: int, pixels: int, kernel: int, stride: int, transposed: bool, device: Any, dtype: Any
) -> tuple[Callable[[], object], int]:
    """A layer's forward and backward pass, and the operations in it."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False, device=device, dtype=dtype)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    side = pixels // stride if transposed else pixels
    x = torch.randn(64, inputs, side, side, device=device).to(dtype, memory_format=torch.channels_last)
    x.requires_grad_()
    made: Tensor = layer(x)
    gradient = torch.randn_like(made)
    flops = 3 * convolution_flops(x.shape, layer.weight.shape, made.shape, transposed=transposed)
    return lambda: torch.autograd.grad(layer(x), (x, layer.weight), gradient), flops


# --- the device --------------------------------------------------------------------------------------------


def waiting(compute: Compute) -> Callable[[], object]:
    """What waits until the device has done what it was given."""
    return torch.cuda.synchronize if compute.device.type == "cuda" else lambda: None


def with_memory(measure: Callable[[float], dict[str, Any]], compute: Compute) -> Callable[[float], dict[str, Any]]:
    """The same measurement, and on a GPU its memory."""
    if compute.device.type != "cuda":
        return measure
    return lambda seconds: {**measure(seconds), "peak_gpu_memory_mib": torch.cuda.max_memory_allocated() >> 20}


if __name__ == "__main__":
    main()

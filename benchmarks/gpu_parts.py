"""The measurements of benchmarks/gpu.py, which runs each in a process of its own; prints a line of JSON for each.

python benchmarks/gpu_parts.py speed dcgan-64 [--device cuda] [--seconds 1]
python benchmarks/gpu_parts.py data
python benchmarks/gpu_parts.py sampling
python benchmarks/gpu_parts.py compile dcgan-r1
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

import contenders
from contenders import R3GAN, TRAININGS, Training, contiguous, noise, sampling, waiting
from gansmith.component import override
from gansmith.data.batches import Batches
from gansmith.data.resident import BatchAt, place_batches
from gansmith.devices import Compute, choose_compute
from gansmith.training import adversarial
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import draw_latents, train_step
from gansmith.types import Batch, ImageSpec
from peers.rounds import timed
from speed import spread

__all__ = ["NETWORKS", "capture_graph", "compile_networks", "main", "make_cycle"]

STYLEGAN2 = {  # at 128 pixels: Karras et al. 2020, table 1 at half the width, as for faces of 256 pixels
    "model": "resnet",
    "model.width": 128,
    "model.max_multiple": 4,
    "batch_size": 32,
}
NETWORKS = {
    "dcgan-r1": TRAININGS["dcgan-r1"],
    "dcgan-64": TRAININGS["dcgan-64"],
    "r3gan-widths": Training("dcgan-r1", TRAININGS["dcgan-r1"].spec, R3GAN),
    "stylegan2-widths": Training("dcgan-r1", ImageSpec(height=128, width=128, channels=3), STYLEGAN2),
}
TINY = {"model.width": 4, "batch_size": 4}  # of a rehearsal
ROUNDS, FEW_IMAGES = 3, 64

Cycle = Callable[[], object]


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("speed", "data", "sampling", "compile"))
    parser.add_argument("name", nargs="?", choices=NETWORKS, default="dcgan-r1", help="of the network")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each contender in each round")
    options = parser.parse_args()
    compute = choose_compute(options.device, "auto")
    torch.manual_seed(0)
    if compute.device.type == "cpu":
        contenders.SAMPLES = contenders.IMAGES = FEW_IMAGES
    if options.part == "sampling":
        tell("float32", [sampling(compute)(options.seconds) for _ in range(ROUNDS)], compute)
        return
    training = NETWORKS[options.name]
    config = override(training.config, TINY) if compute.device.type == "cpu" else training.config
    makers = {"speed": variants, "data": places, "compile": compiled}[options.part]
    compete(makers(config, training.spec, compute), images_of_cycle(config), options.seconds, compute)


def compete(makers: Mapping[str, Callable[[], Cycle]], images: int, seconds: float, compute: Compute) -> None:
    """Measure contenders in turn; for one that cannot be built, write its error instead."""
    measures: dict[str, Callable[[float], dict[str, Any]]] = {}
    for name, make in makers.items():
        try:
            cycle = make()
            cycle()
        except Exception as error:  # whatever a compiler or a capture fails with is a result
            skip(name, f"failed: {type(error).__name__}: {error}"[:300])
        else:
            measures[name] = timed(cycle, images, wait=waiting(compute))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in measures}
    for number in range(ROUNDS):
        for name in measures if number % 2 == 0 else reversed(measures):
            found[name].append(measures[name](seconds))
    for name, answers in found.items():
        tell(name, answers, compute, found[next(iter(found))])


def tell(name: str, answers: list[dict[str, Any]], compute: Compute, first: list[dict[str, Any]] | None = None) -> None:
    """Print the values of one contender, its speed as [median, lowest, highest]."""
    speeds = [answer["images_per_second"] for answer in answers]
    values: dict[str, Any] = {"contender": name, "images_per_second": spread(speeds)}
    if first is not None and first is not answers:
        pairs = zip(speeds, (answer["images_per_second"] for answer in first), strict=True)
        values["over_the_first"] = spread([ours / theirs for ours, theirs in pairs])
    if compute.device.type == "cuda":
        values["peak_gpu_memory_mib"] = torch.cuda.max_memory_allocated() >> 20  # of all contenders together
    print(json.dumps(values), flush=True)


def skip(name: str, outcome: str) -> None:
    """Print why a contender has no values."""
    print(json.dumps({"contender": name, "outcome": outcome.replace("\n", " ")}), flush=True)


# --- contenders --------------------------------------------------------------------------------------------


def variants(config: Config, spec: ImageSpec, compute: Compute) -> dict[str, Callable[[], Cycle]]:
    """Return what makes each contender's cycle of steps, all of the same network on the same images."""
    single, mixed = (dataclasses.replace(compute, precision=name) for name in ("float32", "bfloat16"))
    batch = batches_of(config, spec).batch(0).to(compute.device)
    made = {
        "eager, float32, NCHW": lambda: make_cycle(config, spec, single, lambda *_: batch, contiguous),
        "channels-last": lambda: make_cycle(config, spec, single, lambda *_: batch),
        "bfloat16": lambda: make_cycle(config, spec, mixed, lambda *_: batch),
    }
    on_cuda = {
        "bfloat16, kernels by cuDNN's benchmark": lambda: search_kernels(
            make_cycle(config, spec, mixed, lambda *_: batch)
        ),
        "CUDA graph, bfloat16": lambda: graphed(config, spec, mixed, batch),
    }
    if compute.device.type == "cuda":
        return made | on_cuda
    for name in on_cuda:
        skip(name, "left out: needs CUDA")
    return made


def search_kernels(cycle: Cycle) -> Cycle:
    """Let cuDNN measure its kernels once for each shape of this cycle's convolutions."""

    def searched() -> None:
        with torch.backends.cudnn.flags(benchmark=True, deterministic=False, allow_tf32=True):
            cycle()

    return searched


def compiled(config: Config, spec: ImageSpec, compute: Compute) -> dict[str, Callable[[], Cycle]]:
    """Return what makes cycles without and with compiled networks."""
    mixed = dataclasses.replace(compute, precision="bfloat16")
    batch = batches_of(config, spec).batch(0).to(compute.device)
    return {
        "bfloat16": lambda: make_cycle(config, spec, mixed, lambda *_: batch),
        "torch.compile, bfloat16": lambda: make_cycle(config, spec, mixed, lambda *_: batch, compile_networks),
    }


def places(config: Config, spec: ImageSpec, compute: Compute) -> dict[str, Callable[[], Cycle]]:
    """Return what makes cycles of steps, and of batches alone, from the disk and from the device."""
    batches = batches_of(config, spec)
    resident = place_batches(compute.device, batches)
    steps = cycle_length(config)

    def fetch(batch_at: BatchAt) -> Cycle:
        return lambda: [batch_at(i * config.batch_size, 0, 1).to(compute.device) for i in range(steps)]

    return {
        "steps from the disk": lambda: make_cycle(config, spec, compute, batches.batch),
        "steps from the device": lambda: make_cycle(config, spec, compute, resident),
        "batches from the disk": lambda: fetch(batches.batch),
        "batches from the device": lambda: fetch(resident),
    }


def batches_of(config: Config, spec: ImageSpec) -> Batches:
    """Return batches of noise."""
    return Batches(store=noise(spec), batch_size=config.batch_size)


def cycle_length(config: Config) -> int:
    """Return the number of steps between lazy penalties, after which the work repeats."""
    return math.lcm(*(penalty.every for penalty in config.penalties))


def images_of_cycle(config: Config) -> int:
    """Return the number of real images that a cycle trains on."""
    return cycle_length(config) * config.batch_size * config.discriminator_steps


def make_cycle(
    config: Config,
    spec: ImageSpec,
    compute: Compute,
    batch_at: BatchAt,
    change: Callable[[TrainState], object] = lambda state: None,
) -> Cycle:
    """Return a cycle of training steps.

    Args:
        config: of the training.
        spec: of the images.
        compute: device and precision.
        batch_at: the real images.
        change: changes the networks before the first step.
    """
    state, steps = TrainState.create(config, spec, compute, epoch_size=contenders.IMAGES), cycle_length(config)
    change(state)

    def cycle() -> None:
        for _ in range(steps):
            train_step(state, batch_at)

    return cycle


def compile_networks(state: TrainState, **options: Any) -> None:
    """Compile the networks' passes, except those that a penalty differentiates twice, which torch.compile cannot do.

    Args:
        state: changed in place.
        options: of torch.compile.
    """
    for network in state.networks.values():
        network.forward = either(network, network.forward, torch.compile(network.forward, **options))


def either(network: nn.Module, plain: Callable[..., Tensor], fast: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the plain pass where gradients of both images and weights are asked for, else the fast one."""
    weights = list(network.parameters())

    def forward(x: Tensor, labels: Tensor | None = None) -> Tensor:
        twice = x.requires_grad and weights[0].requires_grad
        return plain(x, labels) if twice else fast(x, labels)

    return forward


# --- a graph of whole steps --------------------------------------------------------------------------------


def graphed(config: Config, spec: ImageSpec, compute: Compute, batch: Batch) -> Cycle:
    """Capture a cycle of steps in one CUDA graph, after warming up; return what replays it."""
    state = TrainState.create(config, spec, compute, epoch_size=contenders.IMAGES)
    for optimizer in state.optimizers.values():
        for group in optimizer.param_groups:
            group["capturable"] = True
    latents = draw_latents(state, salt=0)
    steps = cycle_length(config)

    def cycle() -> None:
        with same_inputs(latents):
            for _ in range(steps):
                train_step(state, lambda *_: batch)

    return capture_graph(cycle)


@contextmanager
def same_inputs(latents: Tensor) -> Iterator[None]:
    """Let steps read the same latents, already on the device, and not seed dropout: a graph allows no more."""
    with mock.patch.object(adversarial, "draw_latents", lambda *_, **__: latents), mock.patch("torch.manual_seed"):
        yield


def capture_graph(cycle: Cycle) -> Cycle:
    """Capture what a function gives to the GPU; return what gives it the same again."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(2):
            cycle()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        cycle()
    replay: Cycle = graph.replay
    return replay


if __name__ == "__main__":
    main()

"""A training of a fixed number of steps, and samples from it: the part that all trainings of diffusion.py share.

Each tool has an environment of its own, so this module needs only PyTorch and NumPy. A tool's script describes itself
as a ``Peer`` and calls ``run``. Its options:

    SCRIPT IMAGES.npz --out FOLDER --steps N --samples N [--seed N] [--threads N]
    SCRIPT IMAGES.npz --speed [--threads N]

The first form trains and writes FOLDER/samples.npz (uint8 "images" [n h w c]) and FOLDER/facts.json. The second only
measures a training step and an evaluation of the network, and prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounds import peak_memory_mib
from torch import Tensor

__all__ = ["Build", "Peer", "run", "shorten_warm_up"]

DRAWN_AT_ONCE = 16
FEW_IMAGES, PROBE_SECONDS = 4, 20.0  # of steps that are timed
PROBE_SAMPLES, PROBE_EVALUATIONS = 8, 2


@dataclass(frozen=True)
class Peer:
    """A training by another tool.

    Args:
        tool: its name and version.
        parameters: of its network.
        batch: images of one training step.
        step: trains on images, float32 [n 3 h w] in [-1, 1]; returns the loss.
        samplers: evaluations of the network for one image, by the sampler's name; the tool's default comes first.
        drawn_by: the sampler that draws the samples.
        sample: draws so many images with so many evaluations each, float32 [n 3 h w] in [-1, 1].
    """

    tool: str
    parameters: int
    batch: int
    step: Callable[[Tensor], float]
    samplers: Mapping[str, int]
    drawn_by: str
    sample: Callable[[int, int], Tensor]


Build = Callable[[int, int], Peer]  # of the images' side and the number of steps


def run(build: Build, about: str) -> None:
    """Train or measure, as the command line says.

    Args:
        build: makes the peer for images of a side and a number of steps.
        about: text of --help.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help='.npz with uint8 "images" [n h w 3]')
    parser.add_argument("--out", type=Path, default=Path("samples"), help="folder for samples.npz and facts.json")
    parser.add_argument("--steps", type=int, default=1, help="of training")
    parser.add_argument("--samples", type=int, default=DRAWN_AT_ONCE, help="images to draw at the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--speed", action="store_true", help="only measure a step and an evaluation of the network")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    images = torch.from_numpy(np.load(options.images)["images"])
    peer = build(images.shape[1], options.steps)
    if options.speed:
        print(json.dumps({**_describe(peer), **measure_speed(peer, images)}), flush=True)
    else:
        train(peer, images, options)


def train(peer: Peer, images: Tensor, options: argparse.Namespace) -> None:
    """Train, draw and write."""
    options.out.mkdir(parents=True, exist_ok=True)
    began, worked, losses = time.perf_counter(), time.process_time(), []
    for step in range(options.steps):
        losses.append(peer.step(draw_batch(images, peer.batch)))
        print(f"step {step + 1} of {options.steps}, loss {losses[-1]:.4f}", flush=True)
    trained = {"training_seconds": time.perf_counter() - began, "training_cpu_seconds": time.process_time() - worked}
    began, worked = time.perf_counter(), time.process_time()
    samples = draw_samples(peer, options.samples)
    drawn = {"sampling_seconds": time.perf_counter() - began, "sampling_cpu_seconds": time.process_time() - worked}
    np.savez_compressed(options.out / "samples.npz", images=samples)
    facts: dict[str, Any] = {name: round(value, 1) for name, value in {**trained, **drawn}.items()}
    facts |= {"steps": options.steps, "images_seen": options.steps * peer.batch, "seed": options.seed}
    facts |= {"samples": options.samples, "losses": [round(loss, 4) for loss in losses[-10:]]}
    facts |= {**_describe(peer), "peak_memory_mib": peak_memory_mib()}
    (options.out / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def measure_speed(peer: Peer, images: Tensor) -> dict[str, float]:
    """Return images per second of training, and seconds of one evaluation of the network for one image when sampling.

    A step of the whole batch is timed if it takes less than about 20 s. Otherwise a step of as many images as fit is
    timed, and the rest of the batch is extrapolated from it and a step of few images.
    """
    peer.step(draw_batch(images, 1))
    few = _seconds(lambda: peer.step(draw_batch(images, FEW_IMAGES)))
    num = min(peer.batch, max(2 * FEW_IMAGES, int(PROBE_SECONDS / few * FEW_IMAGES)))
    many = _seconds(lambda: peer.step(draw_batch(images, num)))
    whole = many + (peer.batch - num) * (many - few) / (num - FEW_IMAGES)
    sampling = _seconds(lambda: peer.sample(PROBE_SAMPLES, PROBE_EVALUATIONS))
    return {
        "images_per_second": round(peer.batch / whole, 3),
        "evaluation_seconds": round(sampling / (PROBE_SAMPLES * PROBE_EVALUATIONS), 5),
    }


def draw_batch(images: Tensor, num: int) -> Tensor:
    """Return random images, half of them mirrored, as float32 [num 3 h w] in [-1, 1]."""
    chosen = images[torch.randint(len(images), (num,))].permute(0, 3, 1, 2)
    mirrored = torch.rand(num, 1, 1, 1) < 0.5
    return torch.where(mirrored, chosen.flip(3), chosen).float() / 127.5 - 1


def draw_samples(peer: Peer, num: int) -> Any:
    """Return samples, uint8 [num h w 3]."""
    evaluations, drawn = peer.samplers[peer.drawn_by], []
    for first in range(0, num, DRAWN_AT_ONCE):
        drawn.append(peer.sample(min(DRAWN_AT_ONCE, num - first), evaluations))
        print(f"sample {first + len(drawn[-1])} of {num}", flush=True)
    pixels = (torch.cat(drawn).clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def shorten_warm_up(warm_up: int, steps: int) -> int:
    """Return the steps of a warm-up of the learning rate: a tenth of the training at most.

    The tools' warm-ups are made for days on a GPU. Unchanged, some would end long after a training on a CPU.
    """
    return max(1, min(warm_up, steps // 10))


def _describe(peer: Peer) -> dict[str, Any]:
    return {
        "about": peer.tool,
        "torch": torch.__version__,
        "parameters": peer.parameters,
        "batch": peer.batch,
        "samplers": dict(peer.samplers),
        "drawn_by": peer.drawn_by,
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

"""DCGAN at 64 pixels as a plain PyTorch loop: eager, float32, NCHW, Adam with its defaults.

    python benchmarks/peers/plain_torch.py [--seconds 20]

It has the sizes and settings of PyTorch's public DCGAN example: width 64, batch 128, Adam 2e-4 with betas 0.5 and
0.999, binary cross-entropy. It trains on noise instead of photographs, so that reading data takes no time. Prints
images/s.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from typing import Any

import torch
from rounds import serve, timed
from torch import Tensor, nn

BATCH, PIXELS, CHANNELS, LATENT, WIDTH = 128, 64, 3, 100, 64


def main() -> None:
    """Measure once, or on each request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of the measurement")
    parser.add_argument("--threads", type=int, help="default: as PyTorch chooses")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--serve", action="store_true", help="measure whenever a line on stdin says for how long")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    measure = prepared(torch.device(options.device))
    if options.serve:
        serve(measure, torch=torch.__version__)
    else:
        print(json.dumps(measure(options.seconds)))


def prepared(device: torch.device) -> Callable[[float], dict[str, Any]]:
    """Return a measurement of the training step, after warm-up."""
    torch.manual_seed(0)
    generator, discriminator = generator_network().to(device), discriminator_network().to(device)
    step = training_step(generator, discriminator, device)
    for _ in range(2):
        step()
    cuda = device.type == "cuda"
    measure = timed(step, BATCH, wait=torch.cuda.synchronize if cuda else lambda: None)
    if not cuda:
        return measure
    return lambda seconds: {**measure(seconds), "peak_gpu_memory_mib": torch.cuda.max_memory_allocated() >> 20}


def training_step(generator: nn.Module, discriminator: nn.Module, device: torch.device) -> Callable[[], object]:
    """Run the loop's body; return the two losses."""
    entropy = nn.BCELoss()
    adam: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999)}
    generator_adam = torch.optim.Adam(generator.parameters(), **adam)
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), **adam)
    photographs = [torch.rand(BATCH, CHANNELS, PIXELS, PIXELS, device=device) * 2 - 1 for _ in range(4)]
    batches = itertools.cycle(photographs)
    true, false = torch.ones(BATCH, device=device), torch.zeros(BATCH, device=device)

    def step() -> tuple[float, float]:
        discriminator.zero_grad()
        loss_real: Tensor = entropy(discriminator(next(batches)), true)
        loss_real.backward()
        fake = generator(torch.randn(BATCH, LATENT, 1, 1, device=device))
        loss_fake: Tensor = entropy(discriminator(fake.detach()), false)
        loss_fake.backward()
        discriminator_adam.step()
        generator.zero_grad()
        loss: Tensor = entropy(discriminator(fake), true)
        loss.backward()
        generator_adam.step()
        return (loss_real + loss_fake).item(), loss.item()

    return step


def generator_network() -> nn.Sequential:
    """Return the generator: 1x1 to 4x4, then doubled four times."""
    layers: list[nn.Module] = []
    inputs = LATENT
    for i, outputs in enumerate((8 * WIDTH, 4 * WIDTH, 2 * WIDTH, WIDTH)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2 if i else 1, 1 if i else 0, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    network = nn.Sequential(*layers, nn.ConvTranspose2d(inputs, CHANNELS, 4, 2, 1, bias=False), nn.Tanh())
    return network.apply(initialized)


def discriminator_network() -> nn.Sequential:
    """Return the discriminator: halved four times, then one number per image."""
    layers: list[nn.Module] = []
    inputs = CHANNELS
    for i, outputs in enumerate((WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH)):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(outputs)] if i else []
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        inputs = outputs
    network = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, bias=False), nn.Sigmoid(), nn.Flatten(0))
    return network.apply(initialized)


def initialized(layer: nn.Module) -> None:
    """Initialise weights as normal with deviation 0.02, scales about 1."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)


if __name__ == "__main__":
    main()

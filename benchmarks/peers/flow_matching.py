"""Flow matching by torchcfm with the settings of its CIFAR-10 example, for benchmarks/peers/diffusion.py.

Its defaults: UNet with 128 channels, multiples 1, 2, 2, 2 and attention at 16 pixels, optimal transport within a batch
of 128, Adam 2e-4, gradients clipped at 1, averaged weights (0.9999), mirrored images, 100 Euler steps when sampling.
The batch is computed in parts, which changes memory only. Written from the list of its settings; see README.md.
"""

from __future__ import annotations

import copy
from importlib.metadata import version

import torch
from fixed_steps import Peer, run, shorten_warm_up
from torch import Tensor

PART, DECAY, WARM_UP, EULER = 32, 0.9999, 5000, "Euler, 100 steps"


def build(size: int, steps: int) -> Peer:
    """Return the training for images of this side."""
    from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher
    from torchcfm.models.unet.unet import UNetModelWrapper

    network = UNetModelWrapper(
        dim=(3, size, size),
        num_res_blocks=2,
        num_channels=128,
        channel_mult=[1, 2, 2, 2],
        num_heads=4,
        num_head_channels=64,
        attention_resolutions="16",
        dropout=0.1,
    )
    average = copy.deepcopy(network).eval()
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    adam = torch.optim.Adam(network.parameters(), lr=2e-4)
    warm_up = shorten_warm_up(WARM_UP, steps)
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(step + 1, warm_up) / warm_up)
    taken = 0

    def step(images: Tensor) -> float:
        nonlocal taken
        network.train()
        moments, places, speeds = matcher.sample_location_and_conditional_flow(torch.randn_like(images), images)
        total = 0.0
        for part in torch.arange(len(images)).split(PART):
            loss = (network(moments[part], places[part]) - speeds[part]).square().mean() * (len(part) / len(images))
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        rate.step()
        adam.zero_grad()
        taken += 1
        move_average(average, network, min(DECAY, (1 + taken) / (10 + taken)))
        return total

    def sample(num: int, evaluations: int) -> Tensor:
        images = torch.randn(num, 3, size, size)
        with torch.inference_mode():
            for i in range(evaluations):
                images = images + average(torch.full((num,), i / evaluations), images) / evaluations
        return images.clone()

    return Peer(
        tool=f"torchcfm {version('torchcfm')}",
        parameters=sum(each.numel() for each in network.parameters()),
        batch=128,
        step=step,
        samplers={EULER: 100},
        drawn_by=EULER,
        sample=sample,
    )


@torch.no_grad()
def move_average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move averaged weights towards those of the network; the first steps count more than in the example."""
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


if __name__ == "__main__":
    run(build, str(__doc__))

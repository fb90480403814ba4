"""A diffusion model by denoising-diffusion-pytorch with the settings of its README, for benchmarks/peers/diffusion.py.

Its defaults: Unet with dim 64 and multiples 1, 2, 4, 8; two batches of 32 a step, Adam 8e-5 with betas 0.9 and 0.99,
gradients clipped at 1, averaged weights (0.995, every 10 steps), mirrored images, 1000 steps, 250 when sampling.
Samples are drawn with 50 steps of the same sampler. Its Trainer's loop is written here in a few lines; see README.md.
"""

from __future__ import annotations

import contextlib
from importlib.metadata import version

import torch
from fixed_steps import Peer, run
from torch import Tensor

TIMESTEPS, PARTS, DDIM = 1000, 2, "DDIM, 50 steps"


def build(size: int, steps: int) -> Peer:
    """Return the training for images of this side."""
    declare_missing_operator()
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    network = Unet(dim=64, dim_mults=(1, 2, 4, 8), flash_attn=False)  # which needs a GPU; the values are the same
    diffusion = GaussianDiffusion(network, image_size=size, timesteps=TIMESTEPS, sampling_timesteps=250)
    adam = torch.optim.Adam(diffusion.parameters(), lr=8e-5, betas=(0.9, 0.99))
    average = EMA(diffusion, beta=0.995, update_every=10)

    def step(images: Tensor) -> float:
        diffusion.train()
        total = 0.0
        for part in images.chunk(PARTS):
            loss = diffusion(part / 2 + 0.5) / PARTS  # it takes images in [0, 1]
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        average.update()
        return total

    def sample(num: int, evaluations: int) -> Tensor:
        model = average.ema_model.eval()
        model.sampling_timesteps, model.is_ddim_sampling = evaluations, evaluations < TIMESTEPS
        with torch.inference_mode():
            return model.sample(batch_size=num).clone() * 2 - 1

    return Peer(
        tool=f"denoising-diffusion-pytorch {version('denoising-diffusion-pytorch')}",
        parameters=sum(each.numel() for each in network.parameters()),
        batch=32 * PARTS,
        step=step,
        samplers={"DDIM, 250 steps": 250, "DDPM, 1000 steps": TIMESTEPS, DDIM: 50},
        drawn_by=DDIM,
        sample=sample,
    )


def declare_missing_operator() -> None:
    """Let torchvision be imported beside a PyTorch without CUDA, for which PyPI has no torchvision.

    Only the package's data loading needs torchvision, and nothing of that is used here.
    """
    with contextlib.suppress(RuntimeError):  # it is there already
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")


if __name__ == "__main__":
    run(build, str(__doc__))

"""A denoising diffusion model as in the unconditional example of diffusers, for benchmarks/peers/diffusion.py.

Its defaults: UNet2DModel with six levels of 128 to 512 channels, batch 16, AdamW 1e-4 with betas 0.95 and 0.999, cosine
schedule of the learning rate, gradients clipped at 1, averaged weights, mirrored images, 1000 DDPM steps. Samples are
drawn with 50 DDIM steps, the default of its DDIM pipeline. Written from the list of its settings; see README.md.
"""

from __future__ import annotations

from typing import Any

import torch
from fixed_steps import Peer, run, shorten_warm_up
from torch import Tensor
from torch.nn import functional as F

TIMESTEPS, WARM_UP, DDIM = 1000, 500, "DDIM, 50 steps"


def build(size: int, steps: int) -> Peer:
    """Return the training for images of this side."""
    import diffusers
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    network = unet(diffusers, size)
    noising = diffusers.DDPMScheduler(num_train_timesteps=TIMESTEPS)
    adam = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    warm_up = shorten_warm_up(WARM_UP, steps)
    rate = get_scheduler("cosine", adam, num_warmup_steps=warm_up, num_training_steps=max(2, steps))
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4)

    def step(images: Tensor) -> float:
        network.train()
        noise, moments = torch.randn_like(images), torch.randint(TIMESTEPS, (len(images),))
        loss = F.mse_loss(network(noising.add_noise(images, noise, moments), moments).sample, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        rate.step()
        average.step(network.parameters())
        adam.zero_grad()
        return loss.item()

    def sample(num: int, evaluations: int) -> Tensor:
        network.eval()
        average.store(network.parameters())
        average.copy_to(network.parameters())
        schedulers = diffusers.DDPMScheduler if evaluations == TIMESTEPS else diffusers.DDIMScheduler
        pipelines = diffusers.DDPMPipeline if evaluations == TIMESTEPS else diffusers.DDIMPipeline
        pipeline = pipelines(unet=network, scheduler=schedulers(num_train_timesteps=TIMESTEPS))
        pipeline.set_progress_bar_config(disable=True)
        made = pipeline(batch_size=num, num_inference_steps=evaluations, output_type="np").images
        average.restore(network.parameters())
        return torch.from_numpy(made).permute(0, 3, 1, 2) * 2 - 1

    return Peer(
        tool=f"diffusers {diffusers.__version__}",
        parameters=sum(each.numel() for each in network.parameters()),
        batch=16,
        step=step,
        samplers={"DDPM, 1000 steps": TIMESTEPS, DDIM: 50},
        drawn_by=DDIM,
        sample=sample,
    )


def unet(diffusers: Any, size: int) -> Any:
    """Return the example's network: attention on the fifth of six levels."""
    down = ["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"]
    return diffusers.UNet2DModel(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=tuple(down),
        up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)),
    )


if __name__ == "__main__":
    run(build, str(__doc__))

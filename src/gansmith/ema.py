"""An exponential moving average of the generator, measured in images."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ema_decay", "update_ema"]


def ema_decay(batch_size: int, nimg: int, halflife_kimg: float, ramp: float) -> float:
    """The weight of the old average after one step.

    Args:
        batch_size: images a step.
        nimg: images seen so far.
        halflife_kimg: thousands of images after which a set of weights counts for half.
        ramp: the half-life never exceeds this share of the images seen, so that the start is soon forgotten
            (Karras et al. 2020, ADA).
    """
    halflife = max(min(halflife_kimg * 1000, nimg * ramp), 1e-8)
    return float(0.5 ** (batch_size / halflife))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the average towards the model; statistics of normalisation are averaged like weights."""
    old = [tensor for tensor in average.state_dict().values() if tensor.is_floating_point()]
    new = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    torch._foreach_lerp_(old, new, 1 - decay)

"""The exponential moving average of the generator's weights, with a half-life in images."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ema_decay", "update_ema"]


def ema_decay(batch_size: int, nimg: int, halflife_kimg: float, ramp: float) -> float:
    """Return the weight of the old average in one step, in [0, 1).

    Args:
        batch_size: images per step.
        nimg: images seen so far.
        halflife_kimg: half-life in thousands of images.
        ramp: upper limit of the half-life as a share of the images seen, so that the initial weights fade quickly
            (Karras et al. 2020, ADA).
    """
    halflife = max(min(halflife_kimg * 1000, nimg * ramp), 1e-8)
    return float(0.5 ** (batch_size / halflife))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Update the average in place; statistics of normalisations are averaged like weights."""
    old = [tensor for tensor in average.state_dict().values() if tensor.is_floating_point()]
    new = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    torch._foreach_lerp_(old, new, 1 - decay)

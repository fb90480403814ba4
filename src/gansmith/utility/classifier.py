"""The classifier of a utility test: one network and one length for every arm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.devices import choose_compute
from gansmith.images.pixels import to_float
from gansmith.metrics.backbone import Backbone
from gansmith.metrics.learning import minimise
from gansmith.types import Images, ImageSpec, PixelArray, send
from gansmith.utility.arms import BATCH_SIZE, ArmOrder, Material
from gansmith.utility.jitter import jitter

__all__ = ["NETWORK", "build_classifier", "predict", "train_classifier"]

NETWORK = 2  # raise it when the network or its training changes: cells are then trained again
WIDTH, NUM_FEATURES, LR = 24, 64, 8e-3
TEST_BATCH = 256


def build_classifier(spec: ImageSpec, seed: int) -> Backbone:
    """Return an untrained classifier; its weights are a function of the seed."""
    network = Backbone(spec, width=WIDTH, num_features=NUM_FEATURES, num_classes=spec.num_classes, light=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                module.reset_parameters()
    return network.to(choose_compute("auto", "auto").device)


def train_classifier(
    network: Backbone,
    arm: ArmOrder,
    material: Material,
    seed: int,
    *,
    augmented: bool,
    mirrored: bool,
    asked: Callable[[], bool] = lambda: False,
) -> bool:
    """Train a classifier on an arm's images, in their order.

    Args:
        network: changed in place.
        arm: its images.
        material: where they are.
        seed: of the augmentation.
        augmented: augment every image in the classical way.
        mirrored: see ``jitter``.
        asked: returns whether to stop early; asked after each step.

    Returns:
        Whether training reached its end.
    """
    draw = torch.Generator().manual_seed(seed)
    device = next(network.parameters()).device

    def loss(step: int) -> Tensor:
        batch = material.take(arm.order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE])
        images = _send(batch.images, device)
        if augmented:
            images = jitter(images, draw, mirrored=mirrored)
        _, logits = network(images)
        return F.cross_entropy(logits, send(torch.from_numpy(batch.labels), device))

    return not any(asked() for _ in minimise(network, loss, len(arm.order) // BATCH_SIZE, LR))


@torch.no_grad()
def predict(network: Backbone, images: PixelArray) -> NDArray[np.int64]:
    """Return the class that the classifier gives each image, int64 [n]."""
    network.eval()
    device = next(network.parameters()).device
    found = []
    for start in range(0, len(images), TEST_BATCH):
        _, logits = network(_send(np.array(images[start : start + TEST_BATCH]), device))
        assert logits is not None
        found.append(logits.argmax(dim=1).cpu().numpy())
    return np.concatenate(found)


def _send(images: PixelArray, device: torch.device) -> Images:
    return to_float(send(torch.from_numpy(images).permute(0, 3, 1, 2), device))

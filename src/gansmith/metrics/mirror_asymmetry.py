"""Test whether images can be told from their mirror images; if so, mirroring would change their meaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gansmith.augment import resolve_operations
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.devices import choose_compute
from gansmith.images.pixels import to_float
from gansmith.metrics.backbone import Backbone
from gansmith.metrics.features import Selection
from gansmith.metrics.intervals import wilson
from gansmith.metrics.learning import LEARNING_SEED, Pace, Progress, fit, split_validation
from gansmith.metrics.metric import Estimate
from gansmith.types import Batch, Images, ImageSpec, Pixels, send

__all__ = ["choose_operations", "measure_mirror_asymmetry"]

SIDE = 32  # pixels; larger images are downscaled, which removes compression artefacts
MARGIN = 8  # a random margin of 1/8 of each side is cut off
KIMG = 10.0
LEAST_VALIDATION, MOST_VALIDATION = 20, 1000
TOLD = 0.6  # with 1,000 images and more: 0.46 to 0.59 for photographs, 0.65 to 1 for letters, signs and digits
WIDTH, NUM_FEATURES = 24, 32


def measure_mirror_asymmetry(store: Store, training: Indices, progress: Progress | None = None) -> Estimate | None:
    """Return the share of held-out images that a small network tells from their mirror images; chance is 0.5.

    The network is trained to score each image higher than its mirror image; compare Lin et al. 2020, "Visual
    Chirality". It sees crops of downscaled images, so that it does not learn the grid of JPEG blocks.

    Args:
        store: the images.
        training: indices of the images to use; a tenth of them, in whole groups, is held out.
        progress: called with the number of images processed and in all.

    Returns:
        The share in [0, 1]; None if fewer than 20 images are held out.
    """
    learnt, validation = split_validation(store, training)
    if len(validation) < LEAST_VALIDATION:
        return None
    window = _Window(store.spec)
    device = choose_compute("auto", "auto").device
    backbone = Backbone(window.spec, width=WIDTH, num_features=NUM_FEATURES, num_classes=1).to(device)

    def score_difference(pixels: Pixels) -> Tensor:
        """Return the score of each image minus that of its mirror image."""
        parts = window(to_float(send(pixels, device)))
        _, numbers = backbone(torch.cat([parts, parts.flip(3)]).contiguous(memory_format=torch.channels_last))
        assert numbers is not None
        as_is, mirrored = numbers[:, 0].chunk(2)
        difference: Tensor = as_is - mirrored
        return difference

    def loss(batch: Batch) -> Tensor:
        return F.softplus(-score_difference(batch.images)).mean()

    fit(backbone, loss, store, learnt, Pace(kimg=KIMG), progress)
    backbone.eval()
    some = validation[np.linspace(0, len(validation) - 1, min(MOST_VALIDATION, len(validation))).astype(np.int64)]
    batches = Selection(store.images, some).batches()
    with torch.no_grad():
        differences = torch.cat([score_difference(torch.from_numpy(pixels).permute(0, 3, 1, 2)) for pixels in batches])
    return wilson(int((differences > 0).sum()), len(differences))


def choose_operations(
    kind: str, channels: int, mirror_asymmetry: Callable[[], Estimate | None] | None, where: str = "augment.operations"
) -> tuple[tuple[str, ...], str]:
    """Choose augmentations that keep the meaning of images: those of their kind, without "mirror" if that changes it.

    Every default for augmentation comes from this function.

    Args:
        kind: of the data, see ``Source.kind``.
        channels: of the images.
        mirror_asymmetry: measures which share of the images can be told from their mirror images; called only if the
            result matters. None if it cannot be measured.
        where: the field, for messages.

    Returns:
        Names from ``gansmith.augment.OPERATIONS``, and the reason if "mirror" is left out, else "".

    Raises:
        ConfigError: no operation is known to be safe for this kind.
    """
    operations = resolve_operations((), kind, channels, where)
    told = mirror_asymmetry() if mirror_asymmetry is not None and "mirror" in operations else None
    if told is None or told.value < TOLD or told.low <= 0.5:
        return operations, ""
    rest = tuple(name for name in operations if name != "mirror")
    return rest, f"no mirror, as {told.value:.0%} can be told from their mirror images"


class _Window:
    """Crops a downscaled copy of each image, at a random place."""

    def __init__(self, spec: ImageSpec) -> None:
        self.shrinkage = -(-max(spec.height, spec.width) // SIDE)
        height, width = (max(1, side // self.shrinkage) for side in (spec.height, spec.width))
        self.margins = height // MARGIN, width // MARGIN
        self.spec = dataclasses.replace(spec, height=height - self.margins[0], width=width - self.margins[1])
        self.stream = torch.Generator().manual_seed(LEARNING_SEED)

    def __call__(self, images: Images) -> Images:
        small = F.avg_pool2d(images, self.shrinkage).permute(0, 2, 3, 1)
        rows, columns = (
            torch.arange(side) + torch.randint(max(1, margin), (len(images), 1), generator=self.stream)
            for side, margin in zip((self.spec.height, self.spec.width), self.margins, strict=True)
        )
        parts = small[torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
        return parts.permute(0, 3, 1, 2)

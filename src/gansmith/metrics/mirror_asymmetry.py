"""Whether images can be told from their mirror images: if so, mirroring makes others of them."""

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
from gansmith.metrics.learning import LEARNING_SEED, Progress, fit, split_validation
from gansmith.metrics.metric import Estimate
from gansmith.types import Batch, Images, ImageSpec, Pixels

__all__ = ["choose_operations", "measure_mirror_asymmetry"]

SIDE = 32  # pixels; larger images are looked at from further away, where the grain of a file format is not seen
MARGIN = 8  # one part of so many of each side is cut off, here or there
KIMG = 10.0
LEAST_JUDGED, MOST_JUDGED = 20, 1000
TOLD = 0.6  # of 1,000 images and more: 0.46 to 0.59 of photographs, 0.65 to 1 of letters, signs and digits
WIDTH, NUM_FEATURES = 24, 32


def measure_mirror_asymmetry(store: Store, training: Indices, progress: Progress | None = None) -> Estimate | None:
    """The share of unseen images that a small network tells from their mirror images; half are told by guessing.

    The network gives each image a number, and learns to give it a larger one than its mirror image; compare
    Lin et al. 2020, "Visual Chirality". It sees parts of small copies, lest it learn how JPEG lays its blocks.

    Args:
        store: the images.
        training: which of them there are; a tenth, whole groups, is not learnt from.
        progress: called with the number of images seen and to be seen.

    Returns:
        the share in [0, 1]; None where fewer than 20 images are left to judge by.
    """
    learnt, judged = split_validation(store, training)
    if len(judged) < LEAST_JUDGED:
        return None
    window = _Window(store.spec)
    device = choose_compute("auto", "auto").device
    backbone = Backbone(window.spec, width=WIDTH, num_features=NUM_FEATURES, num_classes=1).to(device)

    def lead(pixels: Pixels) -> Tensor:
        """By how much an image's number is larger than its mirror image's."""
        parts = window(to_float(pixels.to(device)))
        _, numbers = backbone(torch.cat([parts, parts.flip(3)]).contiguous(memory_format=torch.channels_last))
        assert numbers is not None
        as_is, mirrored = numbers[:, 0].chunk(2)
        by_how_much: Tensor = as_is - mirrored
        return by_how_much

    def loss(batch: Batch) -> Tensor:
        return F.softplus(-lead(batch.images)).mean()

    fit(backbone, loss, store, learnt, KIMG, progress)
    backbone.eval()
    some = judged[np.linspace(0, len(judged) - 1, min(MOST_JUDGED, len(judged))).astype(np.int64)]
    batches = Selection(store.images, some).batches()
    with torch.no_grad():
        leads = torch.cat([lead(torch.from_numpy(pixels).permute(0, 3, 1, 2)) for pixels in batches])
    return wilson(int((leads > 0).sum()), len(leads))


def choose_operations(
    kind: str, channels: int, mirror_asymmetry: Callable[[], Estimate | None] | None, where: str = "augment.operations"
) -> tuple[tuple[str, ...], str]:
    """Choose the operations that leave images' meaning alone: those of their kind, less "mirror" if it changes them.

    Everything that augments or proposes to, without being told how, asks this function.

    Args:
        kind: of the data, as ``Source.kind``.
        channels: of the images.
        mirror_asymmetry: measures which share of these images can be told from their mirror images; called only if the
            answer matters. None if it cannot be measured.
        where: for messages.

    Returns:
        Names of ``gansmith.augment.OPERATIONS``, and why "mirror" is left out; "" if it is not.

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
    """A part of a small copy of each image, at another place each time, of one size."""

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

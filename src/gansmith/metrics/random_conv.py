"""Features of an untrained network: available at once, but shallow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gansmith.component import (
    Between,
)
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.devices import choose_compute
from gansmith.metrics.backbone import Backbone, BackboneNetwork
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.learning import Progress

__all__ = ["RandomConv"]


@dataclass(frozen=True, kw_only=True)
class RandomConv(Extractor):
    """The network of the other extractors with its initial weights, which are the same for all data.

    It represents colours, edges and textures, and how they vary between images. It does not represent what an image
    shows: an object of the wrong kind with the right texture goes unnoticed.

    Args:
        width: channels of the second layer; see ``Backbone``.
        num_features: d.
    """

    width: Annotated[int, Between(1, 1024)] = 48
    num_features: Annotated[int, Between(1, 4096)] = 64

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        backbone = Backbone(store.spec, width=self.width, num_features=self.num_features)
        device = choose_compute("auto", "auto").device
        return BackboneNetwork("random-conv", backbone, store.spec, device, "random weights")

"""Features of a network that has learnt nothing: at once, and of little depth."""

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
    """The network that the other extractors start from, with its first weights, the same for all data.

    It sees colours, edges and textures, and how they vary from image to image. It does not know what an image shows:
    a wheel where a flower should be is as good to it, if the textures are right.

    Args:
        width: maps of the second layer; see ``Backbone``.
        num_features: d.
    """

    width: Annotated[int, Between(1, 1024)] = 48
    num_features: Annotated[int, Between(1, 4096)] = 64

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> BackboneNetwork:
        """See ``Extractor.network``."""
        backbone = Backbone(store.spec, width=self.width, num_features=self.num_features)
        device = choose_compute("auto", "auto").device
        return BackboneNetwork("random-conv", backbone, store.spec, device, "random weights")

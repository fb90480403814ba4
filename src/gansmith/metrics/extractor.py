"""The interface of feature extractors: settings that create a feature network for a data set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gansmith.component import Component, from_plain
from gansmith.data.store import Store
from gansmith.metrics.features import FeatureNetwork

__all__ = ["Extractor", "default_extractor"]


@dataclass(frozen=True, kw_only=True)
class Extractor(Component):
    """Settings of a feature extractor; ``network`` creates it for a data set."""

    table: ClassVar[str] = "gansmith.metrics:EXTRACTORS"

    @abstractmethod
    def network(
        self, store: Store, training: NDArray[np.int64], progress: Callable[[int, int], object] | None = None
    ) -> FeatureNetwork:
        """Return the network for a data set, from the cache or newly trained.

        Args:
            store: the real images.
            training: indices of the images that it may be trained on, int64 [n].
            progress: called with the work done and all the work, during training or a download.

        Raises:
            MetricError: it does not fit these data; the message names another extractor.
            DataError: a file that it needs is missing, and cannot be downloaded.
        """


def default_extractor(store: Store) -> Extractor:
    """Return the extractor that ranks images of this data set best; docs/metrics.md has the measurements."""
    several = store.labels is not None and len(np.unique(store.labels)) > 1
    chosen: Extractor = from_plain(Extractor, "classifier" if several else "self-supervised", "extractor")
    return chosen

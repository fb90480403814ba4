"""What an extractor is: a recipe for a feature network, which is made once for a data set and cached."""

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
    """A recipe for a feature network."""

    table: ClassVar[str] = "gansmith.metrics:EXTRACTORS"

    @abstractmethod
    def network(
        self, store: Store, training: NDArray[np.int64], progress: Callable[[int, int], object] | None = None
    ) -> FeatureNetwork:
        """The network for a data set: from the cache, else made now.

        Args:
            store: the real images.
            training: which of them it may learn from, int64 [n].
            progress: called with the work done and all the work, while something is made or fetched.

        Raises:
            MetricError: it cannot be made for these data; the message names another extractor.
            DataError: a file that it needs cannot be had.
        """


def default_extractor(store: Store) -> Extractor:
    """Return the extractor that ranks images of this data set best; docs/metrics.md has the measurements."""
    several = store.labels is not None and len(np.unique(store.labels)) > 1
    chosen: Extractor = from_plain(Extractor, "classifier" if several else "self-supervised", "extractor")
    return chosen

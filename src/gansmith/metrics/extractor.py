"""The interface of feature extractors: settings that create a feature network for a data set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gansmith.component import Component, from_plain
from gansmith.data.store import Store
from gansmith.metrics.features import FeatureNetwork
from gansmith.schedules import Duration, Progress

__all__ = ["Extractor", "choose_settings", "default_extractor", "explain_default"]

SHORT = Progress(nimg=0, step=0, seconds=600, epoch_size=1)  # shorter trainings are tracked with a light extractor
LIGHT: dict[str, dict[str, Any]] = {
    "classifier": {"width": 32, "kimg": 40.0, "light": True},
    "self-supervised": {"width": 32, "kimg": 20.0, "light": True},
    "efficientnet-lite0": {"side": 64},
    "efficientnet-lite1": {"side": 64},
}
# For photographs, the first that the discriminator does not look through; projected discriminators use lite0.
PRETRAINED = {"lite1": "efficientnet-lite1", "lite0": "efficientnet-lite0"}


@dataclass(frozen=True, kw_only=True)
class Extractor(Component):
    """Settings of a feature extractor; ``network`` creates it for a data set.

    Class attributes:
        backbone: the pretrained network that it uses, by its name in ``models.pretrained``; None without one.
    """

    table: ClassVar[str] = "gansmith.metrics:EXTRACTORS"
    backbone: ClassVar[str | None] = None

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


def default_extractor(store: Store, length: Duration | None = None, avoid: Set[str] = frozenset()) -> Extractor:
    """Return the extractor that ranks images of this data set best; docs/metrics.md has the measurements.

    Args:
        store: the real images.
        length: of a training that it tracks. If that is less than ten minutes, the extractor is light: it is trained
            in a quarter of the time, or sees smaller images.
        avoid: pretrained networks that the discriminator looks through; see ``models.pretrained.find_backbones``.
    """
    pretrained = [name for backbone, name in PRETRAINED.items() if backbone not in avoid]
    if _is_photographs(store) and pretrained:
        return choose_settings(pretrained[0], length)
    several = store.labels is not None and len(np.unique(store.labels)) > 1
    return choose_settings("classifier" if several else "self-supervised", length)


def explain_default(store: Store, avoid: Set[str] = frozenset()) -> str:
    """Return the reason for the choice of ``default_extractor``, in one clause."""
    kept = f"; the discriminator looks through {' and '.join(sorted(avoid))}, so the metric must not" if avoid else ""
    if _is_photographs(store):
        return f"features learnt on ImageNet rank damaged photographs best, and nothing has to be trained{kept}"
    return f"a network trained on the data ranks damaged {store.kind} best{kept}"


def _is_photographs(store: Store) -> bool:
    return store.kind == "photos" and store.spec.channels in (1, 3)


def choose_settings(name: str, length: Duration | None) -> Extractor:
    """Return an extractor of this name: a light one for a length of less than ten minutes."""
    short = length is not None and length.timed and length.count(SHORT) > length.amount
    chosen: Extractor = from_plain(Extractor, {"name": name, **LIGHT[name]} if short else name, "extractor")
    return chosen

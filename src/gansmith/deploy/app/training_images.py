"""The training images that samples are nearest to: their features are computed once and kept for a few runs."""

from __future__ import annotations

import logging
from collections import OrderedDict

from gansmith.deploy.app.shelf import Shelf
from gansmith.download import without_downloads
from gansmith.errors import ConfigError, DataError, MetricError, RunError
from gansmith.evaluation.nearest import Neighbourhood, Neighbours, open_neighbourhood
from gansmith.evaluation.options import EvaluationOptions
from gansmith.metrics.efficientnet import EfficientNetLite1
from gansmith.runs import RunFolder
from gansmith.sampling.generator import Samples

__all__ = ["FEATURES", "NeighbourFinder"]

MOST_NEIGHBOURHOODS = 2  # in memory: features of all training images
FEATURES = EvaluationOptions(extractor=EfficientNetLite1())  # nothing is learnt from the images, which takes minutes
UNREADABLE = "its training images are not on this machine, or have changed; the log of the page says why"

_LOG = logging.getLogger("gansmith")


class NeighbourFinder:
    """Finds the training images that samples are nearest to.

    Args:
        shelf: the runs.
        options: of an evaluation, for its feature extractor.
    """

    def __init__(self, shelf: Shelf, options: EvaluationOptions = FEATURES) -> None:
        self.shelf, self.options = shelf, options
        self._known: OrderedDict[tuple[object, ...], Neighbourhood] = OrderedDict()

    def knows(self, run: str) -> bool:
        """Return whether the features of a run's training images are in memory.

        Raises:
            ConfigError: there is no run of this name.
            RunError: it cannot be used.
        """
        return _identity(self.shelf.open(run)) in self._known

    def find(self, run: str, samples: Samples, num: int) -> Neighbours:
        """Return the training images of a run that are nearest to its samples; only one thread may call this.

        Raises:
            ConfigError: ``num`` is out of range, or there is no run of this name.
            RunError: the training images cannot be read.
        """
        folder = self.shelf.open(run)
        identity = _identity(folder)
        if identity not in self._known:
            self._known[identity] = self._open(run, folder)
        self._known.move_to_end(identity)
        while len(self._known) > MOST_NEIGHBOURHOODS:
            self._known.popitem(last=False)
        return self._known[identity].find(samples, num)

    def _open(self, run: str, folder: RunFolder) -> Neighbourhood:
        """Read the training images; visitors see one short message, and the log the reason."""
        try:
            with without_downloads():
                return open_neighbourhood(folder, self.options)
        except (ConfigError, DataError, MetricError, RunError) as error:
            _LOG.warning("%s", error)
            raise RunError(f"{run}: {UNREADABLE}") from error


def _identity(folder: RunFolder) -> tuple[object, ...]:
    """Return what changes when another run takes the place of this one."""
    try:
        files = [each.stat() for each in (folder.config, folder.data)]
    except OSError as error:
        raise RunError(f"{folder.path}: its config.json or data.json cannot be read") from error
    return (folder.path, *((each.st_ino, each.st_mtime_ns) for each in files))

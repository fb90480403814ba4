"""The Inception network of published FIDs: TensorFlow's of 2015-12-05, in NVIDIA's TorchScript export."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith import dist
from gansmith.data.batches import Indices
from gansmith.data.source import cache_folder
from gansmith.data.store import Store
from gansmith.devices import choose_compute
from gansmith.download import RemoteFile, fetch
from gansmith.errors import DataError, MetricError
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.learning import Progress
from gansmith.types import Pixels, send

__all__ = ["INCEPTION", "Inception"]

# The digest is pinned by crowsonkb/k-diffusion too; clean-fid reads the same file.
INCEPTION = RemoteFile(
    name="inception-2015-12-05.pt",
    urls=("https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",),
    digest="sha256:f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    size_bytes=95_607_719,
)


@dataclass(frozen=True, kw_only=True)
class Inception(Extractor):
    """2,048 features of the Inception-v3 of published FIDs (Heusel et al. 2017), and 1,008 logits.

    The file contains its own resizing to 299 pixels, that of TensorFlow 1, and its own scaling of [0, 255]. The logits
    are without the bias, as in the published Inception Score (Salimans et al. 2016). Gray images are repeated in three
    channels; RGBA images are refused.

    Args:
        path: a copy of inception-2015-12-05.pt; by default it is downloaded once (91 MiB). Its digest is checked
            before any of its code runs.
    """

    path: Path | None = None

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> FeatureNetwork:
        """See ``Extractor.network``."""
        return _InceptionNetwork(_find_file(self.path, progress), choose_compute("auto", "auto").device)


def _find_file(path: Path | None, progress: Progress | None) -> Path:
    """Return the path of the file after its digest is checked.

    Raises:
        DataError: the file is missing, cannot be downloaded, or is another one.
    """
    folder = cache_folder() / "inception" if path is None else path.parent
    file = INCEPTION if path is None else dataclasses.replace(INCEPTION, name=path.name)
    if path is not None and not path.is_file():
        raise DataError(f"{path}: no such file; expected a copy of {INCEPTION.name}, or leave --inception out")
    try:
        with dist.main_first():
            return fetch(file, folder, progress)
    except DataError as error:
        reason = str(error).rpartition("; ")[0]  # without its remedies, which are for data sets
        raise DataError(f"{reason}; name an intact copy with --inception, or choose another --extractor") from error


class _InceptionNetwork(FeatureNetwork):
    name = "inception"
    note = "TensorFlow's network of 2015-12-05"

    def __init__(self, path: Path, device: torch.device) -> None:
        self.digest = INCEPTION.digest.removeprefix("sha256:")
        self.device = device
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated, but the file uses it
            self.module: Any = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
        self.num_classes = len(self.module.output.weight)

    def __call__(self, pixels: Pixels) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"]]:
        channels = pixels.shape[1]
        if channels not in (1, 3):
            raise MetricError(
                f"images have {channels} channels, but inception takes gray or RGB; prepare them with --channels rgb"
            )
        features = self.module(send(pixels, self.device).expand(-1, 3, -1, -1), return_features=True)
        return features, F.linear(features, self.module.output.weight)

"""Features of your own: any function that turns images into rows of numbers."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.component import imported
from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.errors import ConfigError, MetricError
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.learning import Progress
from gansmith.types import Pixels

__all__ = ["Function", "FunctionPath"]


@dataclass(frozen=True)
class FunctionPath:
    """A function, written "package.module:function"."""

    text: str
    function: Callable[[Pixels], Any] = field(compare=False, repr=False)

    @classmethod
    def from_text(cls, text: str, where: str = "path") -> FunctionPath:
        """Import it.

        Raises:
            ConfigError: there is no such function, or it comes from outside and is not trusted.
        """
        if ":" not in text:
            raise ConfigError(f"{where}: '{text}' names no function; write it as package.module:function")
        function = imported(text, where)
        if not callable(function):
            raise ConfigError(f"{where}: '{text}' is no function; expected one that turns images into features")
        return cls(text, function)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Function(Extractor):
    """Features made by a function of yours.

    Args:
        path: "package.module:function". It is given uint8 images [n c h w] on the CPU, any number of them, and
            returns floating-point features [n d], those of an image whatever other images come with it. A change in
            the file that defines it makes its figures incomparable with earlier ones.
    """

    path: FunctionPath

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> FeatureNetwork:
        """See ``Extractor.network``."""
        return _FunctionNetwork(self.path)


class _FunctionNetwork(FeatureNetwork):
    name = "function"

    def __init__(self, path: FunctionPath) -> None:
        self.path, self.note = path, str(path)
        self.digest = hashlib.sha256(f"{path} ".encode() + _source(path)).hexdigest()

    def __call__(self, pixels: Pixels) -> tuple[Float[Tensor, "n d"], None]:
        features = self.path.function(pixels)
        if not (isinstance(features, Tensor) and features.is_floating_point()):
            raise MetricError(f"{self.path}: returned {_described(features)}; expected floating-point features [n d]")
        if features.dim() != 2 or len(features) != len(pixels):
            raise MetricError(f"{self.path}: returned {_described(features)}; expected [{len(pixels)} d]")
        return features.to(torch.float32), None


def _source(path: FunctionPath) -> bytes:
    try:
        return Path(inspect.getsourcefile(inspect.unwrap(path.function)) or "").read_bytes()
    except (TypeError, OSError) as error:
        raise MetricError(f"{path}: its source cannot be read ({error}); define it in a file of Python") from error


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} [{' '.join(map(str, value.shape))}]"
    return f"a {type(value).__name__}"

"""Features from a function of the user."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.errors import ConfigError, MetricError
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.learning import Progress
from gansmith.trust import import_trusted
from gansmith.types import Pixels

__all__ = ["Function", "FunctionPath"]

OWN = 16  # probes that are taken from the data


@dataclass(frozen=True)
class FunctionPath:
    """A function, written "package.module:function".

    Class attributes:
        pattern: a regular expression of its texts, for the JSON schema.
    """

    pattern: ClassVar[str] = r"^[\w.]+:[\w.]+$"

    text: str
    function: Callable[[Pixels], Any] = field(compare=False, repr=False)

    @classmethod
    def from_text(cls, text: str, where: str = "path") -> FunctionPath:
        """Import the function.

        Raises:
            ConfigError: there is no such function, or its module is not trusted.
        """
        if ":" not in text:
            raise ConfigError(f"{where}: '{text}' is not the name of a function; write it as package.module:function")
        function = import_trusted(text, where)
        if not callable(function):
            raise ConfigError(f"{where}: '{text}' is not a function; expected one that computes features of images")
        return cls(text, function)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Function(Extractor):
    """Features from a function of the user.

    Metrics are comparable, and features of real images are cached, as long as the digest is the same. The digest
    covers the function's name, the file that defines it, and its features of 39 probe images in the shape of the data,
    16 of them real. A change in a helper module or in weights is noticed if it changes any bit of these features.
    Features that differ in the last bits on another machine have another digest; so has a nondeterministic function.

    Args:
        path: "package.module:function". It receives uint8 images [n c h w] on the CPU, any number of them, and
            returns floating-point features [n d]. The features of an image must not depend on the other images.
        version: replaces the features of the probes in the digest. Change it whenever the function computes something
            else; otherwise, features of the former function are read from the cache.
    """

    path: FunctionPath
    version: str | None = None

    def network(self, store: Store, training: Indices, progress: Progress | None = None) -> FeatureNetwork:
        """See ``Extractor.network``."""
        return _FunctionNetwork(self.path, self.version, store)


class _FunctionNetwork(FeatureNetwork):
    name = "function"

    def __init__(self, path: FunctionPath, version: str | None, store: Store) -> None:
        self.path, self.note = path, str(path)
        source = _read_source(path)
        computed = self._extract_probes(store) if version is None else f"version {version}".encode()
        self.digest = hashlib.sha256(b"\0".join([str(path).encode(), source, computed])).hexdigest()

    def _extract_probes(self, store: Store) -> bytes:
        """Return features of the probes, computed on one thread because their number may change the last bits."""
        pixels, threads = _make_probes(store), torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                first, second = (self(pixels.clone())[0].cpu() for _ in range(2))
        finally:
            torch.set_num_threads(threads)
        if first.shape != second.shape or not torch.allclose(first, second, rtol=1e-3, equal_nan=True):
            raise MetricError(
                f"{self.path}: returned different features for the same images on a second call; expected equal ones: "
                "seed its random numbers, and set its networks to evaluation mode"
            )
        return f"{list(first.shape)}".encode() + first.contiguous().numpy().tobytes()

    def __call__(self, pixels: Pixels) -> tuple[Float[Tensor, "n d"], None]:
        features = self.path.function(pixels)
        if not (isinstance(features, Tensor) and features.is_floating_point()):
            raise MetricError(f"{self.path}: returned {_describe(features)}; expected floating-point features [n d]")
        if features.dim() != 2 or len(features) != len(pixels):
            raise MetricError(f"{self.path}: returned {_describe(features)}; expected [{len(pixels)} d]")
        return features.to(torch.float32), None


def _make_probes(store: Store) -> Pixels:
    """Return flat, structured, dark, bright and noisy images in the shape of the data, and some of the data."""
    shape = height, width, channels = store.images.shape[1:]
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    planes = [
        rows * 255 // max(height - 1, 1),
        columns * 255 // max(width - 1, 1),
        (rows + columns) % 2 * 255,
        (rows // 4 + columns // 4) % 2 * 255,
        (rows < height / 2) * 255,
        (np.hypot(rows - height / 2, columns - width / 2) < min(height, width) / 3) * 255,
    ]
    tints = [np.where(np.arange(4)[:channels] == channel, 255, 64) for channel in range(4)]
    ranges = ((0, 256), (0, 32), (224, 256), (112, 144), (0, 2))
    noises = [draw.integers(low, high, shape) for low, high in ranges]
    coarse = [_make_blocks(draw, shape, side) for side in (2, 4, 8)]
    made = [
        *(np.full(shape, level) for level in (0, 64, 128, 192, 255)),
        *(np.broadcast_to(plane[..., np.newaxis], shape) for plane in planes),
        *(np.broadcast_to(tint, shape) for tint in tints),
        *noises,
        *coarse,
    ]
    own = store.images[np.linspace(0, len(store) - 1, OWN).round().astype(int)]
    return torch.from_numpy(np.concatenate([np.stack(made).astype(np.uint8), own])).permute(0, 3, 1, 2)


def _make_blocks(draw: np.random.Generator, shape: tuple[int, ...], side: int) -> NDArray[np.int64]:
    """Return noise in blocks of ``side`` pixels."""
    height, width, channels = shape
    noise = draw.integers(0, 256, (-(-height // side), -(-width // side), channels))
    return noise.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]


def _read_source(path: FunctionPath) -> bytes:
    try:
        return Path(inspect.getsourcefile(inspect.unwrap(path.function)) or "").read_bytes()
    except (TypeError, OSError) as error:
        raise MetricError(f"{path}: its source cannot be read ({error}); define it in a file of Python") from error


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} [{' '.join(map(str, value.shape))}]"
    return f"a {type(value).__name__}"

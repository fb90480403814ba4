"""The result of a projection: images, the latents found for them, and the errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansmith.errors import ConfigError
from gansmith.files import replace_file
from gansmith.images.captions import captioned, shorten_name
from gansmith.images.pixels import file_kind, png_bytes, save_png
from gansmith.images.sheets import GAP, enlarge
from gansmith.types import Latents, PixelArray

__all__ = ["Projections"]

SHOWN_SIDE = 128  # pixels: images are enlarged to about this
COLUMNS = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Projections:
    """Images with the latents that a generator maps nearest to them.

    Args:
        images: the given images, uint8 [n h w c].
        reconstructions: the images of the latents, uint8 [n h w c].
        latents: float32 [n z].
        labels: int64 [n], given or found; None for an unconditional model.
        squared_errors: mean squared error of the pixels, in units of the range: 0 to 1, float64 [n].
        distances: perceptual distance, 0 to 4, float64 [n]; see ``metrics.perceptual``.
        random_distances: distance to each image that half of the random candidates of its class exceed, float64 [n].
        class_names: names of the labels.
    """

    images: PixelArray
    reconstructions: PixelArray
    latents: Latents
    labels: NDArray[np.int64] | None
    squared_errors: NDArray[np.float64]
    distances: NDArray[np.float64]
    random_distances: NDArray[np.float64]
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def psnr(self) -> NDArray[np.float64]:
        """Peak signal-to-noise ratio in dB, float64 [n]; infinite for an exact reconstruction."""
        with np.errstate(divide="ignore"):
            return np.asarray(-10 * np.log10(self.squared_errors))

    def captions(self) -> list[tuple[str, ...]]:
        """Return lines about each image: its errors, and the class of its latent."""
        return [self._caption(i) for i in range(len(self))]

    def _caption(self, i: int) -> tuple[str, ...]:
        errors = f"PSNR {self.psnr[i]:.1f} dB", f"MSE {self.squared_errors[i]:.4f}"
        names = [] if self.labels is None else [self._class_name(int(self.labels[i]))]
        return (f"distance {self.distances[i]:.3f}", *errors, *names)

    def _class_name(self, number: int) -> str:
        return shorten_name(self.class_names[number]) if self.class_names else f"class {number}"

    def pairs(self) -> PixelArray:
        """Return each image beside its reconstruction, enlarged if they are small, uint8 [n H W c]."""
        height, width = self.images.shape[1:3]
        scale = max(1, round(SHOWN_SIDE / max(height, width)))
        gap = np.full((len(self), height * scale, GAP, self.images.shape[3]), 255, np.uint8)
        return np.concatenate([enlarge(self.images, scale), gap, enlarge(self.reconstructions, scale)], axis=2)

    def sheet(self) -> PixelArray:
        """Return a sheet of images, each beside its reconstruction and above its errors, uint8 [H W 3]."""
        return captioned(list(self.pairs()), self.captions(), columns=min(COLUMNS, math.ceil(math.sqrt(len(self)))))

    def save(self, path: Path | str) -> tuple[Path, Path]:
        """Write the sheet as x.png, and latents, labels, images and errors as arrays in x.npz beside it.

        Args:
            path: of either file.

        Returns:
            The paths of both.

        Raises:
            ConfigError: the path is that of a folder, or of another kind of file.
        """
        if file_kind(path) not in ("png", "npz"):
            raise ConfigError(f"{path}: projections are written as x.png and x.npz; name one of these files")
        picture, arrays = (Path(path).with_suffix(suffix) for suffix in (".png", ".npz"))
        save_png(self.sheet(), picture)
        values = {
            "latents": self.latents.numpy(),
            "images": self.images,
            "reconstructions": self.reconstructions,
            "squared_errors": self.squared_errors,
            "distances": self.distances,
            **({} if self.labels is None else {"labels": self.labels}),
        }
        with replace_file(arrays) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **values)
        return picture, arrays

    def _repr_png_(self) -> bytes:
        return png_bytes(self.sheet())

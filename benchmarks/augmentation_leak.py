"""Measure whether augmentation shows in generated images, which should look like the data as they are.

    python benchmarks/augmentation_leak.py path/to/real SAMPLES --size 32 --operations translation cutout

SAMPLES is a folder or an .npz of generated images, as gansmith sample writes it. Prints the share of them that looks
augmented, by operation. No training of ours has ever shown a leak, so the guard does not look for it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from gansmith.augment import draw
from gansmith.data import resolve
from gansmith.data.store import Preparation, prepare
from gansmith.errors import MetricError
from gansmith.images.pixels import to_float, to_uint8
from gansmith.metrics.intervals import wilson
from gansmith.metrics.metric import Estimate
from gansmith.types import Images, ImageSpec, PixelArray

__all__ = ["augmentation_leak", "main"]

LEAST_REAL = 100  # half of them teach, half of them judge
LEAST_FAKE = 20
LEAST_TOLD = 0.5  # of augmented images more than of others: three of four images are told rightly
OTHERS = 0.5  # how probable each other operation is while one is learnt
GRAIN = 0.08  # most of the noise that generated images may have without being taken for augmented
SIDE = 32  # pixels, about: larger images are looked at from further away
CELLS = 8  # a side
NEAR = 0.06  # to the middle of the range, which is 0
QUANTILES = 9
VISIBLE = 3  # decimals


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path, help="the training images")
    parser.add_argument("samples", type=Path, help="generated images")
    parser.add_argument("--size", type=int, required=True, help="of both, in pixels")
    parser.add_argument("--operations", nargs="+", required=True, help="that training augmented with")
    options = parser.parse_args()
    size = Preparation(size=(options.size, options.size))
    real, fake = (prepare(resolve(str(path)), size).images[:] for path in (options.real, options.samples))
    for name, share in augmentation_leak(real, fake, options.operations).items():
        print(f"{name}: {share.value:.3f} ({share.low:.3f} to {share.high:.3f}), {share.note}")


def augmentation_leak(
    real: PixelArray, fake: PixelArray, operations: Sequence[str], seed: int = 0
) -> dict[str, Estimate]:
    """The share of generated images that bear the traces of each operation, less that of real images: 0 is right.

    For each operation a linear classifier learns, from half of the real images, to tell them from their augmented
    selves, in features such as brightness, blankness and sharpness here and there. Other operations, blur and noise
    are mixed in, lest it take them for this one. The other half shows how often it is wrong, and the share of
    generated images that it takes for augmented is corrected for that (adjusted count, Forman 2008).

    What the classifier cannot learn has no figure: an operation is left out if less than three of four images are
    told rightly, as with mirrored flowers. Operations that blank a part ("translation", "cutout") are told
    surely. Some look alike (brightness and contrast), and a generator that is wrong in sharpness or contrast
    can be taken for one that has learnt "rotation" or "contrast".

    Args:
        real: uint8 [n h w c], at least 100.
        fake: uint8 [m h w c], at least 20.
        operations: names of ``gansmith.augment.OPERATIONS``.
        seed: of the halves and of all augmentation.

    Returns:
        by operation, those left out that leave no trace to be learnt; in [-1, 1]. Images to which something random has
        done nothing, as half of those that "mirror" comes to, do not count as augmented.

    Raises:
        MetricError: too few images, or of different shapes.
    """
    _check(real, fake)
    halves = np.array_split(np.random.default_rng(seed).permutation(len(real)), 2)
    learnt, judged = (_to_images(real[half]) for half in halves)
    classroom = _Classroom(
        operations=tuple(operations),
        learnt=learnt,
        judged=judged,
        seen=_features(learnt),
        unseen=_features(judged),
        fake=_features(_to_images(fake)),
        stream=torch.Generator().manual_seed(seed),
    )
    found = {name: classroom.share(name) for name in operations}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _check(real: PixelArray, fake: PixelArray) -> None:
    if real.shape[1:] != fake.shape[1:]:
        shapes = " and ".join("x".join(map(str, images.shape[1:])) for images in (real, fake))
        raise MetricError(f"real and generated images are {shapes}; give images of one shape")
    for kind, images, least in (("real", real, LEAST_REAL), ("generated", fake, LEAST_FAKE)):
        if len(images) < least:
            raise MetricError(f"{len(images)} {kind} images cannot show augmentation; expected at least {least}")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Classroom:
    """What all classifiers learn from and are tried on; the last three images are in features."""

    operations: tuple[str, ...]
    learnt: Images
    judged: Images
    seen: NDArray[np.float64]
    unseen: NDArray[np.float64]
    fake: NDArray[np.float64]
    stream: torch.Generator

    def share(self, name: str) -> Estimate | None:
        """The figure of one operation, or none if it cannot be told."""
        augmented, trial = (self._changed(images, name) for images in (self.learnt, self.judged))
        if min(len(augmented), len(trial)) < LEAST_FAKE:
            return None
        classifier = self._taught(name, augmented)
        rows = (self.fake, self.unseen, _features(trial))
        taken = [wilson(int(classifier.predict(each).sum()), len(each)) for each in rows]
        return _corrected(*taken)

    def _changed(self, images: Images, name: str) -> Images:
        after = self._augmented(images, (name,), 1.0)
        return after[(after != images).flatten(1).any(dim=1)]

    def _taught(self, name: str, augmented: Images) -> LinearDiscriminantAnalysis:
        others = tuple(each for each in self.operations if each != name)
        plain, flawed = (self._flawed(self._augmented(images, others, OTHERS)) for images in (self.learnt, augmented))
        rows = [self.seen, _features(plain), _features(augmented), _features(flawed)]
        classes = np.repeat([0, 0, 1, 1], [len(each) for each in rows])
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=(0.5, 0.5))
        return classifier.fit(np.concatenate(rows), classes)

    def _augmented(self, images: Images, operations: tuple[str, ...], p: float) -> Images:
        n, channels, height, width = images.shape
        spec = ImageSpec(height=height, width=width, channels=channels)
        return _rounded(draw(operations, n, spec, self.stream)(images, p))

    def _flawed(self, images: Images) -> Images:
        """With what generated images may have, each of it in every other image: softness and grain."""
        softness, grain = (2 * torch.rand(2, len(images), 1, 1, 1, generator=self.stream) - 1).clamp(min=0)
        soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        noise = torch.randn(images.shape, generator=self.stream)
        return _rounded(torch.lerp(images, soft, softness) + GRAIN * grain * noise)


def _to_images(pixels: PixelArray) -> Images:
    return to_float(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def _rounded(images: Images) -> Images:
    return to_float(to_uint8(images))


def _corrected(fake: Estimate, real: Estimate, augmented: Estimate) -> Estimate | None:
    """Shares taken for augmented to the share that is; the intervals' arms are combined by MOVER.

    See Zou and Donner (2008); the weights are the derivatives of (fake - real) / (augmented - real).
    """
    told = augmented.value - real.value
    if told < LEAST_TOLD:
        return None
    value = (fake.value - real.value) / told
    weights = (1.0, abs(1 - value), abs(value))
    below = (fake.value - fake.low, real.high - real.value, augmented.high - augmented.value)
    above = (fake.high - fake.value, real.value - real.low, augmented.value - augmented.low)
    down, up = (math.hypot(*np.multiply(weights, arms)) / told for arms in (below, above))
    value, low, high = (max(-1.0, min(1.0, end)) for end in (value, value - down, value + up))
    note = f"the classifier is right about {(1 + told) / 2:.0%} of unseen real images, augmented or not"
    return Estimate(value=value, low=low, high=high, interval="Wilson, combined", note=note)


# --- what the classifiers see ------------------------------------------------------------------------------


def _features(images: Images) -> NDArray[np.float64]:
    """Float64 [n d]: how light, how blank, how sharp and how colourful, of the whole and of its parts."""
    images = F.avg_pool2d(images[:, :3], max(1, max(images.shape[2:]) // SIDE))
    luma = images.mean(dim=1)
    blank = torch.exp(-(images.abs().amax(dim=1) / NEAR).square())
    light, power, blanks = (F.adaptive_avg_pool2d(each[:, None], CELLS).flatten(1) for each in (luma, luma**2, blank))
    found = [
        *(light, power, blanks),
        *(each.sort(dim=1).values for each in (power - light.square(), blanks)),  # wherever they are
        *(each.mean(dim=axis) for each in (luma, blank) for axis in (1, 2)),
        *(_levels(luma), _levels((images - luma[:, None]).norm(dim=1))),
        *(images.mean(dim=(2, 3)), images.std(dim=(2, 3))),
        *(end.float().mean(dim=(2, 3)) for end in (images < -0.99, images > 0.99)),
        _sharpness(luma),
    ]
    # What differs by less than can be seen shall not count when features are brought to one scale.
    return torch.cat(found, dim=1).double().round(decimals=VISIBLE).numpy()


def _levels(values: Float32[Tensor, "n h w"]) -> Float32[Tensor, "n q"]:
    """The values at equal distances in their order, least and largest included."""
    ordered = values.flatten(1).sort(dim=1).values
    return ordered[:, torch.linspace(0, ordered.shape[1] - 1, QUANTILES).long()]


def _sharpness(luma: Float32[Tensor, "n h w"]) -> Float32[Tensor, "n 4"]:
    """Mean steps from pixel to pixel, across and down, and by how much they are larger two pixels on."""
    steps = [luma.diff(dim=axis).abs().mean(dim=(1, 2)) for axis in (1, 2)]
    larger = [
        (luma[:, 2:] - luma[:, :-2]).abs().mean(dim=(1, 2)),
        (luma[:, :, 2:] - luma[:, :, :-2]).abs().mean(dim=(1, 2)),
    ]
    return torch.stack([*steps, *(two / (one + 0.01) for one, two in zip(steps, larger, strict=True))], dim=1)


if __name__ == "__main__":
    main()

"""Whether a generator copies its training images: samples against real images that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gansmith.errors import MetricError
from gansmith.images.sheets import choose_scale, enlarge, grid
from gansmith.metrics.copies import Originals
from gansmith.metrics.features import Features, choose_subset
from gansmith.metrics.intervals import bootstrap, normal, wilson
from gansmith.metrics.manifold import find_nearest
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity
from gansmith.types import PixelArray

__all__ = ["ALARM", "AMONG_TRAINING", "Memorisation", "copies_p_value", "draw_closest_pairs", "score_memorisation"]

LEAST_IMAGES = 20  # below, neither the test's normal approximation nor the interval means much
REPLICATES = 200
COLUMNS = 8  # of the sheet
LEAST_P = 1e-6  # smaller ones say no more
AMONG_TRAINING = 1000  # training images that are looked for among the others
ALARM = 0.001  # p-value below which samples are said to contain copies


@dataclass(frozen=True, kw_only=True)
class Memorisation(Metric):
    """Are samples nearer to training images than real images that the generator never saw?

    The score is the probability that a sample is nearer to its nearest training image than a held-out image is to its
    own, ties counting half: 0.5 where nothing is copied, 1 where everything is. The note has the p-value of the
    Mann-Whitney test that samples are not nearer. The idea is that of Meehan, Chaudhuri and Dasgupta (2020), who
    cut the images' space into regions, test in each, and average what they find, weighted by the real images in
    each. Here there is one region: a generator that copies some kinds of images and misses others by far may come
    out at 0.5. The share of copies and the sheet of ``draw_closest_pairs`` show such a one.

    Well above 0.5 means copies; well below, samples that are unlike real images, as noise, or recoloured copies. So
    neither end is good.

    A copy is a sample that differs from a training image by at most 0.2 of that image's contrast, pixel by pixel,
    after the best shift of up to an eighth of a side, mirroring, and a change of colour of up to 16 of 255: see
    ``Originals.differences``. Copies saved as JPEG are among them. Real data with near duplicates have copies among
    their held-out images too, and among their training images: the note has both shares, and the p-value that samples
    do not have more (``copies_p_value``). Below 0.001 it says that training images are copied.
    benchmarks/memorisation.py measures what is found.

    The score contains whatever else sets held-out images apart. Where a split keeps groups whole, as that of GTSRB
    does (a track of frames of one sign is either trained on or held out), held-out images are further away than
    samples without copying would be; and a feature network that was fitted to the training images may set others
    apart. A generator of nothing but ordinary images is near to training images too.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "memorisation": Quantity(title="Memorisation", better="nearer 0.5"),
        "copies": Quantity(title="Copies of training images", better="lower"),
    }

    needs_training: ClassVar[bool] = True

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        training, held_out = _known(comparison)
        originals = Originals.of(training.pixels)
        samples, copied = _distances_and_copies(comparison.fake, training, originals)
        others, copied_others = _distances_and_copies(held_out, training, originals)
        twins = originals.find_copies_within(choose_subset(np.arange(len(training)), AMONG_TRAINING))
        score, p_value = score_memorisation(samples, others)
        sizes = [len(samples), len(others)]
        error = bootstrap(_redrawn(samples, others), sizes, seed=comparison.seed, replicates=REPLICATES)
        interval, note = f"bootstrap of {REPLICATES}", f"Mann-Whitney {_p(p_value)}, one-sided"
        copies = wilson(int(copied.sum()), len(copied), note=_beside_real(copied, copied_others, twins))
        return {
            "memorisation": normal(score, float(error), interval, within=(0, 1), note=note),
            "copies": copies,
        }


def score_memorisation(samples: NDArray[np.float64], held_out: NDArray[np.float64]) -> tuple[float, float]:
    """The probability that a sample is nearer than a held-out image, and the p-value that samples are not nearer.

    Args:
        samples: distance of each sample to its nearest training image.
        held_out: the same of each held-out image.
    """
    test = stats.mannwhitneyu(held_out, samples, alternative="greater", method="asymptotic")
    return float(test.statistic) / (len(samples) * len(held_out)), float(test.pvalue)


def copies_p_value(copied: NDArray[np.bool_], copied_held_out: NDArray[np.bool_], twins: NDArray[np.bool_]) -> float:
    """Return the p-value of the hypothesis that samples hold no larger share of copies than real images do.

    Fisher's exact test against held-out images, and another against training images among the others, which are
    more; the smaller p-value times 2 (Bonferroni). Where images come in groups, as frames of a video, training images
    have more twins than held-out ones: then the second test finds less, and the first one counts.

    Args:
        copied: which samples are copies.
        copied_held_out: which held-out images are.
        twins: which training images are copies of another one.
    """
    return min(1.0, 2 * min(_fisher(copied, copied_held_out), _fisher(copied, twins)))


def _fisher(copied: NDArray[np.bool_], others: NDArray[np.bool_]) -> float:
    table = [[int(side.sum()), int((~side).sum())] for side in (copied, others)]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def _beside_real(copied: NDArray[np.bool_], copied_held_out: NDArray[np.bool_], twins: NDArray[np.bool_]) -> str:
    p_value = copies_p_value(copied, copied_held_out, twins)
    alarm = "; training images are copied" if p_value < ALARM else ""
    shares = f"{copied_held_out.mean():.2%} among held-out and {twins.mean():.2%} among training images"
    return f"{shares}; Fisher {_p(p_value)}, one-sided{alarm}"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= LEAST_P else f"p < {LEAST_P:g}"


def draw_closest_pairs(comparison: MetricInputs, num: int = 32) -> PixelArray:
    """A sheet of the samples that are nearest to training images: above the sample, below it the training image.

    Args:
        comparison: with training images.
        num: how many pairs at most, the closest first, row by row.

    Returns:
        uint8 [H W c].

    Raises:
        MetricError: nobody knows the training images.
    """
    training = _training(comparison)
    distances, numbers = find_nearest(comparison.fake.values, training.values, 1)
    order = distances[:, 0].argsort(stable=True)[:num]
    samples = comparison.fake.pixels[order.numpy()]
    originals = training.pixels[numbers[order, 0].numpy()]
    space = np.full_like(samples[:, : max(1, samples.shape[1] // 6)], 255)  # a pair ends where the paper shows
    pairs = np.concatenate([samples, originals, space], axis=1)
    sheet = grid(pairs, columns=min(COLUMNS, len(samples)), scale=1)[: -space.shape[1]]
    return enlarge(sheet, choose_scale(*sheet.shape[:2]))


def _known(comparison: MetricInputs) -> tuple[Features, Features]:
    """Training and held-out images, if they and the samples are enough."""
    training = _training(comparison)
    if comparison.held_out is None:
        raise MetricError(
            "needs real images that the generator never saw: name some with --held-out DATA, or train with "
            "--held_out 0.05 (a run trained with 0 has none)"
        )
    for kind, features, remedy in (
        ("held-out", comparison.held_out, "train with a larger --held_out, or name others with --held-out DATA"),
        ("generated", comparison.fake, "take more samples"),
    ):
        if len(features) < LEAST_IMAGES:
            few = f"{len(features)} {kind} images are too few to see memorisation"
            raise MetricError(f"{few}; expected at least {LEAST_IMAGES}: {remedy}")
    return training, comparison.held_out


def _training(comparison: MetricInputs) -> Features:
    if comparison.training is None:
        raise MetricError(
            "needs training images: leave out --against for a run; for images in files, name real images that the "
            "generator never saw with --held-out DATA, and those of --against count as its training images"
        )
    return comparison.training


def _distances_and_copies(
    images: Features, training: Features, originals: Originals
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How far each image is from its nearest training image, and whether it is a copy of one."""
    distances, numbers = find_nearest(images.values, training.values, 1)
    return distances[:, 0].numpy(), originals.copied(images.pixels, numbers[:, 0].numpy())


def _redrawn(
    samples: NDArray[np.float64], held_out: NDArray[np.float64]
) -> Callable[[NDArray[np.int64], NDArray[np.int64]], float]:
    """The score, were each distance there as often as it was drawn."""
    order = held_out.argsort()
    first = np.searchsorted(held_out[order], samples, "left")
    last = np.searchsorted(held_out[order], samples, "right")

    def score(drawn_samples: NDArray[np.int64], drawn_held_out: NDArray[np.int64]) -> float:
        nearer = np.concatenate([[0], drawn_held_out[order].cumsum()])  # of the held-out images, up to each
        return float(1 - drawn_samples @ (nearer[first] + nearer[last]) / (2 * len(samples) * len(held_out)))

    return score

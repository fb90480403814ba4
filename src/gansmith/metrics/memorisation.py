"""Measure whether a generator copies training images, by comparing its samples with held-out images."""

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

LEAST_IMAGES = 20  # with fewer, neither the test's normal approximation nor the interval is meaningful
REPLICATES = 200
COLUMNS = 8  # of the sheet
LEAST_P = 1e-6  # smaller values are printed as this bound
AMONG_TRAINING = 1000  # training images that are searched for among the others
ALARM = 0.001  # p-value below which a note says that samples contain copies


@dataclass(frozen=True, kw_only=True)
class Memorisation(Metric):
    """Compares the distances of samples and of held-out images to their nearest training image.

    ``memorisation`` is the probability that a sample is nearer to its nearest training image than a held-out image is
    to its own, with ties counting half: 0.5 without copying, 1 if everything is copied. The note has the p-value of
    the Mann-Whitney test that samples are not nearer. The idea is from Meehan, Chaudhuri and Dasgupta (2020), who
    divide the image space into regions and average the tests of all regions. Here there is one region: a generator
    that copies some modes and is far from others can come out at 0.5. ``copies`` and the sheet of
    ``draw_closest_pairs`` reveal it.

    Values far above 0.5 indicate copies. Values far below 0.5 indicate samples that are unlike real images, such as
    noise or recoloured copies. So neither end is good.

    ``copies`` is the share of samples that differ from a training image by at most 0.2 of its contrast, pixel by
    pixel, after the best shift of up to an eighth of a side, mirroring, and a change of colour of up to 16 of 255; see
    ``Originals.measure_differences``. This includes copies saved as JPEG. Real data with near duplicates have copies
    among their held-out and training images too. The note has both shares, and the p-value that samples do not have
    more (``copies_p_value``). Below 0.001 it says that training images are copied. benchmarks/memorisation.py
    measures the detection rate.

    The score also contains everything else that distinguishes held-out images. Where a split keeps groups whole, as
    for GTSRB, held-out images are further away than samples without copying would be. A feature extractor fitted to
    the training images may have a similar effect. A generator of average images is near to training images too.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "memorisation": Quantity(title="Memorisation", better="nearer 0.5"),
        "copies": Quantity(title="Copies of training images", better="lower"),
    }

    needs_training: ClassVar[bool] = True

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        training, held_out = _known(inputs)
        originals = Originals.of(training.pixels)
        samples, copied = _distances_and_copies(inputs.fake, training, originals)
        others, copied_others = _distances_and_copies(held_out, training, originals)
        twins = originals.find_copies_within(choose_subset(np.arange(len(training)), AMONG_TRAINING))
        score, p_value = score_memorisation(samples, others)
        sizes = [len(samples), len(others)]
        error = bootstrap(_redrawn(samples, others), sizes, seed=inputs.seed, replicates=REPLICATES)
        interval, note = f"bootstrap of {REPLICATES}", f"Mann-Whitney {_p(p_value)}, one-sided"
        copies = wilson(int(copied.sum()), len(copied), note=_beside_real(copied, copied_others, twins))
        return {
            "memorisation": normal(score, float(error), interval, within=(0, 1), note=note),
            "copies": copies,
        }


def score_memorisation(samples: NDArray[np.float64], held_out: NDArray[np.float64]) -> tuple[float, float]:
    """Return the probability that a sample is nearer than a held-out image, and the p-value that none is nearer.

    Args:
        samples: distance of each sample to its nearest training image.
        held_out: the same of each held-out image.
    """
    test = stats.mannwhitneyu(held_out, samples, alternative="greater", method="asymptotic")
    return float(test.statistic) / (len(samples) * len(held_out)), float(test.pvalue)


def copies_p_value(copied: NDArray[np.bool_], copied_held_out: NDArray[np.bool_], twins: NDArray[np.bool_]) -> float:
    """Return the p-value of the hypothesis that samples hold no larger share of copies than real images do.

    Fisher's exact test is applied to held-out images, and to training images searched for among the others, which are
    more numerous. The result is the smaller p-value times 2 (Bonferroni). If images come in groups, as frames of a
    video, training images have more near duplicates than held-out ones, and the first test decides.

    Args:
        copied: which samples are copies.
        copied_held_out: which held-out images are.
        twins: which training images are copies of another training image.
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


def draw_closest_pairs(inputs: MetricInputs, num: int = 32) -> PixelArray:
    """Return a sheet of the samples nearest to training images, each above its training image.

    Args:
        inputs: with training images.
        num: largest number of pairs; the closest come first.

    Returns:
        uint8 [H W c].

    Raises:
        MetricError: the training images are unknown.
    """
    training = _training(inputs)
    distances, numbers = find_nearest(inputs.fake.values, training.values, 1)
    order = distances[:, 0].argsort(stable=True)[:num]
    samples = inputs.fake.pixels[order.numpy()]
    originals = training.pixels[numbers[order, 0].numpy()]
    space = np.full_like(samples[:, : max(1, samples.shape[1] // 6)], 255)  # white space between pairs
    pairs = np.concatenate([samples, originals, space], axis=1)
    sheet = grid(pairs, columns=min(COLUMNS, len(samples)), scale=1)[: -space.shape[1]]
    return enlarge(sheet, choose_scale(*sheet.shape[:2]))


def _known(inputs: MetricInputs) -> tuple[Features, Features]:
    """Return training and held-out images, after a check that they and the samples are enough."""
    training = _training(inputs)
    if inputs.held_out is None:
        raise MetricError(
            "needs real images held out of training: name some with --held-out DATA, or train with "
            "--held_out 0.05 (a run trained with 0 has none)"
        )
    for kind, features, remedy in (
        ("held-out", inputs.held_out, "train with a larger --held_out, or name others with --held-out DATA"),
        ("generated", inputs.fake, "take more samples"),
    ):
        if len(features) < LEAST_IMAGES:
            few = f"{len(features)} {kind} images are too few to detect memorisation"
            raise MetricError(f"{few}; expected at least {LEAST_IMAGES}: {remedy}")
    return training, inputs.held_out


def _training(inputs: MetricInputs) -> Features:
    if inputs.training is None:
        raise MetricError(
            "needs training images: leave out --against for a run; for images in files, name real images held out of "
            "training with --held-out DATA, and those of --against count as its training images"
        )
    return inputs.training


def _distances_and_copies(
    images: Features, training: Features, originals: Originals
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the distance of each image to its nearest training image, and whether it is a copy of one."""
    distances, numbers = find_nearest(images.values, training.values, 1)
    return distances[:, 0].numpy(), originals.find_copies(images.pixels, numbers[:, 0].numpy())


def _redrawn(
    samples: NDArray[np.float64], held_out: NDArray[np.float64]
) -> Callable[[NDArray[np.int64], NDArray[np.int64]], float]:
    """Return a function that computes the score for numbers of times that each distance was drawn."""
    order = held_out.argsort()
    first = np.searchsorted(held_out[order], samples, "left")
    last = np.searchsorted(held_out[order], samples, "right")

    def score(drawn_samples: NDArray[np.int64], drawn_held_out: NDArray[np.int64]) -> float:
        nearer = np.concatenate([[0], drawn_held_out[order].cumsum()])  # of the held-out images, up to each
        return float(1 - drawn_samples @ (nearer[first] + nearer[last]) / (2 * len(samples) * len(held_out)))

    return score

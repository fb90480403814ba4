"""Do conditional samples show the class asked for, and do samples show every class?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from gansmith.component import (
    Between,
)
from gansmith.errors import MetricError
from gansmith.metrics.classes import labels_of, listed, predicted_classes
from gansmith.metrics.intervals import bootstrap, mean_of_shares, normal, wilson
from gansmith.metrics.metric import Comparison, Estimate, Metric, Quantity

__all__ = ["ClassCoverage", "LabelFidelity"]


@dataclass(frozen=True, kw_only=True)
class LabelFidelity(Metric):
    """The share of generated images in which a classifier trained on real ones sees the class that was asked for.

    Once over all images, and once as the mean of the classes' shares, so that rare classes count like frequent ones.
    The classifier errs too: its share on the real images, which the note gives, is what a perfect generator reaches.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "label_fidelity": Quantity(title="Label fidelity", better="higher"),
        "label_fidelity_balanced": Quantity(title="Label fidelity, mean of classes", better="higher"),
    }

    def measure(self, comparison: Comparison) -> dict[str, Estimate]:
        names = comparison.class_names
        asked = labels_of(comparison.fake, "generated", names, comparison.unlabelled)
        right = predicted_classes(comparison.fake, "generated", names) == asked
        classes = np.unique(asked).tolist()
        shares = [wilson(int(right[asked == number].sum()), int((asked == number).sum())) for number in classes]
        worst = min(range(len(classes)), key=lambda i: shares[i].value)
        worst_note = f"worst class: {listed([classes[worst]], names)}, {100 * shares[worst].value:.1f} %"
        return {
            "label_fidelity": wilson(int(right.sum()), len(right), note=_ceiling(comparison)),
            "label_fidelity_balanced": mean_of_shares(shares, note=worst_note),
        }


def _ceiling(comparison: Comparison) -> str:
    if comparison.real.labels is None:
        return ""
    labels = labels_of(comparison.real, "real", comparison.class_names)
    right = predicted_classes(comparison.real, "real", comparison.class_names) == labels
    return f"{100 * right.mean():.1f} % for the real images"


@dataclass(frozen=True, kw_only=True)
class ClassCoverage(Metric):
    """Which classes a classifier sees among the generated images, compared with what it sees among the real ones.

    A class is covered if its share among the generated images is at least ``least`` times its share among the real
    ones; classes that are not seen among the real ones do not count. The entropy of the classes' shares is given as
    a ratio to that of the real images: below 1 some classes crowd out others, 1 is as mixed as the real images.
    Unconditional models can be judged as well.

    Args:
        least: the share of a class's real share from which it is covered.
        replicates: of the bootstrap of both sides that gives the interval of the number of classes.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "classes_covered": Quantity(title="Classes covered", better="higher"),
        "class_entropy": Quantity(title="Entropy of classes, generated to real", better="nearer 1"),
    }

    least: Annotated[float, Between(0, 1, open_low=True)] = 0.1
    replicates: Annotated[int, Between(2, 100_000)] = 200

    def measure(self, comparison: Comparison) -> dict[str, Estimate]:
        real = predicted_classes(comparison.real, "real", comparison.class_names)
        fake = predicted_classes(comparison.fake, "generated", comparison.class_names)
        num_classes = int(max(real.max(), fake.max())) + 1

        def is_covered(*counts: NDArray[np.int64]) -> NDArray[np.bool_]:
            sides = zip((real, fake), counts, strict=True)
            there, made = (np.bincount(seen, drawn, num_classes) / len(seen) for seen, drawn in sides)
            covered: NDArray[np.bool_] = (there > 0) & (made >= self.least * there)
            return covered

        covered = is_covered(np.ones_like(real), np.ones_like(fake))
        sizes = [len(real), len(fake)]
        error = bootstrap(
            lambda *counts: is_covered(*counts).sum(), sizes, seed=comparison.seed, replicates=self.replicates
        )
        expected = np.unique(real)
        missing = [number for number in expected.tolist() if not covered[number]]
        note = f"of {len(expected):,}" + (f"; not {listed(missing, comparison.class_names)}" if missing else "")
        count = normal(
            float(covered.sum()),
            float(error),
            f"bootstrap of {self.replicates}",
            within=(0.0, float(len(expected))),
            note=note,
        )
        return {"classes_covered": count, "class_entropy": _entropy_ratio(real, fake)}


def _entropy_ratio(real: NDArray[np.int64], fake: NDArray[np.int64]) -> Estimate:
    there, there_error = _entropy(real)
    made, made_error = _entropy(fake)
    if there == 0:
        raise MetricError("all real images are seen as one class; expected several: take more of them")
    ratio = made / there
    error = math.hypot(made_error, ratio * there_error) / there
    note = f"{math.exp(made):.1f} to {math.exp(there):.1f} classes of equal shares"
    return normal(ratio, error, "asymptotic variance", within=(0, math.inf), note=note)


def _entropy(classes: NDArray[np.int64]) -> tuple[float, float]:
    """In nats, and its standard error: it is the mean over images of -log(share of the image's class)."""
    _, which, counts = np.unique(classes, return_inverse=True, return_counts=True)
    surprise = -np.log(counts / len(classes))[which]
    return float(surprise.mean()), float(surprise.std() / math.sqrt(len(classes)))

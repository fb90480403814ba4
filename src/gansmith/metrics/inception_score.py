"""Inception score: does each generated image have a clear class, and do all classes occur?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.component import (
    Between,
)
from gansmith.errors import MetricError
from gansmith.metrics.classes import require_logits
from gansmith.metrics.intervals import normal
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity

__all__ = ["InceptionScore", "inception_score"]


@dataclass(frozen=True, kw_only=True)
class InceptionScore(Metric):
    """The mean over splits of exp(mean KL(p(y|x) ‖ p(y))) of the generated images (Salimans et al. 2016, section 4).

    It lies between 1 and the number of classes. It does not use real images; their own score is the practical maximum.
    p(y) is estimated in each split, so splits of few images score too low. Images are assigned to splits at random,
    since files are often sorted by class. The interval is that of the mean over splits.

    Args:
        splits: number of splits; 10 in the literature.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "inception_score": Quantity(title="Inception score", better="higher", published=True, by_classes=True)
    }
    needs_classes: ClassVar[bool] = True

    splits: Annotated[int, Between(2, 1000)] = 10

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        logits = require_logits(inputs.fake, "generated", inputs.class_names)
        num, num_classes = logits.shape
        if num < 2 * self.splits:
            raise MetricError(
                f"{num:,} generated images are too few for {self.splits} splits; expected at least "
                f"{2 * self.splits:,}: take more images"
            )
        order = np.random.default_rng(inputs.seed).permutation(num)
        scores = [inception_score(logits[part]) for part in np.array_split(order, self.splits)]
        size = num // self.splits
        note = f"too low: splits of {size:,} images, but {num_classes:,} classes" if size < num_classes else ""
        estimate = normal(
            float(np.mean(scores)),
            float(np.std(scores, ddof=1)) / math.sqrt(self.splits),
            f"{self.splits} splits",
            freedom=self.splits - 1,
            within=(1, num_classes),
            note=note,
        )
        return {"inception_score": estimate}


def inception_score(logits: Float[Tensor, "n k"]) -> float:
    """Return exp(mean KL(p(y|x) ‖ p(y))) of all images together, in float64; p(y) is the mean of p(y|x).

    Args:
        logits: of a classifier, at least 1 image.
    """
    conditional = torch.log_softmax(logits.to(torch.float64), dim=1)
    marginal = conditional.logsumexp(0) - math.log(len(logits))
    return math.exp((conditional.exp() * (conditional - marginal)).sum(1).mean())

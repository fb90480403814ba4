"""Which classes there are among images that a classifier looks at, as its mistakes on real images allow to say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Confusion"]

ITERATIONS = 200
ALWAYS = 10**9
LEAST = 1e-9
SHAPE = 0.25  # of the gamma prior of each rate of mistakes: most pairs of classes are never confused, some often


@dataclass(frozen=True, kw_only=True, eq=False)
class Confusion:
    """How often a classifier sees each class in real images of each class that it did not learn from.

    The rate at which class i is seen as another class j has a gamma distribution: a prior, whose mean is the rate at
    which any image of another class is seen as j, and what was counted.

    Args:
        counts: images of each class (rows) by the class that is seen in them (columns; the last one: none clearly),
            [k k+1].
    """

    counts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int64], seen: NDArray[np.int64], num_classes: int) -> Confusion:
        """Count images by their class and by the class that is seen, k if none is, int64 [n] each."""
        counts = np.zeros((num_classes, num_classes + 1), np.int64)
        np.add.at(counts, (labels, seen), 1)
        return cls(counts=counts)

    @classmethod
    def without_mistakes(cls, num_classes: int) -> Confusion:
        """Return the confusion of a classifier that is always right."""
        return cls(counts=np.eye(num_classes, num_classes + 1, dtype=np.int64) * ALWAYS)

    def shares(self, seen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the most likely shares of the classes, given how many images each class is seen in.

        Maximum likelihood of p where q = C'p, by expectation and maximisation (Saerens, Latinne and Decaestecker 2002).

        Args:
            seen: images by the class that is seen in them, int64 [k+1].

        Returns:
            float64 [k], of sum 1.
        """
        rates = self._rates()
        shares = np.full(len(rates), 1 / len(rates))
        for _ in range(ITERATIONS):
            expected = np.maximum(shares @ rates, np.finfo(np.float64).tiny)
            shares = shares * (rates @ (seen / expected))
            shares /= shares.sum()
        return shares

    def chances(
        self, seen: NDArray[np.int64], shares: NDArray[np.float64], own: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how likely it is to see each class as often as it was seen, or more, and as often or less.

        The number of images in which a class is seen is taken as negative binomial: its variance is that of counts
        and that of the rates, which are known from few images.

        Args:
            seen: images by the class that is seen in them, int64 [k+1].
            shares: of the classes, as of ``shares``; those of the others explain images in which a class is seen.
            own: the share that each class is supposed to have itself, float64 [k]; 0 for a class that is not there.

        Returns:
            float64 [k] each: the chance of at least as many, and of at most as many.
        """
        mean_rate, variance = self._posterior()
        left = (1 - own) / np.maximum(1 - shares, LEAST)  # to the others, of what they are most likely to have
        each = np.where(np.eye(len(shares), dtype=bool), own, shares[:, None] * left) * seen.sum()
        means = (each * mean_rate).sum(axis=0)
        excess = np.maximum((each**2 * variance).sum(axis=0), 1e-12 * (1 + means))
        means = np.maximum(means, 1e-12)
        distribution = stats.nbinom(means**2 / excess, means / (means + excess))
        return np.asarray(distribution.sf(seen[:-1] - 1)), np.asarray(distribution.cdf(seen[:-1]))

    def _rates(self) -> NDArray[np.float64]:
        """The mean rates, [k k+1]; each row has the sum 1."""
        rates, _ = self._posterior()
        unclear = np.maximum(1 - rates.sum(axis=1, keepdims=True), LEAST)
        rates = np.concatenate([rates, unclear], axis=1)
        return np.asarray(rates / rates.sum(axis=1, keepdims=True))

    def _posterior(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and variances of the rates, [k k]; the diagonal's are those of being seen rightly."""
        totals, counts = self.counts.sum(axis=1), self.counts[:, :-1]
        right = counts.diagonal()
        mistaken = counts.sum(axis=0) - right
        prior = SHAPE * (totals.sum() - totals + 1) / (mistaken + 0.5)  # as if so many images were counted
        shape = counts + SHAPE
        scale = totals[:, None] + prior[None]
        means, variances = shape / scale, shape / scale**2
        rightly = stats.beta(right + 1, totals - right + 1)
        np.fill_diagonal(means, rightly.mean())
        np.fill_diagonal(variances, rightly.var())
        return means, variances

"""Estimate which classes occur among images, given a classifier's error rates on real images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Confusion"]

ITERATIONS = 200
ALWAYS = 10**9
LEAST = 1e-9
SHAPE = 0.25  # of the gamma prior of each error rate: most pairs of classes are never confused, some often


@dataclass(frozen=True, kw_only=True, eq=False)
class Confusion:
    """A classifier's confusion matrix on real images that it was not trained on.

    The rate at which class i is predicted as another class j has a gamma posterior: the counts, and a prior whose mean
    is the rate at which images of all other classes are predicted as j.

    Args:
        counts: images by class (rows) and predicted class (columns; the last one: no clear prediction), [k k+1].
    """

    counts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> Confusion:
        """Count images by class and predicted class, k if there is no clear prediction, int64 [n] each."""
        counts = np.zeros((num_classes, num_classes + 1), np.int64)
        np.add.at(counts, (labels, predicted), 1)
        return cls(counts=counts)

    @classmethod
    def without_errors(cls, num_classes: int) -> Confusion:
        """Return the confusion matrix of a classifier that makes no errors."""
        return cls(counts=np.eye(num_classes, num_classes + 1, dtype=np.int64) * ALWAYS)

    def estimate_shares(self, predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the most likely shares of the classes, given how often each class is predicted.

        Maximum likelihood of p where q = C'p, by expectation maximisation (Saerens, Latinne and Decaestecker 2002).

        Args:
            predicted: number of images by predicted class, int64 [k+1].

        Returns:
            float64 [k] with sum 1.
        """
        rates = self._rates()
        shares = np.full(len(rates), 1 / len(rates))
        for _ in range(ITERATIONS):
            expected = np.maximum(shares @ rates, np.finfo(np.float64).tiny)
            shares = shares * (rates @ (predicted / expected))
            shares /= shares.sum()
        return shares

    def tail_probabilities(
        self, predicted: NDArray[np.int64], shares: NDArray[np.float64], own: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the probabilities that each class is predicted at least, and at most, as often as it was.

        The number of predictions of a class is modelled as negative binomial: its variance is the sum of that of
        counts and that of the error rates, which are estimated from few images.

        Args:
            predicted: number of images by predicted class, int64 [k+1].
            shares: of the classes, from ``estimate_shares``; the other classes cause some predictions of a class.
            own: the hypothetical share of each class itself, float64 [k]; 0 for a class that does not occur.

        Returns:
            float64 [k] each: the probability of at least as many, and of at most as many.
        """
        mean_rate, variance = self._posterior()
        left = (1 - own) / np.maximum(
            1 - shares, LEAST
        )  # the share that is left to the other classes, relative to their most likely one
        each = np.where(np.eye(len(shares), dtype=bool), own, shares[:, None] * left) * predicted.sum()
        means = (each * mean_rate).sum(axis=0)
        excess = np.maximum((each**2 * variance).sum(axis=0), 1e-12 * (1 + means))
        means = np.maximum(means, 1e-12)
        distribution = stats.nbinom(means**2 / excess, means / (means + excess))
        return np.asarray(distribution.sf(predicted[:-1] - 1)), np.asarray(distribution.cdf(predicted[:-1]))

    def _rates(self) -> NDArray[np.float64]:
        """Return the mean rates, [k k+1]; each row has the sum 1."""
        rates, _ = self._posterior()
        unclear = np.maximum(1 - rates.sum(axis=1, keepdims=True), LEAST)
        rates = np.concatenate([rates, unclear], axis=1)
        return np.asarray(rates / rates.sum(axis=1, keepdims=True))

    def _posterior(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return means and variances of the rates, [k k]; the diagonal is that of correct predictions."""
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

"""The memorisation score against scikit-learn's area under the curve and its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import permutation_test
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from gansmith.metrics.features import Features
from gansmith.metrics.memorisation import Memorisation, score_memorisation
from gansmith.metrics.metric import MetricInputs


def drawn(num: int, seed: int) -> Tensor:
    return torch.randn(num, 32, generator=torch.Generator().manual_seed(seed)).relu()


def features(values: Tensor) -> Features:
    return Features(values=values, logits=None, labels=None, images=np.zeros((len(values), 2, 2, 1), np.uint8))


TRAINING, HELD_OUT = drawn(800, 0), drawn(150, 1)
CASES = {
    "fresh": drawn(300, 2),
    "near copies": TRAINING[:300] + 1e-3 * drawn(300, 3),
    "exact copies among others": torch.cat([TRAINING[:80], drawn(220, 4)]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_score_is_the_area_under_the_curve(case: str) -> None:
    fake = CASES[case]
    found = Memorisation().measure(
        MetricInputs(
            real=features(HELD_OUT), fake=features(fake), training=features(TRAINING), held_out=features(HELD_OUT)
        )
    )
    known = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(TRAINING.double().numpy())
    distances = [known.kneighbors(values.double().numpy())[0][:, 0] for values in (HELD_OUT, fake)]
    wanted = roc_auc_score(np.repeat([1, 0], [len(HELD_OUT), len(fake)]), np.concatenate(distances))
    assert found["memorisation"].value == pytest.approx(wanted, rel=1e-14)


def test_the_p_value_is_near_that_of_permutations() -> None:
    draw = np.random.default_rng(0)
    samples, held_out = draw.normal(0, 1, 60), draw.normal(0.35, 1, 40)
    score, p = score_memorisation(samples, held_out)
    wanted = permutation_test(
        (samples, held_out),
        lambda one, other: score_memorisation(one, other)[0],
        alternative="greater",
        n_resamples=1000,
        rng=np.random.default_rng(1),
    )
    assert wanted.statistic == score and p == pytest.approx(wanted.pvalue, abs=0.02)

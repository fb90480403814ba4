"""The inception score against SciPy and torchmetrics, to the digits that docs/explain/precision.md promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore as Theirs

from gansmith.metrics.features import Features
from gansmith.metrics.inception_score import InceptionScore, inception_score
from gansmith.metrics.metric import MetricInputs

LOGITS = 4 * torch.randn(2000, 43, generator=torch.Generator().manual_seed(0))


def test_it_agrees_with_scipy_to_13_digits() -> None:
    conditional = softmax(LOGITS.double().numpy(), axis=1)
    wanted = np.exp(rel_entr(conditional, conditional.mean(0)).sum(1).mean())
    assert inception_score(LOGITS) == pytest.approx(wanted, rel=1e-13)


class Identity(nn.Module):
    num_features = 43

    def forward(self, logits: Tensor) -> Tensor:
        return logits


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all:UserWarning")
def test_ten_splits_agree_with_torchmetrics_to_13_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Theirs(feature=Identity(), splits=10)
    theirs.update(LOGITS.double())
    order = torch.from_numpy(np.random.default_rng(3).permutation(len(LOGITS)))
    monkeypatch.setattr(torch, "randperm", lambda _: order)  # the same images in each split
    mean, deviation = (figure.item() for figure in theirs.compute())
    images = np.zeros((len(LOGITS), 1, 1, 1), np.uint8)
    side = Features(values=LOGITS, logits=LOGITS, labels=None, images=images)
    estimate = InceptionScore().measure(MetricInputs(real=side, fake=side, seed=3))["inception_score"]
    assert estimate.value == pytest.approx(mean, rel=1e-13)
    assert estimate.high - mean == pytest.approx(2.2621572 * deviation / 10**0.5, rel=1e-7)  # Student's t of 9

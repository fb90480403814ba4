"""The network that has learnt nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gansmith.data.digits import Digits
from gansmith.data.store import Store, prepare
from gansmith.metrics.random_conv import RandomConv


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(Digits(), cache=tmp_path_factory.mktemp("stores"))


def test_it_is_the_same_for_all_data(digits: Store) -> None:
    other = dataclasses.replace(digits, images=255 - digits.images, labels=None, digest="other")
    networks = [RandomConv().network(store, np.arange(10)) for store in (digits, other)]
    assert networks[0].digest == networks[1].digest
    assert networks[0].note == "random weights"


def test_it_tells_noise_from_digits(digits: Store) -> None:
    network = RandomConv().network(digits, np.arange(10))
    pixels = torch.from_numpy(np.array(digits.images[:400])).permute(0, 3, 1, 2)
    noise = torch.randint(0, 256, (200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    real, others, noisy = (network(images)[0].mean(dim=0) for images in (pixels[:200], pixels[200:], noise))
    assert (real - noisy).norm() > 5 * (real - others).norm()

"""While tests run, a tensor of the wrong shape is caught where it enters."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from gansmith.losses import Hinge
from gansmith.models.dcgan import DCGAN
from gansmith.types import ImageSpec


def test_logits_of_two_lengths_are_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        Hinge().discriminator(torch.zeros(3), torch.zeros(4))


def test_images_without_channels_are_caught() -> None:
    network = DCGAN(width=2).discriminator(ImageSpec(height=8, width=8, channels=1))
    with pytest.raises(jaxtyping.TypeCheckError):
        network(torch.zeros(2, 8, 8), None)

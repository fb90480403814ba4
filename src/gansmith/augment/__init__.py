"""Differentiable augmentation of the discriminator's input, so that few images suffice for training."""

from __future__ import annotations

from gansmith.augment.control import AUGMENTS, AdaptiveAugment, Augment, FixedAugment
from gansmith.augment.operations import OPERATIONS, SAFE_OPERATIONS, Operation, resolve_operations
from gansmith.augment.transform import Transform, draw

__all__ = [
    "AUGMENTS",
    "OPERATIONS",
    "SAFE_OPERATIONS",
    "AdaptiveAugment",
    "Augment",
    "FixedAugment",
    "Operation",
    "Transform",
    "draw",
    "resolve_operations",
]

"""Networks: each model is a value that makes a generator and a discriminator for any image."""

from __future__ import annotations

from gansmith.component import Component

__all__ = ["MODELS"]

MODELS: dict[str, type[Component] | str] = {
    "dense": "gansmith.models.dense:Dense",
    "dcgan": "gansmith.models.dcgan:DCGAN",
    "resnet": "gansmith.models.resnet:ResNet",
    "r3": "gansmith.models.r3:R3",
}

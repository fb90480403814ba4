"""Models: each describes a generator and a discriminator for images of any shape."""

from __future__ import annotations

from gansmith.component import Component

__all__ = ["MODELS"]

MODELS: dict[str, type[Component] | str] = {
    "dense": "gansmith.models.dense:Dense",
    "dcgan": "gansmith.models.dcgan:DCGAN",
    "resnet": "gansmith.models.resnet:ResNet",
    "projected": "gansmith.models.projected:Projected",
    "r3": "gansmith.models.r3:R3",
}

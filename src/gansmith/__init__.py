"""gansmith: train, judge, compare, explore and ship generative adversarial networks."""

from __future__ import annotations

__version__ = "0.1.0"

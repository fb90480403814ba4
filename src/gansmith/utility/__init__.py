"""Does synthetic data help? One classifier trained on real, generated and drawn images, and tested on real ones."""

from __future__ import annotations

__all__ = []

"""The guard: detects problems during training, and rolls back what would ruin the run."""

from __future__ import annotations

__all__ = []

"""Training: configuration, loop, step, state, and the listeners that receive progress."""

from __future__ import annotations

__all__ = []

"""Training: configuration, loop, step, state, and who is told of progress."""

from __future__ import annotations

__all__ = []

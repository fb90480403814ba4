"""The guard: what it watches for while training, and what is done about it."""

from __future__ import annotations

__all__ = []

"""The drawn data set of traffic signs."""

from __future__ import annotations

__all__ = []

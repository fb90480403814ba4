"""Trained generators by name: ``zoo:NAME`` stands for a run folder that comes with gansmith, or beside it."""

from __future__ import annotations

__all__ = []

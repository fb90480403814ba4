"""Pixels and pictures: uint8 and float, sheets, plots, video."""

from __future__ import annotations

__all__ = []

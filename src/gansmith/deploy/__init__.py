"""Trained generators outside gansmith: files for other runtimes and pages for browsers."""

from __future__ import annotations

__all__ = []

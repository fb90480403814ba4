"""Sampling from a trained generator: one seed is one image; walks between latents."""

from __future__ import annotations

__all__ = []

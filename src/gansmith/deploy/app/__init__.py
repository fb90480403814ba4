"""The local page of trained generators and of runs that still train, made with Gradio."""

from __future__ import annotations

__all__ = []

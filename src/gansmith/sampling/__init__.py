"""What a trained generator makes: one seed, one image; walks between them."""

from __future__ import annotations

__all__ = []

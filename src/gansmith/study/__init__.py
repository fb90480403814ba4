"""Studies: variants trained from several seeds, on one data set or more, and what may be concluded from them."""

from __future__ import annotations

__all__: list[str] = []

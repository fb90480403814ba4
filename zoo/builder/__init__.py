"""The parts of build.py: train, measure, pack, and write the card of an entry of the zoo."""

from __future__ import annotations

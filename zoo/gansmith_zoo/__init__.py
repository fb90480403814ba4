"""Trained generators for gansmith, as data only; gansmith finds them here as ``zoo:NAME`` and checks their digests."""

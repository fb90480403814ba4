"""The entries of the zoo as rows of a table."""

from __future__ import annotations

from typing import Any

from gansmith.zoo.manifest import PREFIX, Entry
from gansmith.zoo.places import describe_place

__all__ = ["HEADINGS", "describe_entry", "describe_model", "list_facts"]

HEADINGS = ("name", "size px", "classes", "data (licence of the weights)", "kimg", "FID", "MB", "where")


def describe_entry(entry: Entry) -> tuple[str, ...]:
    """Return a row for ``gansmith list zoo``, in the order of ``HEADINGS``."""
    return (*describe_model(entry), describe_place(entry))


def list_facts(entry: Entry) -> dict[str, Any]:
    """Return the same as plain data, with numbers as numbers."""
    names = ("size", "num_classes", "data", "license", "kimg", "num_bytes")
    facts = {name: getattr(entry, name) for name in names}
    return {**facts, "fid": dict(entry.fid), "place": describe_place(entry)}


def describe_model(entry: Entry) -> tuple[str, ...]:
    """Return a row without the last column, which depends on what is installed."""
    fids = ", ".join(f"{value:,.{0 if value >= 100 else 2}f} {extractor}" for extractor, value in entry.fid.items())
    return (
        f"{PREFIX}{entry.name}",
        entry.size,
        str(entry.num_classes) if entry.num_classes else "none",
        f"{entry.data} ({entry.license})",
        f"{entry.kimg:,.0f}",
        fids,
        f"{entry.num_bytes / 1e6:.1f}",
    )

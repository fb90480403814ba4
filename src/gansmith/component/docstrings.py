"""What a component's docstring says, of the class and of each field."""

from __future__ import annotations

import inspect

from gansmith.component.values import Component

__all__ = ["describe_class", "describe_fields"]

_ARGS = "\n\nArgs:\n"


def describe_class(cls: type[Component]) -> str:
    """Return a class's docstring without the sections of its fields and class attributes."""
    return (inspect.getdoc(cls) or "").partition(_ARGS)[0].partition("\n\nClass attributes:")[0]


def describe_fields(cls: type[Component]) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of each field, a line each; the class's own win."""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Component):
            told |= _read_entries((inspect.getdoc(base) or "").partition(_ARGS)[2])
    return told


def _read_entries(section: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            entries[name] = text
        else:
            entries[name] += f" {line.strip()}"
    return entries

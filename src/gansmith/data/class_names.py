"""Which class a person means by a name or a number: one rule for the command line, Python and evaluation.

Names and numbers never share a namespace. Where a class has a number for its name, as ``00014`` of a traffic-sign
folder, numbers are names and are compared by value: 14 is ``00014`` and nothing else. Where no class has, a number is
the class's index, counted from 0.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from gansmith.errors import ConfigError, did_you_mean

__all__ = ["class_index", "classes_text", "composed"]


def composed(name: str) -> str:
    """Return a name in composed Unicode (NFC), in which it is the same from every operating system."""
    return unicodedata.normalize("NFC", name)


def class_index(class_names: Sequence[str], label: int | str, where: str = "label") -> int:
    """Return the index of the class that a name or a number means.

    Args:
        class_names: in the order of their indices, in composed Unicode.
        label: what a person wrote.
        where: for the message.

    Raises:
        ConfigError: no class is meant, or several.
    """
    wanted = composed(str(label))
    if wanted in class_names:
        return class_names.index(wanted)
    numbered = {index: int(name) for index, name in enumerate(class_names) if _is_number(name)}
    if not _is_number(wanted):
        raise ConfigError(f"{where}: no class is called {wanted!r}; {did_you_mean(wanted, class_names)}")
    if not numbered:
        return _by_index(class_names, int(wanted), where)
    found = [index for index, value in numbered.items() if value == int(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        meant = " or ".join(class_names[index] for index in found)
        raise ConfigError(f"{where}: {wanted} may be {meant}; write the name as it stands there")
    raise ConfigError(
        f"{where}: no class is called {wanted}; classes here have numbers for names, "
        f"so an index is not accepted; {did_you_mean(wanted, class_names)}"
    )


def classes_text(counts: Sequence[int]) -> str:
    """How many classes there are, and how many of them have no image: "3 classes", "2 classes and 1 without images".

    Args:
        counts: images of each.
    """
    present = sum(1 for count in counts if count)
    empty = f" and {len(counts) - present} without images" if present < len(counts) else ""
    return f"{present} {'class' if present == 1 else 'classes'}{empty}"


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= 18


def _by_index(class_names: Sequence[str], index: int, where: str) -> int:
    if index >= len(class_names):
        raise ConfigError(f"{where}: there is no class {index}; they are numbered 0 to {len(class_names) - 1}")
    return index

"""Finds the class for a name or a number: one rule for the command line, Python and evaluation.

If some class has a number as its name, such as ``00014`` in a folder of traffic signs, numbers are names and are
compared by value: 14 means ``00014``. If no class has, a number is the index of a class, counted from 0. Capitals do
not matter, nor does a dash or underscore in place of a space, unless two classes differ in nothing else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from gansmith.errors import ConfigError, did_you_mean

__all__ = ["describe_classes", "find_class", "to_nfc"]


def to_nfc(name: str) -> str:
    """Return a name in composed Unicode (NFC), so that it is the same from every operating system."""
    return unicodedata.normalize("NFC", name)


def find_class(class_names: Sequence[str], label: int | str, where: str = "label") -> int:
    """Return the index of the class with a name or a number.

    Args:
        class_names: names in composed Unicode, in the order of their indices.
        label: a class name, or a number.
        where: the option or field, for the message.

    Raises:
        ConfigError: no class fits, or several do.
    """
    wanted = to_nfc(str(label))
    if wanted in class_names:
        return class_names.index(wanted)
    alike = [index for index, name in enumerate(class_names) if _loosely(name) == _loosely(wanted)]
    if len(alike) == 1:
        return alike[0]
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
        raise ConfigError(f"{where}: {wanted} may be {meant}; write the full name")
    raise ConfigError(
        f"{where}: no class is called {wanted}; class names here are numbers, "
        f"so an index is not accepted; {did_you_mean(wanted, class_names)}"
    )


def describe_classes(counts: Sequence[int]) -> str:
    """Return text such as "3 classes" or "2 classes and 1 without images".

    Args:
        counts: the number of images of each class.
    """
    present = sum(1 for count in counts if count)
    empty = f" and {len(counts) - present} without images" if present < len(counts) else ""
    return f"{present} {'class' if present == 1 else 'classes'}{empty}"


def _loosely(name: str) -> str:
    return name.casefold().replace("-", " ").replace("_", " ")


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= 18


def _by_index(class_names: Sequence[str], index: int, where: str) -> int:
    if index >= len(class_names):
        raise ConfigError(f"{where}: no class {index}; expected 0 to {len(class_names) - 1}, or a class name")
    return index

"""Families of components and their tables: a class for each name, for text on the command line and in files."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, TypeVar

from gansmith.errors import ConfigError, did_you_mean
from gansmith.trust import import_path, import_trusted

if TYPE_CHECKING:
    from gansmith.component.values import Component

__all__ = ["member", "member_name", "members"]

C = TypeVar("C", bound="Component")


def members(family: type[Component]) -> dict[str, type[Component] | str]:
    """Return a family's table: classes by name, or "module:Class" for those that are imported on use."""
    table: dict[str, type[Component] | str] = import_path(family.table, family.__name__)
    return table


def member(family: type[C], name: str, where: str) -> type[C]:
    """Return the class for a name in the family's table, or for a trusted "module:Class".

    Raises:
        ConfigError: the name is unknown, the class is not a member of the family, or it is not trusted.
    """
    table = members(family)
    target = table.get(name, name if ":" in name else None)
    if target is None:
        kind = family.__name__.lower()
        raise ConfigError(f"{where}: no {kind} is called '{name}'; {did_you_mean(name, table)}")
    if name not in table:
        found = import_trusted(name, where)
    else:
        found = import_path(target, where) if isinstance(target, str) else target
    if not (inspect.isclass(found) and issubclass(found, family)) or inspect.isabstract(found):
        raise ConfigError(
            f"{where}: {name} is not a {family.__name__}; derive it from {family.__module__}.{family.__name__}"
        )
    return found


def member_name(component: Component) -> str:
    """Return the name of a component's class in its family's table, or "module:Class" if it is not in the table."""
    cls = type(component)
    path = f"{cls.__module__}:{cls.__qualname__}"
    for name, target in members(cls).items():
        if target is cls or target == path:
            return name
    return path

"""Copies of a component with some fields changed, and the memory of which fields were set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from gansmith.component.families import member_name
from gansmith.component.values import Component, Partial, from_plain, list_fields, to_plain
from gansmith.errors import ConfigError, did_you_mean
from gansmith.trust import is_user_input, trust_paths, trust_user_input

__all__ = ["fields_set", "override", "override_as_user"]

C = TypeVar("C", bound=Component)


def override(component: C, changes: Mapping[str, Any], where: str = "config") -> C:
    """Return a copy with the fields at some dotted paths changed.

    ``{"loss": "hinge"}`` replaces a component, ``{"model.width": 32}`` sets a field of one. Components are replaced
    before fields are set, so the order of changes does not matter. The copy remembers the paths: see ``fields_set``.

    Raises:
        ConfigError: a field is unknown, or a value has another type or is out of range.
    """
    plain = to_plain(component)
    for path in sorted(changes, key=lambda path: path.count(".")):
        _set_path(type(component), plain, path, changes[path], where)
    trusted = {*_paths_in(component), *_paths_in(changes)}
    if is_user_input():  # trusts only what the user wrote, not the rest of the component
        trusted |= set(_texts_in(changes))
    with trust_paths(trusted):
        made: C = from_plain(type(component), plain, where)
    object.__setattr__(made, "_set", component._set | changes.keys())
    return made


def fields_set(component: Component) -> frozenset[str]:
    """Return the dotted paths that ``override`` has set, even to the value that they had.

    They are not part of the value: equality, ``repr`` and ``to_plain`` ignore them; ``dataclasses.replace`` keeps them.
    """
    return component._set


def override_as_user(component: C, changes: Mapping[str, Any]) -> C:
    """Return ``override`` of a component with changes that the user wrote, in which "module:Class" is imported."""
    with trust_user_input():
        return override(component, changes)


def _set_path(cls: type[Component] | None, plain: Any, path: str, value: Any, where: str) -> None:
    head, _, rest = path.partition(".")
    key = _key(cls, plain, head, where)
    if not rest:
        plain[key] = to_plain(value)
        return
    if isinstance(plain[key], str):  # the name of a component, or several separated by commas
        names = [{"name": name} for name in plain[key].split(",")]
        plain[key] = names if rest.partition(".")[0].isdigit() else names[0]
    _set_path(None, plain[key], rest, value, f"{where}.{head}")


def _key(cls: type[Component] | None, plain: Any, head: str, where: str) -> Any:
    if isinstance(plain, list):
        if head.isdigit() and int(head) < len(plain):
            return int(head)
        raise ConfigError(f"{where}: no entry '{head}'; expected a number from 0 to below {len(plain)}")
    if not isinstance(plain, dict):
        raise ConfigError(f"{where}: it has no fields, so '{head}' cannot be set")
    known = list_fields(cls) if cls is not None else plain
    if cls is not None and head not in known:
        raise ConfigError(f"{where}.{head}: no such field; {did_you_mean(head, known)}")
    plain.setdefault(head, Partial())
    return head


def _paths_in(value: Any) -> Iterator[str]:
    """Yield each "module:name" that has been imported for a component already."""
    if isinstance(value, Component):
        if value.table and ":" in (name := member_name(value)):
            yield name
        for field in list_fields(type(value)):
            yield from _paths_in(getattr(value, field))
    elif isinstance(value, (Mapping, tuple, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _paths_in(item)
    elif hasattr(value, "from_text"):
        yield str(value)


def _texts_in(value: Any) -> Iterator[str]:
    """Yield each text in plain data; one that lists several components by commas gives several."""
    if isinstance(value, str):
        yield from value.split(",")
    elif isinstance(value, (Mapping, tuple, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts_in(item)

"""Components: frozen, typed, validated values that are configuration, extension point and documentation at once.

A component is a frozen dataclass of hyper-parameters. A family, such as all losses, is an abstract component with the
name of its table: a dict at the end of the family's file that maps names to classes. A class outside the table is a
member as ``module:Class``. It is imported only if the user wrote it, never because a file names it: see ``trust``.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from gansmith.bounds import (
    AtLeast,
    Between,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    ReadAs,
    Seed,
    Side,
)
from gansmith.errors import ConfigError, did_you_mean
from gansmith.trust import import_path, import_trusted, is_user_input, trust_paths, trust_user_input

__all__ = [
    "AtLeast",
    "Between",
    "Component",
    "Fraction",
    "NonNegative",
    "Positive",
    "PositiveInt",
    "ReadAs",
    "Seed",
    "Side",
    "fields_set",
    "from_plain",
    "member",
    "member_name",
    "members",
    "override",
    "override_as_user",
    "to_plain",
]

C = TypeVar("C", bound="Component")


@dataclass(frozen=True, kw_only=True)
class Component(ABC):  # noqa: B024 (families have the abstract methods)
    """A frozen value of hyper-parameters; every field is checked on creation."""

    table: ClassVar[str] = ""  # "module:NAME" of the family's table; only families set it
    _set: frozenset[str] = dataclasses.field(default=frozenset(), repr=False, compare=False)  # see ``fields_set``

    def __post_init__(self) -> None:
        for field, annotation in _fields(type(self)).items():
            where = f"{type(self).__name__}.{field}"
            object.__setattr__(self, field, from_plain(annotation, getattr(self, field), where))


# --- families and their members ----------------------------------------------------------------------------


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


def _paths_in(value: Any) -> Iterator[str]:
    """Yield each "module:name" that has been imported for a component already."""
    if isinstance(value, Component):
        if value.table and ":" in (name := member_name(value)):
            yield name
        for field in _fields(type(value)):
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


# --- to and from plain values (JSON, TOML, command line) ---------------------------------------------------


def to_plain(value: Any) -> Any:
    """Return a component as dicts, lists, numbers and strings; ``from_plain`` is the inverse."""
    if isinstance(value, Component):
        plain = {"name": member_name(value)} if value.table else {}
        return plain | {field: to_plain(getattr(value, field)) for field in _fields(type(value))}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def from_plain(annotation: Any, value: Any, where: str) -> Any:
    """Return a value of a field's type, built from a dict, list or text if necessary.

    Args:
        annotation: the type, as written in the component.
        value: a value of the type, or plain data that describes one.
        where: the field's dotted path, for the message.

    Raises:
        ConfigError: the value has another type or is out of range, or names code that is not trusted: see ``trust``.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *bounds = get_args(annotation)
        if isinstance(value, str | int):
            value = next((bound.read(str(value), where) for bound in bounds if isinstance(bound, ReadAs)), value)
        return _bounded(from_plain(base, value, where), bounds, where)
    if origin in (Union, types.UnionType):
        return _from_union(get_args(annotation), value, where)
    if origin is Literal:
        return _from_literal(get_args(annotation), value, where)
    if origin is tuple:
        return _from_sequence(get_args(annotation), value, where)
    if inspect.isclass(annotation) and issubclass(annotation, Component):
        return _from_component(annotation, value, where)
    return _from_scalar(annotation, value, where)


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
    known = _fields(cls) if cls is not None else plain
    if cls is not None and head not in known:
        raise ConfigError(f"{where}.{head}: no such field; {did_you_mean(head, known)}")
    plain.setdefault(head, _Partial())
    return head


def _from_component(cls: type[Component], value: Any, where: str) -> Component:
    if isinstance(value, cls):
        return value
    if isinstance(value, str) and cls.table:
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected {_article(cls.__name__)}, got {value!r}")
    given = dict(value)
    if cls.table:
        if not isinstance(given.get("name"), str):
            raise ConfigError(f"{where}: 'name' is missing; {did_you_mean('', members(cls))}")
        cls = member(cls, given.pop("name"), where)
    annotations = _fields(cls)
    for name in given:
        if name not in annotations:
            raise ConfigError(f"{where}.{name}: no such field of {cls.__name__}; {did_you_mean(name, annotations)}")
    for field in dataclasses.fields(cls):
        if isinstance(given.get(field.name), _Partial):
            given[field.name] = _default(field) | given[field.name]
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in given:
            raise ConfigError(f"{where}.{field.name}: missing; {cls.__name__} needs a value")
    return cls(**{name: from_plain(annotations[name], item, f"{where}.{name}") for name, item in given.items()})


class _Partial(dict[str, Any]):
    """Fields that ``override`` sets of a component that it has just swapped in; the others are its default's."""


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return to_plain(default) if isinstance(default, Component) else {}


def _from_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if type(None) in options and value in (None, "none"):
        return None
    errors = []
    for option in options:
        if option is type(None):
            continue
        try:
            return from_plain(option, value, where)
        except ConfigError as error:
            errors.append(str(error))
    if len(errors) == 1:
        off = type(None) in options and _means_off(value)
        raise ConfigError(errors[0] + (f"; to switch it off: --{where.removeprefix('config.')} none" if off else ""))
    expected = " or ".join(_spelled(option) for option in options)
    raise ConfigError(f"{where}: expected {expected}, got {value!r}")


def _means_off(value: Any) -> bool:
    """Return whether the user meant to switch a component off, as a whole or by one of its fields."""
    words = [word for word in value.values() if isinstance(word, str)] if isinstance(value, Mapping) else [str(value)]
    return any(word.lower() in ("never", "off", "no", "false", "0") for word in words)


def _from_literal(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value in options:
        return value
    hint = did_you_mean(str(value), [str(option) for option in options])
    raise ConfigError(f"{where}: {value!r} is not known; {hint}")


def _from_sequence(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part]
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ConfigError(f"{where}: expected {len(items)} entries, got {len(value)}")
    return tuple(
        from_plain(item, part, f"{where}[{i}]") for i, (item, part) in enumerate(zip(items, value, strict=True))
    )


def _from_scalar(cls: Any, value: Any, where: str) -> Any:
    if cls is Any:
        return value
    if cls is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if cls is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, cls) and not (cls in (int, float) and isinstance(value, bool)):
        return value
    if cls in (str, Path) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return cls(str(value))
    if isinstance(value, str):
        if cls is Path:
            return Path(value)
        if hasattr(cls, "from_text"):
            return cls.from_text(value, where)
    raise ConfigError(f"{where}: expected {_spelled(cls)}, got {value!r}")


def _bounded(value: Any, bounds: list[Any], where: str) -> Any:
    for bound in bounds:
        if hasattr(bound, "__contains__") and value is not None and value not in bound:
            raise ConfigError(f"{where}: {value!r} is out of range; expected {bound}")
    return value


_SPELLED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
}


def _spelled(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        base, *bounds = get_args(annotation)
        return " ".join([_spelled(base), *(str(bound) for bound in bounds if not isinstance(bound, ReadAs))])
    if annotation is type(None):
        return "none"
    return _SPELLED.get(annotation, _article(getattr(annotation, "__name__", str(annotation))))


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _fields(cls: type) -> dict[str, Any]:
    if cls not in _KNOWN_FIELDS:
        hints = typing.get_type_hints(cls, include_extras=True)
        fields = [field.name for field in dataclasses.fields(cls) if field.init and field.name != "_set"]
        _KNOWN_FIELDS[cls] = {name: hints[name] for name in fields}
    return _KNOWN_FIELDS[cls]


_KNOWN_FIELDS: dict[type, dict[str, Any]] = {}  # resolving annotations is slow, and a component is made often

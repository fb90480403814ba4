"""A component, and its way to and from plain values: JSON, TOML, the command line."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from gansmith.component.bounds import ReadAs
from gansmith.component.families import member, member_name, members
from gansmith.errors import ConfigError, did_you_mean

__all__ = ["Component", "Partial", "from_plain", "list_fields", "to_plain"]


@dataclass(frozen=True, kw_only=True)
class Component(ABC):  # noqa: B024 (families have the abstract methods)
    """A frozen value of hyper-parameters; every field is checked on creation."""

    table: ClassVar[str] = ""  # "module:NAME" of the family's table; only families set it
    _set: frozenset[str] = dataclasses.field(default=frozenset(), repr=False, compare=False)  # see ``fields_set``

    def __post_init__(self) -> None:
        for field, annotation in list_fields(type(self)).items():
            where = f"{type(self).__name__}.{field}"
            object.__setattr__(self, field, from_plain(annotation, getattr(self, field), where))


class Partial(dict[str, Any]):
    """Fields that ``override`` sets of a component that it has just swapped in; the others are its default's."""


def to_plain(value: Any) -> Any:
    """Return a component as dicts, lists, numbers and strings; ``from_plain`` is the inverse."""
    if isinstance(value, Component):
        plain = {"name": member_name(value)} if value.table else {}
        return plain | {field: to_plain(getattr(value, field)) for field in list_fields(type(value))}
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
    annotations = list_fields(cls)
    for name in given:
        if name not in annotations:
            raise ConfigError(f"{where}.{name}: no such field of {cls.__name__}; {did_you_mean(name, annotations)}")
    for field in dataclasses.fields(cls):
        if isinstance(given.get(field.name), Partial):
            given[field.name] = _default(field) | given[field.name]
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in given:
            raise ConfigError(f"{where}.{field.name}: missing; {cls.__name__} needs a value")
    return cls(**{name: from_plain(annotations[name], item, f"{where}.{name}") for name, item in given.items()})


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


def list_fields(cls: type) -> dict[str, Any]:
    """Return the annotation of each field of a component's class, by its name."""
    if cls not in _KNOWN_FIELDS:
        hints = typing.get_type_hints(cls, include_extras=True)
        fields = [field.name for field in dataclasses.fields(cls) if field.init and field.name != "_set"]
        _KNOWN_FIELDS[cls] = {name: hints[name] for name in fields}
    return _KNOWN_FIELDS[cls]


_KNOWN_FIELDS: dict[type, dict[str, Any]] = {}  # resolving annotations is slow, and a component is made often

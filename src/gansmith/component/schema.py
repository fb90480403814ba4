"""A JSON schema (draft 2020-12) of the plain values that ``from_plain`` makes into a component."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from gansmith.component.bounds import ReadAs
from gansmith.component.docstrings import describe_class, describe_fields
from gansmith.component.families import member, members
from gansmith.component.values import Component, list_fields, to_plain

__all__ = ["DRAFT", "JsonSchema", "build_schema"]

JsonSchema: TypeAlias = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
OUTSIDE = r"[\w.]+:[\w.]+"  # "package.module:Class"; whether it may be imported is not the schema's to say
_SCALARS: dict[Any, JsonSchema] = {
    Any: {},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": ["string", "number"]},
    Path: {"type": ["string", "number"]},
}


def build_schema(cls: type[Component]) -> JsonSchema:
    """Return the schema of a component and of all components below it, with types, ranges, defaults and docstrings.

    A valid value may still be refused by ``from_plain``, where two fields of it do not fit together. Durations are
    stricter than in ``from_plain``: their units must be in lower case.

    Args:
        cls: a component that has no family.
    """
    definitions: dict[str, JsonSchema] = {}
    _refer(cls.__name__, lambda: _describe_object(cls, definitions), definitions)
    root = definitions.pop(cls.__name__)
    return {"$schema": DRAFT, **root, "$defs": dict(sorted(definitions.items()))}


def _refer(name: str, build: Callable[[], JsonSchema], definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Add a definition if it is missing, and return a reference to it."""
    if name not in definitions:
        definitions[name] = {}  # a component may contain others of its own family
        definitions[name] = build()
    return {"$ref": f"#/$defs/{name}"}


def _describe(annotation: Any, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Return the schema of a field's type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _describe_annotated(get_args(annotation), definitions)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not type(None)]
        off = [{"enum": [None, "none"]}] if len(options) < len(get_args(annotation)) else []
        return {"anyOf": [*(_describe(option, definitions) for option in options), *off]}
    if origin is Literal:
        return {"enum": list(get_args(annotation))}
    if origin is tuple:
        return _describe_sequence(get_args(annotation), definitions)
    if inspect.isclass(annotation) and issubclass(annotation, Component):
        if _is_family(annotation):
            return _refer(annotation.__name__, lambda: _describe_family(annotation, definitions), definitions)
        return _refer(annotation.__name__, lambda: _describe_object(annotation, definitions), definitions)
    if hasattr(annotation, "from_text"):
        return {"type": "string", **({"pattern": annotation.pattern} if hasattr(annotation, "pattern") else {})}
    return dict(_SCALARS[annotation])


def _is_family(cls: type[Component]) -> bool:
    """Return whether a class sets the table of a family itself, and so stands for all its members."""
    return bool(vars(cls).get("table"))


def _describe_annotated(parts: tuple[Any, ...], definitions: dict[str, JsonSchema]) -> JsonSchema:
    base, *conditions = parts
    schema = _describe(base, definitions)
    for condition in conditions:
        if hasattr(condition, "to_schema"):
            schema |= condition.to_schema()
    texts = [condition.pattern for condition in conditions if isinstance(condition, ReadAs)]
    as_text: list[JsonSchema] = [{"type": "string", "pattern": text} for text in texts]
    return {"anyOf": [schema, *as_text, {"type": "integer", "minimum": 1}]} if as_text else schema


def _describe_sequence(items: tuple[Any, ...], definitions: dict[str, JsonSchema]) -> JsonSchema:
    if len(items) == 2 and items[1] is Ellipsis:
        array = {"type": "array", "items": _describe(items[0], definitions)}
        return {"anyOf": [array, {"type": "string", "pattern": _spell_list(items[0])}]}
    num = len(items)
    described = [_describe(item, definitions) for item in items]
    return {"type": "array", "prefixItems": described, "minItems": num, "maxItems": num}


def _spell_list(item: Any) -> str:
    """Return a regular expression of texts that list items, separated by commas."""
    if item is str:
        return ""
    if inspect.isclass(item) and issubclass(item, Component) and item.table:
        return f"^,*(({_spell_names(item)})(,+|$))*$"
    return "^,*$"  # of numbers, only the empty list can be written as text


def _describe_family(family: type[Component], definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Return the schema of a family: a member's name, or an object with its name and fields."""
    cases = []
    for name in members(family):
        cls = member(family, name, name)
        reference = _refer(cls.__name__, partial(_describe_object, cls, definitions), definitions)
        cases.append({"if": {"properties": {"name": {"const": name}}}, "then": reference})
    by_name = {"type": "string", "pattern": f"^({_spell_names(family)})$"}
    named = {"enum": list(members(family)), "description": 'or "package.module:Class" of your own'}
    name_or_path = {"anyOf": [named, {"type": "string", "pattern": f"^{OUTSIDE}$"}]}
    whole = {"type": "object", "required": ["name"], "properties": {"name": name_or_path}, "allOf": cases}
    return {"description": describe_class(family), "if": {"type": "string"}, "then": by_name, "else": whole}


def _spell_names(family: type[Component]) -> str:
    """Return a regular expression of the names that stand for a member by themselves: no field of it is needed."""
    names = [name for name in members(family) if not _needed(member(family, name, name))]
    return "|".join([*names, OUTSIDE])


def _needed(cls: type[Component]) -> list[str]:
    fields = [field for field in dataclasses.fields(cls) if field.name in list_fields(cls)]
    missing = dataclasses.MISSING
    return [field.name for field in fields if field.default is missing and field.default_factory is missing]


def _describe_object(cls: type[Component], definitions: dict[str, JsonSchema]) -> JsonSchema:
    """Return the schema of one component's fields; of a member of a family, also of its name."""
    told = describe_fields(cls)
    defaults = {field.name: _default(field) for field in dataclasses.fields(cls)}
    properties: dict[str, JsonSchema] = {"name": {}} if cls.table else {}
    for name, annotation in list_fields(cls).items():
        about = {"description": told[name]} if name in told else {}
        properties[name] = {**_describe(annotation, definitions), **about, **defaults[name]}
    schema: JsonSchema = {"title": cls.__name__, "description": describe_class(cls), "type": "object"}
    if needed := _needed(cls):
        schema["required"] = needed
    return schema | {"properties": properties, "additionalProperties": False}


def _default(field: dataclasses.Field[Any]) -> JsonSchema:
    if field.default_factory is not dataclasses.MISSING:
        return {"default": to_plain(field.default_factory())}
    return {} if field.default is dataclasses.MISSING else {"default": to_plain(field.default)}

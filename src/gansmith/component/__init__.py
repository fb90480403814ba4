"""Components: frozen, typed, validated values that are configuration, extension point and documentation at once.

A component is a frozen dataclass of hyper-parameters. A family, such as all losses, is an abstract component with the
name of its table: a dict at the end of the family's file that maps names to classes. A class outside the table is a
member as ``module:Class``. It is imported only if the user wrote it, never because a file names it: see ``trust``.

bounds     ranges of fields, and converters of their text
families   tables of members
values     components, to and from plain values
overrides  copies with some fields changed
docstrings what the docstrings say of a class and its fields
schema     a JSON schema of a component
"""

from __future__ import annotations

from gansmith.component.bounds import (
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
from gansmith.component.docstrings import describe_class, describe_fields
from gansmith.component.families import member, member_name, members
from gansmith.component.overrides import fields_set, override, override_as_user
from gansmith.component.schema import DRAFT, JsonSchema, build_schema
from gansmith.component.values import Component, from_plain, to_plain

__all__ = [
    "DRAFT",
    "AtLeast",
    "Between",
    "Component",
    "Fraction",
    "JsonSchema",
    "NonNegative",
    "Positive",
    "PositiveInt",
    "ReadAs",
    "Seed",
    "Side",
    "build_schema",
    "describe_class",
    "describe_fields",
    "fields_set",
    "from_plain",
    "member",
    "member_name",
    "members",
    "override",
    "override_as_user",
    "to_plain",
]

"""What the commands share in reading their arguments: typed options by tyro, any field of the configuration besides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

import tyro

from gansmith.errors import ConfigError
from gansmith.plain_json import parse_json

__all__ = ["Count", "Number", "Required", "Text", "parse", "parse_with_overrides"]

T = TypeVar("T")

Required: TypeAlias = Annotated[str, tyro.conf.Positional]
Text: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
Count: TypeAlias = Annotated[int | None, tyro.conf.arg(metavar="N")]
Number: TypeAlias = Annotated[float, tyro.conf.arg(metavar="X")]


def parse(options: type[T], verb: str, arguments: Sequence[str]) -> T:
    """Read a command's options into its dataclass; help and usage errors end the process (0 and 2)."""
    return tyro.cli(options, prog=f"gansmith {verb}", args=list(arguments))


def parse_with_overrides(options: type[T], verb: str, arguments: Sequence[str]) -> tuple[T, dict[str, Any]]:
    """The same, and every other ``--some.field value`` as a field of the configuration.

    Raises:
        ConfigError: an option without a value.
    """
    fields = {field.name: field.type for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    switches = {"help", *(form for name in fields if fields[name] in ("bool", bool) for form in (name, f"no_{name}"))}
    own = fields.keys() | switches
    rest: list[str] = []
    overrides: dict[str, Any] = {}
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        path = name.replace("-", "_")
        if not word.startswith("--") or path in own:
            rest.append(word)
            if word.startswith("--") and path not in switches and not equals and queue:
                rest.append(queue.pop(0))
            continue
        if not equals:
            if not queue or queue[0].startswith("--"):
                part = name.removeprefix("no-").removeprefix("no_")
                off = "" if part == name else f"; what can be left out is switched off by --{part} none"
                raise ConfigError(f"--{name}: needs a value, as in --{name} VALUE{off}")
            value = queue.pop(0)
        overrides[path] = _read(value)
    return parse(options, verb, rest), overrides


def _read(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text

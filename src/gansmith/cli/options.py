"""Options that several commands share, and the parsing of arguments: tyro's, and any field of the configuration."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

import tyro

from gansmith.errors import ConfigError
from gansmith.plain_json import parse_json

__all__ = [
    "Averaged",
    "Count",
    "DataName",
    "FilePath",
    "Flag",
    "Number",
    "OptionalPath",
    "Output",
    "Rate",
    "RunPath",
    "Text",
    "Whole",
    "choose_app",
    "parse",
    "parse_with_overrides",
    "print_json",
    "quiet_if",
    "split_numbers",
    "split_words",
]

T = TypeVar("T")

RunPath: TypeAlias = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help_behavior_hint="")]
DataName: TypeAlias = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA", help_behavior_hint="")]
FilePath: TypeAlias = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
# The help text of each option states the default.
Text: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]
OptionalPath: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
Count: TypeAlias = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
Number: TypeAlias = Annotated[float, tyro.conf.arg(metavar="X")]
Whole: TypeAlias = Annotated[int, tyro.conf.arg(metavar="N")]
Output: TypeAlias = Annotated[str, tyro.conf.arg(metavar="PATH")]
Flag: TypeAlias = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]
Averaged: TypeAlias = Annotated[bool, tyro.conf.arg(help_behavior_hint="(default: --ema)")]
Rate: TypeAlias = Annotated[float | None, tyro.conf.arg(metavar="X", help_behavior_hint="")]


def parse(options: type[T], verb: str, arguments: Sequence[str]) -> T:
    """Parse a command's options into its dataclass; exit with 0 after help, with 2 after a usage error."""
    return tyro.cli(options, prog=f"gansmith {verb}", args=list(arguments))


def parse_with_overrides(options: type[T], verb: str, arguments: Sequence[str]) -> tuple[T, dict[str, Any]]:
    """Parse a command's options like ``parse``, and every other ``--some.field value`` as an override.

    Raises:
        ConfigError: an option has no value.
    """
    fields = get_type_hints(options)
    switches = {"help", *(form for name in fields if fields[name] is bool for form in (name, f"no_{name}"))}
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
                off = "" if part == name else f"; to switch an optional part off, use --{part} none"
                raise ConfigError(f"--{name}: needs a value, as in --{name} VALUE{off}")
            value = queue.pop(0)
        overrides[path] = _read(value)
    return parse(options, verb, rest), overrides


def _read(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def choose_app(app: bool, port: int | None) -> bool | int:
    """Return what ``api.train`` takes as ``app``: a port, whether the page is wanted, or not."""
    if port is not None and not 1 <= port <= 65535:
        raise ConfigError(f"--app_port: {port} is out of range; expected 1 to 65,535")
    return app if port is None else port


def quiet_if(only_json: bool) -> contextlib.AbstractContextManager[object]:
    """Redirect standard output to standard error in the block if ``only_json``, so that it contains only JSON."""
    return contextlib.redirect_stdout(sys.stderr) if only_json else contextlib.nullcontext()


def split_words(text: str, flag: str) -> tuple[str, ...]:
    """Split a list that the user typed with commas.

    Raises:
        ConfigError: a part is empty.
    """
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise ConfigError(f"{flag}: expected a list with commas, such as one,two, got {text!r}")
    return words


def split_numbers(text: str, flag: str) -> tuple[int, ...]:
    """Split a list of whole numbers that the user typed with commas.

    Raises:
        ConfigError: a part is no whole number.
    """
    try:
        return tuple(map(int, split_words(text, flag)))
    except ValueError:
        raise ConfigError(f"{flag}: expected whole numbers with commas, such as 1,2,5, got {text!r}") from None


def print_json(value: object) -> None:
    """Print plain data as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))

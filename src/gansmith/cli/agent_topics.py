"""The pages of ``gansmith agent-docs``: three are files, the others are written from the code when asked for."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gansmith.component import Component, JsonSchema

__all__ = ["TOPICS", "Topic"]

PAGES = Path(__file__).with_name("pages")
_WIDE = "400"  # columns, so that an option is one line
_FRAME = "│╭╮╰╯─"


@dataclass(frozen=True)
class Topic:
    """One page.

    Args:
        summary: what it is about.
        write: returns its Markdown.
        short: whether it is printed when no topic is named; the others are long.
    """

    summary: str
    write: Callable[[], str]
    short: bool = True


def _read(name: str) -> Callable[[], str]:
    return lambda: (PAGES / f"{name}.md").read_text(encoding="utf-8")


def write_verbs() -> str:
    """Return one line for each verb."""
    from gansmith.cli import COMMANDS

    rows = [f"- `gansmith {verb}`: {summary}" for verb, (_, summary) in COMMANDS.items()]
    note = "`gansmith VERB --help` has the options of one verb, `gansmith agent-docs options` those of all."
    return "\n".join(["# Verbs", "", *rows, "", note, ""])


def write_options() -> str:
    """Return the help of every verb, an option a line."""
    from gansmith.cli import COMMANDS
    from gansmith.cli.export import FORMATS

    parts = ["# Options of every verb\n"]
    for verb, (module, _) in COMMANDS.items():
        for words in [(), *((form,) for form in (FORMATS if verb == "export" else ()))]:
            heading = " ".join(["## gansmith", verb, *words])
            parts.append(f"{heading}\n\n{_ask_for_help(module, words)}\n")
    return "\n".join(parts)


def _ask_for_help(module: str, words: tuple[str, ...]) -> str:
    """Return a verb's help as plain lines."""
    printed, before = io.StringIO(), {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ.update(COLUMNS=_WIDE, NO_COLOR="1")
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            importlib.import_module(module).main([*words, "--help"])
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    lines = (line.strip(f" {_FRAME}") for line in printed.getvalue().splitlines())
    kept = [re.sub(r" {2,}", "  ", line) for line in lines if line and not line.startswith("-h, --help")]
    titles = ("positional arguments", "options")
    return "\n".join(f"- {line}" if line.startswith("--") else line for line in kept if line not in titles)


def write_python() -> str:
    """Return the signature of every public name, with its docstring."""
    import gansmith
    from gansmith.api import Run
    from gansmith.sampling.generator import Samples, TrainedGenerator

    parts = [
        "# Python\n",
        _EXAMPLE,
        "Each function of `gansmith`; every field of `Config` is a keyword of `train` too.\n",
    ]
    for name in gansmith.__all__:
        public = getattr(gansmith, name)
        parts.append(f"- `gansmith.{name}{_sign(public) if inspect.isfunction(public) else ''}`: {_first_line(public)}")
    for cls in (Run, TrainedGenerator, Samples):
        parts += [f"\n## {cls.__name__}\n\n{_first_line(cls)}\n", *_list_members(cls)]
    return "\n".join([*parts, ""])


_EXAMPLE = """```python
import gansmith

run = gansmith.train("path/to/photos", length="10 min", size=64)  # or gansmith.open_run("runs/a")
samples = run.generator().sample(16, seed=0)
samples.save("samples.png")
print(run.evaluate(num=1000).values["fid"])
```
"""


def _list_members(cls: type) -> Iterator[str]:
    for name, value in vars(cls).items():
        if name[0] != "_" and inspect.isfunction(value):
            yield f"- `.{name}{_sign(value)}`: {_first_line(value)}"
        elif name[0] != "_" and isinstance(value, property):
            yield f"- `.{name}`: {_first_line(value)}"


def _sign(function: Callable[..., Any]) -> str:
    """Return a function's parameters with their defaults, without types; a default that is a function is "..."."""
    kept = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=... if inspect.isbuiltin(parameter.default) else parameter.default,
        )
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    ]
    return str(inspect.Signature(kept)).replace("Ellipsis", "...")


def _first_line(value: object) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def write_config() -> str:
    """Return each field of the configuration with its type, default and meaning."""
    from gansmith.training.config import build_config_schema

    schema = build_config_schema()
    parts = [
        "# Configuration\n",
        "`--field value` on the command line, `field=value` in Python. A component is its name, or an object with "
        "`name` and fields; `--model.width 64` sets one field. `none` switches an optional component off. The default "
        "preset `auto` replaces the defaults of fields that you leave out; `--dry-run --json` prints the result. "
        "`gansmith agent-docs --schema` is the whole JSON schema.\n",
        *_list_properties(schema, ""),
    ]
    for part in ("preparation", "tracking", "guard"):
        name = re.findall(r"#/\$defs/(\w+)", str(schema["properties"][part]))[0]
        parts += _list_properties(schema["$defs"][name], f"{part}.")
    return "\n".join([*parts, ""])


def write_components() -> str:
    """Return every member of every family with its fields."""
    from gansmith.cli.listing import FAMILIES, family
    from gansmith.component import build_schema, describe_class, member, members

    parts = ["# Components\n", "The names that each option takes, with their fields and defaults.\n"]
    for topic in FAMILIES:
        parts.append(f"## {topic}\n")
        for name in members(family(topic)):
            cls: type[Component] = member(family(topic), name, topic)
            parts.append(f"- `{name}`: {' '.join(describe_class(cls).partition(chr(10) * 2)[0].split())}")
            parts += (f"  {line}" for line in _list_properties(build_schema(cls), ""))
        parts.append("")
    return "\n".join(parts)


def _list_properties(schema: JsonSchema, prefix: str) -> Iterator[str]:
    """Yield a line for each property: its path, type, default and description."""
    properties: Mapping[str, JsonSchema] = schema["properties"]
    for name, about in properties.items():
        if not about or name == "seal":
            continue
        default = f" = {_spell_default(about['default'])}" if "default" in about else ""
        kind = f" ({kind})" if (kind := _spell_type(about)) else ""
        yield f"- `{prefix}{name}`{default}{kind}: {about.get('description', '')}".removesuffix(": ")


def _spell_default(value: Any) -> str:
    value = value.get("name", "default") if isinstance(value, dict) else value
    return "none" if value is None else f"{value}"


def _spell_type(about: JsonSchema) -> str:
    """Return a property's choices or range in words; "" if the description and the default say enough."""
    if "enum" in about:
        return ", ".join(map(str, about["enum"]))
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {about[word]}" for word, sign in signs.items() if word in about)


def write_errors() -> str:
    """Return the tree of errors."""
    from gansmith import errors

    tree, _, rest = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].rpartition("\n\n")
    return f"# Errors\n\n```\n{tree}\n```\n\n{rest}\nPython raises these; `gansmith.GansmithError` catches all.\n"


TOPICS: dict[str, Topic] = {
    "start": Topic("from a folder of images to a published page; conventions", _read("start")),
    "verbs": Topic("every verb in one line", write_verbs),
    "python": Topic("every public function, and the methods of a run", write_python),
    "run-folder": Topic("the files that training writes", _read("run-folder")),
    "config": Topic("every field of the configuration", write_config),
    "errors": Topic("the errors", write_errors),
    "extend": Topic("how to add a loss, penalty, model, metric, recipe", _read("extend")),
    "options": Topic("every option of every verb", write_options, short=False),
    "components": Topic("every loss, penalty, model, metric, ... with its fields", write_components, short=False),
}

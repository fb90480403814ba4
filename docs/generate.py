"""python docs/generate.py: write the reference pages from the tables and the commands themselves.

docs/reference.md lists every component with its fields, docs/commands.md the help of every command. In docs/zoo.md,
only the table of entries is written. A test compares them with what would be written now.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gansmith.cli import COMMANDS
from gansmith.cli.export import FORMATS
from gansmith.cli.listing import FAMILIES, family
from gansmith.component import Component, member, members, to_plain
from gansmith.training.config import Config
from gansmith.training.presets import PRESETS
from gansmith.zoo.manifest import read_manifest
from gansmith.zoo.table import HEADINGS, describe_model

HERE = Path(__file__).parent
BEGIN, END = "<!-- entries: written by make docs -->", "<!-- end of entries -->"


def main() -> None:
    """Write both pages."""
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The pages' names and texts."""
    return {"reference.md": reference(), "commands.md": commands(), "zoo.md": zoo()}


def reference() -> str:
    """Every preset, every field of the configuration, every component."""
    parts = ["# Reference\n", "Written by `make docs` from the code.\n", "## Presets\n", preset_table()]
    parts += [
        "## Configuration\n",
        "Each field can be set on the command line as `--field value`.\n",
        described(Config),
    ]
    for topic in FAMILIES:
        parts.append(f"## {topic.capitalize()}\n")
        for name in members(family(topic)):
            cls = member(family(topic), name, topic)
            parts += [f"### `{name}`\n", described(cls)]
    return "\n".join(parts)


def zoo() -> str:
    """The page about the zoo, with the table of the manifest between its two marks."""
    rows = [HEADINGS[:-1], ("---",) * (len(HEADINGS) - 1), *map(describe_model, read_manifest().values())]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, rest = (HERE / "zoo.md").read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def preset_table() -> str:
    """One row a preset."""
    rows = [f"| `{name}` | {preset.summary} |" for name, preset in PRESETS.items()]
    return "\n".join(["| preset | what it is |", "|---|---|", *rows, ""])


def described(cls: type[Component]) -> str:
    """A component's docstring and its fields with their defaults."""
    summary, _, rest = (inspect.getdoc(cls) or "").partition("\n\nArgs:\n")
    told = arguments(rest) if rest else {}
    for base in cls.__mro__[1:]:
        if base is not object and issubclass(base, Component):
            told = arguments((inspect.getdoc(base) or "").partition("\n\nArgs:\n")[2]) | told
    fields = [field for field in dataclasses.fields(cls) if field.name[0] != "_"]
    rows = [f"| `{field.name}` | {default(field)} | {told.get(field.name, '')} |" for field in fields]
    summary = summary.partition("\n\nClass attributes:")[0]
    table = ["| field | default | |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([summary, "", *table])


def arguments(section: str) -> dict[str, str]:
    """The entries of a docstring's section of arguments, each on one line."""
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            entries[name] = text
        else:
            entries[name] += f" {line.strip()}"
    return {name: text.replace("|", "\\|") for name, text in entries.items()}


def default(field: dataclasses.Field[Any]) -> str:
    """A field's default as one would write it; a component by its name."""
    if field.default_factory is not dataclasses.MISSING:
        value = to_plain(field.default_factory())
    elif field.default is not dataclasses.MISSING:
        value = to_plain(field.default)
    else:
        return "needed"
    return f"`{value.get('name', 'default') if isinstance(value, dict) else value}`"


def commands() -> str:
    """What each command says when asked for help."""
    parts = ["# Commands\n", "Written by `make docs` from the commands' own help.\n", fenced(asked("--help"))]
    for verb in COMMANDS:
        parts += [f"## gansmith {verb}\n", fenced(asked(verb, "--help"))]
        parts += [fenced(asked(verb, form, "--help")) for form in (FORMATS if verb == "export" else ())]
    return "\n".join(parts)


def asked(*words: str) -> str:
    """What gansmith prints, 100 columns wide and without colour."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "gansmith", *words], capture_output=True, text=True, check=True, env=environment
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def fenced(text: str) -> str:
    """A block of text as it is."""
    return f"```\n{text}\n```\n"


if __name__ == "__main__":
    main()

"""python docs/generate.py: write the reference pages from the tables and the commands themselves.

docs/reference.md lists every component with its fields, docs/commands.md the help of every command, docs/speed.md what
benchmarks/results/ holds of speed and memory. In docs/zoo.md, only the table of entries is written. A test compares
them with what would be written now.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from gansmith.cli import COMMANDS
from gansmith.cli.export import FORMATS
from gansmith.cli.listing import FAMILIES, family
from gansmith.component import Component, describe_class, describe_fields, member, members, to_plain
from gansmith.training.config import Config
from gansmith.training.presets import PRESETS
from gansmith.zoo.manifest import read_manifest
from gansmith.zoo.table import HEADINGS, describe_model

HERE = Path(__file__).parent
BEGIN, END = "<!-- entries: written by make docs -->", "<!-- end of entries -->"


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The pages' names and texts."""
    return {"reference.md": reference(), "commands.md": commands(), "zoo.md": zoo(), "speed.md": speed()}


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
    rows = table(HEADINGS[:-1], map(describe_model, read_manifest().values()))
    before, rest = (HERE / "zoo.md").read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}\n\n{rows}\n{END}{rest.split(END)[1]}"


SPEED = """# Speed and memory by machine

Written by `make docs` from [benchmarks/results/](../benchmarks/results/); each row links to its file. Every value was
measured on the machine that its row names; nothing is converted from another machine. No GPU has been measured. To add
your machine, run the command above a table, then `make docs`.

Speed is in images per second: the median of several rounds, with the lowest and the highest. Memory is the peak of the
whole process.

## Training steps and sampling

`python benchmarks/speed.py`, 2 threads. `dcgan-64`: DCGAN at 64 pixels, batch 128; `dcgan-mnist`: the network of the
tutorial at 28 pixels, batch 256; `resnet` and `r3`: these models at 32 pixels; `-published`: with their papers' widths;
`sampling`: images of 32 pixels from a trained generator.

"""
WHOLE_RUNS = """
## Whole trainings

`python benchmarks/whole_runs.py`, with pictures and checkpoints, but without tracking:

"""
SERVING = """
## Serving

`python benchmarks/serving.py`: requests over loopback for one image of 32 pixels each ([serve.md](serve.md)):

"""
STARTING = """
## Start-up

`python benchmarks/first_picture.py`, and `python benchmarks/first_runs.py` with an empty cache:

"""
RESULTS = HERE.parent / "benchmarks" / "results"
Row: TypeAlias = tuple[str, ...]


def speed() -> str:
    """What was measured of speed and memory, newest first."""
    head = ("part", "images/s", "memory, MiB", "processor", "precision", "commit", "date")
    parts = [SPEED, table(head, [row for about, file in read_results("speed") for row in list_steps(about, file)])]
    head = ("training", "images/s", "memory, MiB", "processor", "precision", "commit", "date")
    runs = [row for about, file in read_results("whole-runs") for row in list_runs(about, file)]
    parts += [WHOLE_RUNS, table(head, runs)]
    head = ("clients", "way", "requests/s", "95 % within, ms", "processor", "commit", "date")
    requests = [row for about, file in read_results("serving") for row in list_requests(about, file)]
    parts += [SERVING, table(head, requests)]
    starts = [row for name in ("first-picture", "first-runs") for row in list_starts(name)]
    return "".join([*parts, STARTING, table(("command", "seconds", "processor", "commit", "date"), starts)])


def read_results(name: str) -> list[tuple[dict[str, Any], Path]]:
    """A benchmark's files, newest first."""
    files = sorted(RESULTS.glob(f"20??-??-??-{name}.json"), reverse=True)
    return [(json.loads(file.read_text(encoding="utf-8")), file) for file in files]


def dated(about: dict[str, Any], file: Path) -> str:
    """The date, linked to the file."""
    page = file.with_suffix(".md")
    return f"[{about['date']}](../benchmarks/results/{(page if page.exists() else file).name})"


def list_steps(about: dict[str, Any], file: Path) -> Iterator[Row]:
    """gansmith's rows of one run of benchmarks/speed.py."""
    for each in about["results"]:
        if each["contender"] == "gansmith":
            middle, low, high = (f"{value:,.0f}" for value in each["images_per_second"])
            precision = each.get("precision", about["precision"])
            memory = f"{each['peak_memory_mib']:,}"
            rate = f"{middle} ({low} to {high})"
            yield each["part"], rate, memory, about["processor"], precision, each["commit"], dated(about, file)


def list_runs(about: dict[str, Any], file: Path) -> Iterator[Row]:
    """Rows of benchmarks/whole_runs.py."""
    for each in about["results"]:
        memory = f"{each['peak_memory_mib']:,}"
        where = (each["processor"], each["precision"], each["commit"], dated(about, file))
        yield f"`{each['job']}`", f"{each['images_per_second']:,.0f}", memory, *where


def list_requests(about: dict[str, Any], file: Path) -> Iterator[Row]:
    """Rows of benchmarks/serving.py."""
    for each in about["results"]:
        rates = (f"{each['per_second']:,.0f}", f"{each['p95']:.1f}")
        yield str(each["clients"]), each["way"], *rates, about["processor"], about["commit"], dated(about, file)


def list_starts(name: str) -> Iterator[Row]:
    """Rows of the benchmarks of first pictures and first runs."""
    for about, file in read_results(name):
        for each in about["results"]:
            what = f"`{each['command']}`" if "command" in each else f"first run: `{each['run']}`"
            seconds = f"{each.get('median', each.get('seconds')):.1f}"
            yield what, seconds, about["processor"], about["commit"], dated(about, file)


def table(head: Row, rows: Iterable[Row]) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def preset_table() -> str:
    """One row a preset."""
    rows = [f"| `{name}` | {preset.summary} |" for name, preset in PRESETS.items()]
    return "\n".join(["| preset | what it is |", "|---|---|", *rows, ""])


def described(cls: type[Component]) -> str:
    """A component's docstring and its fields with their defaults."""
    told = {name: text.replace("|", "\\|") for name, text in describe_fields(cls).items()}
    fields = [field for field in dataclasses.fields(cls) if field.name[0] != "_"]
    rows = [f"| `{field.name}` | {default(field)} | {told.get(field.name, '')} |" for field in fields]
    table = ["| field | default | |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([describe_class(cls), "", *table])


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

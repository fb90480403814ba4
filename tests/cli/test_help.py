"""Help: it names what the user types, and says what happens by default."""

from __future__ import annotations

import re

import pytest

from gansmith.cli import COMMANDS, main

# Placeholders of values say what to write, not which type Python reads.
PLACEHOLDERS = {"N", "PATH", "TEXT", "X"}
TYPES = re.compile(r"\b(None|NoneType|INT|STR|FLOAT|BOOL|True|False)\b")


@pytest.fixture(params=COMMANDS)
def verb(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def text(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a verb prints when it is asked for help, 100 columns wide."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


USAGE = {
    "data": "[check|prepare] DATA [--root PATH] [--size TEXT] [--json]",
    "train": "[OPTIONS] DATA",
    "resume": "[OPTIONS] RUN",
    "runs": "[FOLDER] [--json]",
    "sample": "[OPTIONS] RUN",
    "interpolate": "[OPTIONS] RUN",
    "explore": "RUN [--num N] [--num-projected N] [--seed N] [--quick] [--out PATH] [--json]",
    "project": "[OPTIONS] RUN IMAGE ...",
    "directions": "[OPTIONS] RUN",
    "export": "[OPTIONS] FORMAT RUN",
    "app": "[OPTIONS] [RUN ...]",
    "serve": "[OPTIONS] RUN",
    "study": "[OPTIONS] FILE",
    "report": "RUN [--out PATH] [--json]",
    "publish": "[OPTIONS] RUN",
    "list": "[TOPIC] [--json]",
}


def test_help_names_values_as_people_write_them(verb: str, text: str) -> None:
    assert not TYPES.search(text)
    assert {*re.findall(r"^[│ ] --[a-z-]+ ([A-Z]+)", text, re.MULTILINE)} <= PLACEHOLDERS
    if verb in USAGE:
        assert text.splitlines()[0] == f"usage: gansmith {verb} [-h] {USAGE[verb]}"


def test_every_verb_that_prints_results_prints_json_on_request(verb: str, text: str) -> None:
    assert verb == "train" or re.search(r"^[│ ] --json ", text, re.MULTILINE)

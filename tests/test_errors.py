"""Every error is one of ours, and says in one line what to do."""

from __future__ import annotations

import inspect
import subprocess
from pathlib import Path

import pytest

from gansmith import errors
from gansmith.errors import DataError, GansmithError, MissingExtra, UnreadableImage, command, did_you_mean


def test_every_error_is_a_gansmith_error_and_drawn_in_the_tree() -> None:
    members = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    classes = [cls for cls in members if cls.__module__ == errors.__name__]
    assert len(classes) > 1
    for cls in classes:
        assert issubclass(cls, GansmithError) and f"{cls.__name__} " in str(errors.__doc__)
    assert issubclass(UnreadableImage, DataError)


def test_a_missing_extra_is_named_with_its_command() -> None:
    error = MissingExtra("wandb", "wandb", "by the logger 'wandb'")
    assert str(error) == "wandb is needed by the logger 'wandb'; install it with: pip install 'gansmith[wandb]'"


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("gama", ["gamma", "every"], "did you mean 'gamma'?"),
        ("xyz", ["gamma", "every"], "expected one of every, gamma"),
        ("xyz", [], "nothing is expected here"),
    ],
)
def test_did_you_mean(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint


@pytest.mark.parametrize("name", ["plain/run", "moved [/b] x", "$5 & <i>x", "it's", "\U0001f600", "a\tb"])
def test_a_command_is_read_by_a_shell_as_it_was_written(name: str) -> None:
    printed = subprocess.run(
        ["sh", "-c", f"printf '%s|' {command('resume', Path(name))}"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == f"gansmith|resume|{name}|"
    assert command("resume", Path("--help"), "--length", "5 %") == "gansmith resume ./--help --length '5 %'"

"""The mutation tester: what it changes, and that kills, survivors, endless loops and import errors are told apart."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mutation.changes import make_mutants, make_named

SOURCE = '''"""A module."""
from dataclasses import dataclass

TABLE = {"twice": 2, "message": "not changed, as it has spaces"}
NUM = [1, 2][TABLE["twice"] - 1]


@dataclass(frozen=True)
class Scaled:
    """A class."""

    by: int = 3

    def of(self, value: int) -> int:
        return value * self.by


def count(to: int) -> int:
    """Called when the module is imported, and by a test."""
    found = 0
    while found < to:
        found += 1
    return found


def never_tested(value: int) -> int:
    return value + 1


ALWAYS = count(4)
'''
TESTS = """
from toy.sums import ALWAYS, NUM, Scaled, count

def test_scaled():
    assert Scaled().of(2) == 6 and Scaled(5).of(2) == 10

def test_count():
    assert count(3) == 3 and ALWAYS == 4 and NUM == 2
"""
CHANGES = {  # line and change, and what becomes of it
    (5, "'twice' -> 'twice?'"): "error",  # when the module is imported
    (12, "3 -> 4"): "killed",
    (15, "Mult -> Div"): "killed",  # in a function that tests call
    (22, "drop"): "timeout",
    (23, "return None"): "killed",  # in one that is called when the module is imported, too
    (27, "Add -> Sub"): "survived",  # in one that no test calls
}
PROGRAM = """
import json, sys
from pathlib import Path
from mutation.changes import make_mutants
from mutation.trials import Target, try_mutants
home, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])
mutants = make_mutants("sums", (home / "src/toy/sums.py").read_text())
target = Target(package=home / "src/toy", module="sums", tests=[home / "test_toy.py"], slowest=2.0,
                folder=home / "copy", grace=1.0)
for mutant, outcome in try_mutants(target, [each for each in mutants if [each.line, each.change] in wanted]):
    print(json.dumps([mutant.line, mutant.change, outcome]), flush=True)
"""


def try_toy(home: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (home / "src/toy").mkdir(parents=True)
    (home / "src/toy/__init__.py").touch()
    (home / "src/toy/sums.py").write_text(SOURCE)
    (home / "test_toy.py").write_text(tests)
    (home / "pytest.ini").write_text("[pytest]\n")
    (home / "copy").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROGRAM, str(home), json.dumps([list(each) for each in CHANGES])]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants are tried in forks")
def test_each_outcome_is_told(tmp_path: Path) -> None:
    ended = try_toy(tmp_path, TESTS)
    found = {(line, change): outcome for line, change, outcome in map(json.loads, ended.stdout.splitlines())}
    assert found == CHANGES, ended.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants are tried in forks")
def test_tests_that_fail_without_a_change_are_an_error(tmp_path: Path) -> None:
    ended = try_toy(tmp_path, TESTS.replace("== 6", "== 7"))
    assert ended.returncode and "sums: its tests fail without a change" in ended.stderr and not ended.stdout


def test_what_is_changed_and_what_is_not() -> None:
    source = '''
from typing import TypeVar
__all__ = ["f"]
T = TypeVar("T")
def f(x: "int" = 1, *, y=(2.0, "a")) -> "str":
    """Words."""
    if not x or y is None:
        raise ValueError(f"{x}: wrong")
    with open("b", mode="r") as file:
        x += -3
    return g(x, why="some words", key=True) if x < 4 else "c"
'''
    changes = [(mutant.line, mutant.change, mutant.function) for mutant in make_mutants("m", source)]
    assert changes == [
        (5, "'a' -> 'a?'", ""), (5, "1 -> 2", ""), (5, "2.0 -> 2.2", ""),
        (7, "Is -> IsNot", "f"), (7, "Or -> And", "f"), (7, "always", "f"), (7, "without Not", "f"), (8, "drop", "f"),
        (9, "'b' -> 'b?'", "f"), (9, "'r' -> 'r?'", "f"), (9, "without mode=", "f"), (9, "without the context", "f"),
        (10, "3 -> 4", "f"), (10, "Add -> Sub", "f"), (10, "drop", "f"), (10, "without USub", "f"),
        (11, "'c' -> 'c?'", "f"), (11, "4 -> 5", "f"), (11, "Lt -> LtE", "f"), (11, "True -> False", "f"),
        (11, "always", "f"), (11, "never", "f"), (11, "return None", "f"), (11, "without key=", "f"),
        (11, "without why=", "f"),
    ]  # fmt: skip
    changed = {ast.unparse(mutant.make_tree()) for mutant in make_mutants("m", source)}
    assert len(changed) == len(changes) and ast.unparse(ast.parse(source)) not in changed


def test_a_change_by_name_says_where_it_is() -> None:
    mutant = make_named("sums", SOURCE, "value * self.by", "value")
    assert mutant.function == "Scaled.of" and "return value\n" in ast.unparse(mutant.make_tree())
    assert str(mutant) == "sums.py:15: value * self.by -> value: return value * self.by"
    with pytest.raises(ValueError, match="holds 'value' 4 times; expected once"):
        make_named("sums", SOURCE, "value", "other")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants are tried in forks")
def test_known_mutants_are_of_this_source() -> None:
    """Each equivalent one has a reason, and both kinds are still found."""
    import mutants

    for module in mutants.TESTS:
        mutants.read_known(module, (mutants.PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    assert all(
        (Path(__file__).parent / name.split("::")[0]).exists() for tests in mutants.TESTS.values() for name in tests
    )


def test_known_changes_are_of_lines_that_are_there() -> None:
    home = Path(__file__).parents[1] / "src/gansmith"
    known = tomllib.loads((Path(__file__).parent / "mutation/known.toml").read_text(encoding="utf-8"))
    for entry in (*known["named"], *known["equivalent"]):
        source = (home / f"{entry['module']}.py").read_text(encoding="utf-8")
        assert entry.get("old", entry.get("line")) in source, f"{entry['module']}: {entry}"

"""Try mutants of a module: run its tests with each, and see whether one fails.

One process collects the tests once and forks for each mutant. A change inside a function takes the place of that
function's code in the fork, which runs only the tests that call the function, the fastest first, until one fails. A
change that takes effect when the module is imported, and one that survives in a function that is called then, is tried
in a process that imports the changed module afresh and runs all of its tests.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Literal

import pytest

from mutation.changes import Mutant
from mutation.plugins import Failures, Key, Profile, Watch, fastest_first, run_until_one_fails

__all__ = ["Outcome", "Target", "try_mutants"]

Outcome = Literal["killed", "survived", "timeout", "error"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is changed, and which tests must notice.

    Args:
        package: the folder of the package; a copy of it is changed.
        module: the module's path without the ending, below the package.
        tests: files, folders, or "file.py::test".
        slowest: tests that take more seconds of the processor's time than this are left out.
        folder: an empty one, for the copy and for what is printed.
        grace: seconds that tests may take beyond five times what they usually do.
    """

    package: Path
    module: str
    tests: Sequence[Path]
    slowest: float
    folder: Path
    grace: float = 10.0

    @property
    def source(self) -> str:
        """The module's text."""
        return (self.package / f"{self.module}.py").read_text(encoding="utf-8")

    @property
    def changed(self) -> Path:
        """The module's file in the copy."""
        return self.folder / self.package.name / f"{self.module}.py"

    @property
    def name(self) -> str:
        """The module's name for ``import``."""
        return ".".join([self.package.name, *self.module.split("/")]).removesuffix(".__init__")


def try_mutants(target: Target, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, Outcome]]:
    """Yield each mutant with what became of it; the first yields come after the tests have run once without a change.

    Raises:
        RuntimeError: the tests fail without a change.
    """
    shutil.copytree(target.package, target.changed.parents[target.module.count("/")], ignore=_NO_CACHES)
    survivors = []
    for number, outcome in _messages(target, lambda tell: _collect_and_fork(target, mutants, tell)):
        if outcome == "again":
            survivors.append(mutants[number])
        else:
            yield mutants[number], outcome
    if survivors:
        for number, outcome in _messages(target, lambda tell: _import_and_fork(target, survivors, tell)):
            yield survivors[number], outcome


_NO_CACHES = shutil.ignore_patterns("__pycache__")


def _messages(target: Target, run: Callable[[Callable[[Any], None]], None]) -> Iterator[Any]:
    """Yield what ``run``, in a process of its own, tells."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as file:
            _end_with(target, lambda: run(lambda message: print(json.dumps(message), file=file, flush=True)))
    os.close(writing)
    with os.fdopen(reading) as file:
        yield from map(json.loads, file)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"{target.module}: its tests fail without a change:\n{_printed(target)}")


def _printed(target: Target) -> str:
    return (target.folder / "output.txt").read_text(errors="replace")[-3000:]


def _end_with(target: Target, run: Callable[[], Any]) -> None:
    """Run in this process, which prints into a file and finds the copy of the package, and end it."""
    code: Any = 99
    try:
        os.setsid()
        silent = os.open(target.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(silent, 1), os.dup2(silent, 2)
        sys.path.insert(0, str(target.folder))
        os.environ["PYTHONPATH"] = str(target.folder)  # also for what the tests start
        code = run() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _pytest(target: Target, plugin: object) -> int:
    switches = ["-q", "--assert=plain", "-p", "no:xdist", "-p", "no:cacheprovider"]
    return int(pytest.main([*switches, f"--basetemp={target.folder / 'tmp'}", *map(str, target.tests)], [plugin]))


def _fork(run: Callable[[], int], limit: float) -> int | None:
    """Return the exit status of ``run`` in a process of its own; None if it had to be ended.

    Args:
        run: what is done there.
        limit: seconds of the processor's time; twenty times as many may pass, for others use the machine too.
    """
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 1))
            code = run()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    until = time.monotonic() + 20 * limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


# --- changes inside functions ------------------------------------------------------------------------------


def _collect_and_fork(target: Target, mutants: Sequence[Mutant], tell: Callable[[Any], None]) -> int:
    forks = _Forks(target, mutants, tell)
    sys.settrace(forks.watch.trace)
    return _pytest(target, forks)


class _Forks:
    """A plugin of pytest that runs the collected tests once, and then in a fork for each mutant."""

    def __init__(self, target: Target, mutants: Sequence[Mutant], tell: Callable[[Any], None]) -> None:
        self.target, self.mutants, self.tell = target, mutants, tell
        self.watch = Watch(str(target.changed))
        self.early: set[Key] = set()  # functions that are called before the first test

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        sys.settrace(None)
        self.early = set(self.watch.called)
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        found = self.target.folder / "profile.json"
        if _fork(lambda: self._measure(session.items, found), limit=600) != 0:
            raise session.Failed("the tests fail without a change")
        profiles = {name: Profile(s, {(f, n) for f, n in functions}, starts)
                    for name, (s, functions, starts) in json.loads(found.read_text()).items()}  # fmt: skip
        codes = {(code.co_qualname, code.co_firstlineno): code for code in _functions(_codes(self.target))}
        live = _live_functions(codes)
        for number, mutant in enumerate(self.mutants):
            self.tell((number, self._try(mutant, session.items, profiles, live)))
        return True

    def _measure(self, items: Sequence[pytest.Item], path: Path) -> int:
        profiles, failures = {}, Failures()
        items[0].config.pluginmanager.register(failures)
        items[0].config.pluginmanager.register(self.watch)
        for item, following in zip(items, [*items[1:], None], strict=True):
            began, clock = time.process_time(), time.monotonic()
            with self.watch.of(item) as profile:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds = time.monotonic() - clock if profile.starts_processes else time.process_time() - began
            if item.nodeid not in failures.skipped:
                profiles[item.nodeid] = (seconds, sorted(profile.functions), profile.starts_processes)
        path.write_text(json.dumps(profiles))
        return failures.num

    def _try(
        self, mutant: Mutant, items: Sequence[pytest.Item], profiles: dict[str, Profile],
        live: dict[Key, list[FunctionType]],
    ) -> str:  # fmt: skip
        changed = {(code.co_qualname, code.co_firstlineno): code for code in _functions(_compiled(mutant, self.target))}
        key = next((key for key in changed if key[0] == mutant.function and _holds(changed[key], mutant.line)), None)
        if (
            key is None
            or not live.get(key)
            or any(f.__code__.co_freevars != changed[key].co_freevars for f in live[key])
        ):
            return "again"
        calling = [item for item in items if item.nodeid in profiles and (
            profiles[item.nodeid].starts_processes or key in profiles[item.nodeid].functions)]  # fmt: skip
        chosen = fastest_first(calling, {name: each.seconds for name, each in profiles.items()}, self.target.slowest)
        survived = "again" if key in self.early else "survived"
        if not chosen:
            return survived
        self.target.changed.write_text(ast.unparse(mutant.make_tree()), encoding="utf-8")
        limit = self.target.grace + 5 * sum(profiles[item.nodeid].seconds for item in chosen)
        code = _fork(lambda: _run_changed(live[key], changed[key], chosen), limit)
        return {None: "timeout", 0: survived, 1: "killed"}.get(code, "error")


def _run_changed(functions: Sequence[FunctionType], code: CodeType, items: Sequence[pytest.Item]) -> int:
    for function in functions:
        function.__code__ = code
    return run_until_one_fails(items)


def _codes(target: Target) -> CodeType:
    return compile(target.source, str(target.changed), "exec", dont_inherit=True)


def _compiled(mutant: Mutant, target: Target) -> CodeType:
    return compile(mutant.make_tree(), str(target.changed), "exec", dont_inherit=True)


def _functions(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _functions(inner)


def _holds(code: CodeType, line: int) -> bool:
    lines = [number for each in (code, *_functions(code)) for *_, number in each.co_lines() if number]
    return code.co_firstlineno <= line <= max(lines)


def _live_functions(keys: Sequence[Key] | dict[Key, CodeType]) -> dict[Key, list[FunctionType]]:
    """Find the functions that have been made of each code, whatever they are wrapped in."""
    filenames = {code.co_filename for code in keys.values()} if isinstance(keys, dict) else set()
    found: dict[Key, list[FunctionType]] = {}
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename in filenames:
            found.setdefault((each.__code__.co_qualname, each.__code__.co_firstlineno), []).append(each)
    return found


# --- changes that take effect on import --------------------------------------------------------------------


def _import_and_fork(target: Target, mutants: Sequence[Mutant], tell: Callable[[Any], None]) -> None:
    seconds = {name: profile[0] for name, profile in json.loads((target.folder / "profile.json").read_text()).items()}
    limit = 3 * target.grace + 5 * sum(each for each in seconds.values() if each <= target.slowest)
    _import_what_does_not_need(target)
    for number, mutant in enumerate(mutants):
        target.changed.write_text(ast.unparse(mutant.make_tree()), encoding="utf-8")
        code = _fork(lambda: _pytest(target, _Ordered(seconds, target.slowest)), limit)
        known: dict[int | None, Outcome] = {None: "timeout", 0: "survived", 1: "killed"}
        tell((number, known.get(code, "error")))


@dataclass
class _Ordered:
    """A plugin of pytest that runs the fastest tests first, and stops when one fails."""

    seconds: dict[str, float]
    slowest: float
    failures: Failures = field(default_factory=Failures)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        new = {item.nodeid: 0.0 for item in session.items if item.nodeid not in self.seconds}  # of a changed table
        if run_until_one_fails(fastest_first(session.items, {**new, **self.seconds}, self.slowest)):
            raise session.Failed("one failed")
        return True


def _import_what_does_not_need(target: Target) -> None:
    """Import all modules of the package that can be imported without this one."""
    sys.meta_path.insert(0, _Barrier(target.name))  # type: ignore[arg-type]
    package = target.folder / target.package.name
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(target.folder).with_suffix("").parts).removesuffix(".__init__")
        if not name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    del sys.meta_path[0]


@dataclass
class _Barrier:
    """An importer that refuses one module."""

    name: str

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse, or leave it to the others."""
        if name == self.name:
            raise ImportError(name)

"""What the trials ask of pytest: to note what tests call, to run the fastest first, and to stop when one fails."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest

__all__ = ["Failures", "Key", "Profile", "Watch", "fastest_first", "run_until_one_fails"]

Key = tuple[str, int]  # of a function: its qualified name and its first line


@dataclass
class Profile:
    """How long a test takes, and which functions of the module it calls."""

    seconds: float
    functions: set[Key]
    starts_processes: bool


def run_until_one_fails(items: Sequence[pytest.Item]) -> int:
    failures = Failures()
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.pluginmanager.register(failures) if item is items[0] else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failures.num:
            return 1
    return 0


def fastest_first(items: Sequence[pytest.Item], seconds: dict[str, float], slowest: float) -> list[pytest.Item]:
    quick = [item for item in items if seconds.get(item.nodeid, slowest + 1) <= slowest]
    return sorted(quick, key=lambda item: seconds[item.nodeid])


class Failures:
    """A plugin of pytest that counts failures."""

    def __init__(self) -> None:
        self.num, self.skipped = 0, set[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        self.num += report.failed
        if report.skipped:
            self.skipped.add(report.nodeid)


class Watch:
    """A plugin of pytest that notes which functions of a file are called by a test or by its fixtures."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.called: set[Key] = set()
        self.by_fixture: dict[int, set[Key]] = {}
        self.starts_processes = False
        self.hooked = False

    @contextlib.contextmanager
    def of(self, item: pytest.Item) -> Iterator[Profile]:
        """Watch a test; the profile is whole when the block ends."""
        if not self.hooked:
            sys.addaudithook(self._audit)
        self.called, self.starts_processes, self.hooked = set(), False, True
        profile = Profile(0.0, self.called, False)
        sys.settrace(self.trace)
        threading.settrace(self.trace)
        try:
            yield profile
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        for fixtures in item._fixtureinfo.name2fixturedefs.values():  # type: ignore[attr-defined]
            profile.functions = profile.functions.union(*(self.by_fixture.get(id(each), set()) for each in fixtures))
        profile.starts_processes = self.starts_processes

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        """Note what a fixture calls, which every test that uses it depends on."""
        before, self.called = self.called, set()
        made = yield
        self.by_fixture[id(fixturedef)] = self.called
        before |= self.called
        self.called = before
        return made

    def trace(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note a call, for ``sys.settrace``."""
        if frame.f_code.co_filename == self.filename:
            self.called.add((frame.f_code.co_qualname, frame.f_code.co_firstlineno))

    def _audit(self, event: str, arguments: Any) -> None:
        if event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
            self.starts_processes = True

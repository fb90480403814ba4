"""Commands of gansmith in processes that are forked from one that has imported it, so that hundreds can be ended."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 300.0  # a command that takes longer hangs
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: its exit status; negative for the signal that ended it; None if it hung.
        text: what it printed.
        changes: of files that it made; 0 if it was killed.
    """

    code: int | None
    text: str
    changes: int = 0

    @property
    def fault(self) -> str:
        """What is wrong with the way it ended; empty if it did what it should, or refused in one line."""
        errors = [line for line in self.text.splitlines() if line.startswith("error: ")]
        if self.code is None:
            return f"hung for {LIMIT_SECONDS:.0f} s: {self.text[-300:]}"
        if "Traceback" in self.text or self.code not in (0, 2):
            return f"exit {self.code}: {self.text[-1500:]}"
        if self.code == 2 and len(errors) != 1:
            return f"exit 2 with {len(errors)} lines of errors: {self.text[-300:]}"
        return ""

    @property
    def refusal(self) -> str:
        """The line that it refused with; empty if it did not refuse."""
        lines = [line for line in self.text.splitlines() if line.startswith("error: ")]
        return lines[0] if self.code == 2 and len(lines) == 1 else ""


class Command:
    """A command under way.

    Args:
        words: of the command line.
        where: the working folder.
        environment: variables to set, or to unset if None.
        before: done in the process before the command begins.
        kill_at: the change of a file before which the process kills itself.
        output: a descriptor for its standard output, in place of the log.
    """

    def __init__(
        self,
        words: Sequence[str],
        where: Path,
        environment: Mapping[str, str | None],
        *,
        before: Callable[[], object] | None = None,
        kill_at: int = 0,
        output: int | None = None,
    ) -> None:
        self.log = where / f".log-{time.monotonic_ns()}"
        self.alive, writer = os.pipe()  # its end is reached when the last descendant has died
        sys.stdout.flush(), sys.stderr.flush()
        self.began, self.pid = time.monotonic(), os.fork()
        if self.pid == 0:
            os.close(self.alive)
            _live(words, where, environment, self.log, before, kill_at, output)
        os.close(writer)

    def running(self, seconds: float) -> bool:
        """Wait for the end; whether it has not come after so many seconds."""
        return not select.select([self.alive], [], [], max(0.0, seconds))[0]

    def kill(self) -> None:
        """End it now, as a loss of power would."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, limit: float = LIMIT_SECONDS) -> Ended:
        """Wait for it and for all that it has started."""
        hung = self.running(limit)
        if hung:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.alive)
        count = self.log.with_suffix(".changes")
        changes = int(count.read_text()) if count.exists() else 0
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        return Ended(None if hung else os.waitstatus_to_exitcode(status), text, changes)


def _live(
    words: Sequence[str],
    where: Path,
    environment: Mapping[str, str | None],
    log: Path,
    before: Callable[[], object] | None,
    kill_at: int,
    output: int | None,
) -> None:
    """The life of the process."""
    code, counted = 99, [0]
    try:
        os.setsid()
        os.chdir(where)
        file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
        os.dup2(file, 2), os.dup2(file if output is None else output, 1)
        for name, value in environment.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        if before is not None:
            before()
        sys.addaudithook(_counting(counted, kill_at))
        from gansmith.cli import main

        code = main(list(words))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        os.dup2(file, 2)
        traceback.print_exc()
        code = 1
    finally:
        changes = counted[0]
        with contextlib.suppress(Exception):
            sys.stdout.flush(), sys.stderr.flush()
        with contextlib.suppress(OSError):
            log.with_suffix(".changes").write_text(str(changes))
        os._exit(code)


def _counting(counted: list[int], kill_at: int) -> Callable[[str, tuple[Any, ...]], None]:
    """A hook that counts changes of files, and kills the process before one of them."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
        if event in CHANGES or (writes and arguments[0] != os.devnull):
            counted[0] += 1
            if counted[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def warm_up() -> None:
    """Import what the commands need, start no thread, and let a study fork its cells."""
    import multiprocessing

    import torch

    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: context  # type: ignore[assignment,return-value]
    from gansmith.cli import COMMANDS

    for module, _ in COMMANDS.values():
        importlib.import_module(module)
    for name in ("api", "training.session", "report", "evaluation", "study.run", "study.queue", "data.check"):
        importlib.import_module(f"gansmith.{name}")
    for name in ("scipy.linalg", "scipy.stats", "sklearn.neighbors", "sklearn.datasets", "matplotlib.figure"):
        importlib.import_module(name)
    for name in ("matplotlib.backends.backend_agg", "torch._dynamo"):  # what commands import late, and slowly
        importlib.import_module(name)
    pictures = importlib.import_module("gansmith.training.sample_sheets")
    pictures.can_write_mp4 = lambda: False  # type: ignore[attr-defined]  # a second for each run, in another program
    _leave_curves_undrawn()


def _leave_curves_undrawn() -> None:
    """Let losses.png be laid out, but not drawn: that takes longer than all else in a run of a few steps."""
    from matplotlib.figure import Figure
    from PIL import Image

    class Undrawn(Figure):
        def savefig(self, fname: Any, **_: Any) -> None:
            Image.new("RGB", (9, 3)).save(fname, "png")

    importlib.import_module("gansmith.images.plots").Figure = Undrawn  # type: ignore[attr-defined]

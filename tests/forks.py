"""Python programs in processes of their own, forked from one server that has imported torch and gansmith.

A process that is started anew imports both for seconds. The server imports them once for each test process, computes
nothing and has one thread, so a fork of it is as good as new: a main module of its own, signals, environment, exit
status. What is about the imports themselves, the launcher, or settings that are read at the start needs a new process.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

__all__ = ["Forked", "adopt", "open_context", "run_forked", "run_ranks"]

PRELOADED = (
    *("torch", "torch._dynamo", "torch.distributed", "numpy", "scipy.stats", "matplotlib.backends.backend_agg"),
    *("gansmith.api", "gansmith.cli.train", "gansmith.study.cell"),
)
SECONDS = 120.0  # after which a process hangs


def open_context() -> ForkServerContext:
    """Return the context whose processes are forked from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


class Forked:
    """A program under way, much like ``subprocess.Popen``.

    Args:
        words: what would stand behind ``python``: ``-m MODULE ...``, or a file and its arguments.
        log: the file that receives standard output and errors.
        environment: all variables of the process; by default those of this one.
    """

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        context = open_context()
        variables = dict(os.environ if environment is None else environment)
        given = (list(words), str(log), variables, os.getcwd(), list(sys.path))
        self.words, self.log = list(words), log
        self.process: ForkServerProcess = context.Process(target=_live, args=given)
        self.process.start()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def wait(self, seconds: float = SECONDS) -> int:
        """Return the exit status; a process that does not end in time is killed."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise subprocess.TimeoutExpired(self.words, seconds, self.read())
        return self.process.exitcode

    def read(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def run_forked(
    words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; a status that is not 0 raises an error.

    Raises:
        subprocess.CalledProcessError: with all that was printed.
    """
    return _end([Forked(words, log, environment)])


def run_ranks(
    words: Sequence[str], logs: Path, num: int = 2, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in several processes that find each other as those of ``torchrun`` do.

    Args:
        logs: a folder for what each prints.
    """
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **(os.environ if environment is None else environment),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(num),
        "LOCAL_WORLD_SIZE": str(num),
    }
    ranks = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num)]
    return _end([Forked(words, logs / f"rank{rank['RANK']}.log", rank) for rank in ranks])


def _end(processes: Sequence[Forked]) -> subprocess.CompletedProcess[str]:
    """Wait for all; when one fails or hangs, end the others, which may wait for it."""
    running, until = list(processes), time.monotonic() + SECONDS
    while running and not any(process.returncode for process in processes):
        if not connection.wait([each.process.sentinel for each in running], until - time.monotonic()):
            break
        running = [process for process in running if process.returncode is None]
    status = next((process.returncode for process in processes if process.returncode), 0)
    for process in running:
        process.kill()
        code = process.wait()
        status = status or code
    said = "".join(process.read() for process in processes)
    if status:
        print(said)  # which pytest shows if the test fails
        raise subprocess.CalledProcessError(status, processes[0].words, said, said)
    return subprocess.CompletedProcess(processes[0].words, status, said, "")


def adopt(environment: Mapping[str, str], path: Sequence[str], target: Callable[..., None], *given: Any) -> None:
    """Call a function with other variables and places of modules than the server has."""
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    target(*given)


def _live(words: list[str], log: str, environment: dict[str, str], where: str, path: list[str]) -> None:
    """The life of the process."""
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    os.dup2(file, 1), os.dup2(file, 2)
    os.chdir(where)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    adopt(environment, path, _run, words)


def _run(words: list[str]) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")

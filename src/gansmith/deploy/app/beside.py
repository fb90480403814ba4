"""The page beside a training: a process of its own, which the training starts and does not depend on."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gansmith.deploy.app.settings import APP_PORT
from gansmith.deploy.listening import listen, web_address
from gansmith.errors import ConfigError, GansmithError, MissingExtra
from gansmith.runs import RunFolder

__all__ = ["PageProcess", "show_beside", "show_training", "start_beside"]

HOST = "127.0.0.1"
NICENESS = 10
PASSES_SOCKETS = os.name == "posix"
COMMAND = "import sys; from gansmith.deploy.app.beside import show_beside; show_beside(sys.argv[1], int(sys.argv[2]))"
SECONDS_TO_END = 5.0


@dataclass(frozen=True)
class PageProcess:
    """A running page.

    Args:
        address: where it is; it answers as soon as its process is ready.
        process: which ends when its standard input is closed, and so also when this process is killed.
    """

    address: str
    process: subprocess.Popen[bytes]

    def close(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def show_training(wanted: bool | int) -> Iterator[Callable[[RunFolder], list[str]] | None]:
    """Yield a function that starts the page of a run and returns the line to print; the page ends with the block.

    If the page cannot be started, the line says why, and training goes on.

    Args:
        wanted: False yields None; True takes a free port, 7860 if possible; another number is the port.
    """
    if wanted is False:
        yield None
        return
    pages: list[PageProcess] = []

    def start(folder: RunFolder) -> list[str]:
        try:
            pages.append(start_beside(folder.path, None if wanted is True else wanted))
        except (GansmithError, OSError) as error:
            return [f"app     not started: {' '.join(str(error).split())}"]
        return [f"app     {pages[-1].address}"]

    try:
        yield start
    finally:
        for page in pages:
            page.close()


def start_beside(run: Path, port: int | None = None) -> PageProcess:
    """Start the page of a run in a process of its own, at low priority; Ctrl-C in the terminal does not reach it.

    Args:
        run: the run's folder.
        port: port to listen on; None takes 7860, or a free one if that is in use.

    Raises:
        ConfigError: the port cannot be used.
        MissingExtra: Gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("gradio", "app", "to show the page")
    with _bind(port) as bound:
        address = web_address(HOST, bound)
        channel = bound.fileno() if PASSES_SOCKETS else bound.getsockname()[1]
        if PASSES_SOCKETS:
            bound.listen()  # a browser that comes before the process is ready waits
        else:
            bound.close()
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(run.resolve()), str(channel)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(channel,) if PASSES_SOCKETS else (),
            start_new_session=PASSES_SOCKETS,
        )
    return PageProcess(address, process)


def _bind(port: int | None) -> socket.socket:
    if port is not None:
        return listen(HOST, port, option="--app_port")
    try:
        return listen(HOST, APP_PORT)
    except ConfigError:
        return listen(HOST, 0)


def show_beside(run: str, channel: int) -> None:
    """Show the page until standard input ends; this is what the process of ``start_beside`` does.

    Args:
        run: the run's folder.
        channel: the number of the inherited socket; on Windows the port.
    """
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    threading.Thread(target=_end_with_input, daemon=True).start()
    from gansmith.deploy.app.server import serve_page

    bound = socket.socket(fileno=channel) if PASSES_SOCKETS else listen(HOST, channel)
    try:
        serve_page([run], listening=bound, announce=lambda address: None)
    except GansmithError as error:
        print(f"the page has ended: {error}", file=sys.stderr)
        sys.exit(2)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        os._exit(0)

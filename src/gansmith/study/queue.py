"""Run the cells of a study, one or several at once, each in a process of its own."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

import torch

from gansmith.console import stop_on_signal
from gansmith.study.cell import Job, Outcome, work
from gansmith.study.folder import StudyFolder
from gansmith.study.plan import Cell
from gansmith.study.progress import StudyProgress
from gansmith.study.record import Record, write_record

__all__ = ["run_cells"]

LOOK_EVERY = 1.0  # seconds
ASKED_TO_END = (-signal.SIGINT, -signal.SIGTERM)  # exit codes of a process that had not started to train


@dataclass(frozen=True, eq=False)
class _Running:
    cell: Cell
    device: str | None
    process: SpawnProcess
    report: connection.Connection


def run_cells(
    record: Record, folder: StudyFolder, display: StudyProgress, *, workers: int = 1, devices: Sequence[str] = ()
) -> Record:
    """Run every cell that is not done, and update study.json after each.

    The first Ctrl-C or SIGTERM lets the running cells save and stop; a second Ctrl-C ends them at once.

    Args:
        record: the plan, and the outcomes so far.
        folder: where everything is written.
        display: receives the progress.
        workers: processes at once; each gets its share of the CPU's threads.
        devices: assigned in turn; if empty, each cell uses the device of its configuration.

    Returns:
        The record with the new outcomes.
    """
    with stop_on_signal() as stop_asked:
        queue = _Queue(record, folder, display, _slots(workers, devices))
        try:
            while queue.waiting or queue.running:
                if stop_asked():
                    queue.stop()
                queue.start()
                queue.look()
        finally:
            queue.kill()
    return queue.record


class _Queue:
    """The waiting cells and the running processes."""

    def __init__(self, record: Record, folder: StudyFolder, display: StudyProgress, slots: list[str | None]) -> None:
        self.record, self.folder, self.display = record, folder, display
        self.waiting = deque(cell for cell in record.cells if not cell.done)
        self.running: dict[int, _Running] = {}
        self.free = deque(slots)
        self.threads = max(1, torch.get_num_threads() // len(slots))
        self.stopping = False

    def start(self) -> None:
        """Start as many cells as there are free slots."""
        while self.waiting and self.free:
            self._start(self.waiting.popleft(), self.free.popleft())

    def look(self) -> None:
        """Wait up to a second for a process to end, then show how far the others are."""
        ended = connection.wait(list(self.running), timeout=LOOK_EVERY)
        for sentinel in [sentinel for sentinel in self.running if sentinel in ended]:
            self._end(self.running.pop(sentinel))
        for running in self.running.values():
            self.display.update(running.cell, self.folder.run(running.cell.title))

    def stop(self) -> None:
        """Start nothing more, and let running cells save and end."""
        if not self.stopping:
            self.stopping = True
            self.waiting.clear()
            self.display.stopping(len(self.running))
            for running in self.running.values():
                running.process.terminate()

    def kill(self) -> None:
        """Kill what still runs."""
        for running in self.running.values():
            running.process.kill()
            running.process.join()

    def _start(self, cell: Cell, device: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        job = Job(
            config=cell.config,
            run=self.folder.run(cell.title),
            log=self.folder.log(cell.title),
            evaluation=self.record.study.evaluation,
            device=device,
            threads=self.threads,
        )
        process = context.Process(target=work, args=(job, sender), name=cell.title)
        process.start()
        sender.close()
        self.running[process.sentinel] = _Running(cell, device, process, receiver)
        self.display.begin(cell)

    def _end(self, running: _Running) -> None:
        running.process.join()
        state, reason = self._outcome(running)
        running.report.close()
        self.free.append(running.device)
        self.record = self.record.with_outcome(running.cell.title, state, reason)
        write_record(self.record, self.folder)
        self.display.end(running.cell, state, reason)

    def _outcome(self, running: _Running) -> Outcome:
        if running.report.poll():
            try:
                outcome: Outcome = running.report.recv()
                return outcome
            except EOFError:  # it ended without a message
                pass
        if self.stopping or running.process.exitcode in ASKED_TO_END:
            return "unfinished", "stopped"
        log = self.folder.log(running.cell.title)
        return "failed", f"its process ended with exit code {running.process.exitcode}; see {log}"


def _slots(workers: int, devices: Sequence[str]) -> list[str | None]:
    """Return the device of each slot in which a cell can run."""
    return list(itertools.islice(itertools.cycle(devices or [None]), workers))

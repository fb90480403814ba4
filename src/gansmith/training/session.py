"""One session of a training: prepare the data, choose what is open, build the parts, run the loop, finish."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from gansmith import dist
from gansmith.augment import SAFE_OPERATIONS
from gansmith.component import override_as_user, to_plain
from gansmith.console import print_lines, stop_on_signal
from gansmith.devices import Compute, choose_compute
from gansmith.errors import ConfigError, GansmithError, RunError, describe_failure, explain
from gansmith.metrics.mirror_asymmetry import choose_operations
from gansmith.plain_json import write_json
from gansmith.runs import RunFolder
from gansmith.threads import share_cores
from gansmith.training.algorithm_choices import open_choices
from gansmith.training.checkpoint_files import Checkpoint, never_saved, newest_checkpoint
from gansmith.training.config import Config, load_config, without_removed_fields
from gansmith.training.data_facts import DataFacts, write_environment
from gansmith.training.guard.guardian import Guardian, add_unwritten_rollback, open_guardian
from gansmith.training.guard.probes import open_probes
from gansmith.training.listeners import Broadcast, Listener
from gansmith.training.logs import check_loggers, open_logs
from gansmith.training.loop import run_loop
from gansmith.training.messages import introduce, say_goodbye
from gansmith.training.parent import Parent, follow_parent, open_parent
from gansmith.training.preview import Preview, estimate_training
from gansmith.training.progress_bar import open_console, open_progress
from gansmith.training.resuming import (
    describe_finished,
    refuse_other_data,
    refuse_other_origin,
    refuse_unnamed_changes,
    reopen_parent,
)
from gansmith.training.sample_sheets import write_final_pictures
from gansmith.training.snapshots import make_sampler, real_rows
from gansmith.training.stages import Built, Chosen, Prepared, begin_state, build_training, choose_config, prepare_data
from gansmith.training.state import FREEZE, TrainState
from gansmith.zoo.places import refuse_change

__all__ = ["begin", "finish_run", "go_on", "preview_training", "run_training"]

Started: TypeAlias = Callable[[RunFolder], Iterable[str]]


def begin(config: Config, path: Path | None, started: Started | None = None) -> RunFolder:
    """Train from the start.

    Args:
        config: everything that decides what happens; the preset "auto" leaves most of it open, to be chosen now.
        path: the run folder to make; None finds a free name below runs/.
        started: is called in the main process before the first step; returns the last lines to print at the start.

    Raises:
        GansmithError: the folder, the data or the configuration cannot be used, or training diverged.
    """
    config, parent = _prepare_origin(config)
    compute = choose_compute(config.device, config.precision)
    with dist.process_group(compute.device), share_cores(), ExitStack() as stack:
        dist.local_share(config.batch_size)
        notes = dist.from_main(lambda: check_loggers(config.loggers))
        paths = [path] if path else _default_paths(config)
        folder = dist.from_main(lambda: stack.enter_context(RunFolder.begin(*paths)))
        _train(folder, config, compute, notes=notes, parent=parent, new=True, started=started)
    return folder


def preview_training(config: Config) -> Preview:
    """Return what ``begin`` would do. Nothing is written but caches: the store of images, a feature extractor.

    Raises:
        GansmithError: the data or the configuration cannot be used.
    """
    config, parent = _prepare_origin(config)
    compute = choose_compute(config.device, config.precision)
    with dist.process_group(compute.device):
        dist.local_share(config.batch_size)
        notes = dist.from_main(lambda: check_loggers(config.loggers))
        prepared = prepare_data(config)
        algorithms = open_choices(compute, None)
        chosen = choose_config(config, prepared, compute, algorithms)
        if parent := parent or _open_chosen_parent(chosen.config):
            started = begin_state(prepared, chosen.config, compute, algorithms, parent).config
            chosen = dataclasses.replace(chosen, config=started)
        return estimate_training(prepared, chosen, compute, notes, algorithms)


def go_on(path: Path, changes: Mapping[str, Any], started: Started | None = None) -> RunFolder:
    """Continue from the newest checkpoint, or from step 0 if none was saved; the result equals uninterrupted training.

    Args:
        path: the run folder.
        changes: fields to change on purpose, by dotted path.
        started: see ``begin``.

    Raises:
        GansmithError: no run, no checkpoint, or data or a configuration other than those that it was trained with.
    """
    refuse_other_origin(path, changes)
    folder = RunFolder.open(path)
    refuse_change(folder.path)
    saved, notes = (None, []) if never_saved(folder) else newest_checkpoint(folder)
    config = load_config(folder.config, edited=saved is not None)
    config = override_as_user(add_unwritten_rollback(config, folder, saved.state) if saved else config, changes)
    compute = choose_compute(config.device, config.precision)
    with dist.process_group(compute.device), share_cores(), _claimed(folder):
        dist.local_share(config.batch_size)
        if saved:
            trained_with = without_removed_fields(saved.state["config"])
            refuse_unnamed_changes(folder, config, changes, trained_with)
            if finished := describe_finished(folder, config, trained_with, saved.state["step"]):
                print_lines(open_console(), [finished])
                return folder
        notes = [*notes, *dist.from_main(lambda: check_loggers(config.loggers, folder))]
        parent = None if saved else reopen_parent(config)
        _train(folder, config, compute, saved=saved, notes=notes, parent=parent, new=False, started=started)
    return folder


def _prepare_origin(config: Config) -> tuple[Config, Parent | None]:
    """Read the trained model to start from, if there is one, and take over its architecture."""
    config = dataclasses.replace(config, origin=None)
    if config.init is None:
        if config.freeze_discriminator:
            raise ConfigError(f"{FREEZE}: {config.freeze_discriminator}, but no trained model is given; add --init RUN")
        return config, None
    parent = open_parent(config.init)
    return follow_parent(config, parent), parent


def _open_chosen_parent(config: Config) -> Parent | None:
    """Read the trained model that an automatic choice starts from, if there is one."""
    if config.init is None:
        return None
    parent = open_parent(config.init)
    follow_parent(config, parent)  # refuses an architecture that its weights do not fit
    return parent


def _train(
    folder: RunFolder,
    config: Config,
    compute: Compute,
    *,
    saved: Checkpoint | None = None,
    notes: Sequence[str],
    parent: Parent | None = None,
    new: bool,
    started: Started | None = None,
) -> None:
    """Go through the stages."""
    prepared = prepare_data(config, None if new else DataFacts.read(folder.data))
    if not new:
        refuse_other_data(folder, prepared.facts)
    algorithms = open_choices(compute, folder if saved else None)
    chosen = choose_config(config, prepared, compute, algorithms) if new else Chosen(config=config)
    if new and parent is None:
        parent = _open_chosen_parent(chosen.config)
    built = build_training(folder, prepared, chosen.config, compute, saved, notes, algorithms, parent)
    finished = run_training(folder, prepared, chosen, built, new=new, started=started)
    finish_run(folder, built.state, finished)


# --- run and finish --------------------------------------------------------------------------------------------


def run_training(
    folder: RunFolder,
    prepared: Prepared,
    chosen: Chosen,
    built: Built,
    *,
    new: bool,
    started: Started | None = None,
) -> bool:
    """Train until the end or a request to stop; return whether the end was reached.

    A new run that fails before its first step is removed; any later failure is recorded in status.json.

    Raises:
        GansmithError: training diverged, a logger cannot be opened, or the folder cannot be written.
    """
    state, made = built.state, list[Path]()
    with ExitStack() as stack:
        stack.enter_context(_failure_recorded(folder, state, made, new=new))
        if dist.is_main():
            _write_beginning(folder, prepared.facts, built)
            real_rows(prepared.store, state.spec).save(folder.images / "real.png")
            introduce(open_console(), folder, prepared, chosen, built)
            print_lines(open_console(), started(folder) if started else [])
        guardian = _open_guard(folder, prepared, state)
        stop_asked = stack.enter_context(stop_on_signal())
        listeners: list[Listener] = []  # stays empty in all processes but the main one
        opening = _open_listeners(folder, state, made)
        dist.from_main(lambda: listeners.extend(stack.enter_context(opening)))
        return run_loop(
            state,
            built.batch_at,
            folder,
            built.sampler,
            guardian=guardian,
            tracker=built.tracker,
            listener=Broadcast(listeners),
            stop_asked=stop_asked,
        )


def finish_run(folder: RunFolder, state: TrainState, finished: bool) -> None:
    """Write the last pictures and the status, and print what can be done next."""
    if dist.is_main():
        folder = RunFolder.open(folder.path)  # which may have been moved or removed meanwhile
        for note in state.notices:  # from logs that failed when they were closed
            folder.add_note(note)
            print_lines(open_console(), [f"     {note}"])
        write_final_pictures(folder, state.config.samples)
        folder.set_status("finished" if finished else "stopped", step=state.step, nimg=state.nimg)
        say_goodbye(open_console(), folder, state, finished)
    dist.barrier()


# --- their parts -----------------------------------------------------------------------------------


@contextmanager
def _claimed(folder: RunFolder) -> Iterator[None]:
    with ExitStack() as stack:
        if dist.is_main():
            stack.enter_context(folder.claim())
        yield


@contextmanager
def _open_listeners(folder: RunFolder, state: TrainState, made: list[Path]) -> Iterator[list[Listener]]:
    """Yield the progress display, the logs and the callbacks; ``made`` receives the paths that loggers add."""
    config = state.config
    opening = open_logs(config.loggers, folder, to_plain(config), state.notices.append, made)
    with open_progress(config.length, open_console()) as progress, opening as logs:
        yield [progress, *logs, *config.callbacks]


@contextmanager
def _failure_recorded(folder: RunFolder, state: TrainState, made: Sequence[Path], *, new: bool) -> Iterator[None]:
    """Record a failure in status.json; remove a new run that fails before its first step instead.

    Args:
        folder: the run.
        state: how far it is.
        made: what loggers added to the folder.
        new: whether this process began the run.
    """
    try:
        yield
    except BaseException as error:
        if dist.is_main():
            with suppress(OSError, GansmithError):  # a full disk, say; the first error is the one to report
                if new and not (state.step or folder.stats.exists() or folder.events.exists()):
                    pictures = [path for moment in state.config.samples.frames(folder) for path in moment]
                    folder.discard_beginning([*made, *pictures])
                else:
                    folder.set_status("failed", step=state.step, nimg=state.nimg, reason=describe_failure(error))
        if isinstance(error, OSError) and folder.config.exists():
            raise RunError(explain(error, folder.path)) from error
        raise


def _write_beginning(folder: RunFolder, facts: DataFacts, built: Built) -> None:
    state = built.state
    facts.write(folder.data)
    write_json(folder.config, to_plain(state.config))  # from now on the run can be resumed
    write_environment(folder, state.compute, state.algorithms)
    folder.forget_after(state.nimg, state.num_events)
    folder.set_status("running", nimg=state.nimg)
    for note in built.notes:
        folder.add_note(note)


def _open_guard(folder: RunFolder, prepared: Prepared, state: TrainState) -> Guardian | None:
    """Open the guard; None if it is off."""
    guard, store = state.config.guard, prepared.store
    if guard is None:
        return None
    sampler = make_sampler(state.generator, state.config, prepared.facts)
    probes = open_probes(guard.num, store, prepared.training, prepared.held_out, sampler)

    def operations() -> Sequence[str]:
        known = store.kind in SAFE_OPERATIONS
        return choose_operations(store.kind, store.spec.channels, prepared.mirror_asymmetry)[0] if known else ()

    return open_guardian(guard, probes, folder, state, operations)


def _default_paths(config: Config) -> list[Path]:
    return [Path("runs") / f"{config.source.title}-{config.preset}-{i:03d}" for i in range(1, 10**4)]

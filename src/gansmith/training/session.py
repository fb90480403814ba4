"""One sitting of a training: open the data, make or load the state, train, leave pictures behind."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gansmith import dist
from gansmith.augment import SAFE_OPERATIONS, AdaptiveAugment, resolve_operations
from gansmith.component import override, override_as_user, to_plain
from gansmith.console import print_lines, stop_on_signal, work_progress
from gansmith.data.batches import ENOUGH_HELD_OUT, Batches, Indices, split
from gansmith.data.resident import place_batches
from gansmith.data.store import Store, prepare
from gansmith.devices import Compute, choose_compute, free_bytes
from gansmith.errors import ConfigError, GansmithError, MetricError, RunError, command, explain, in_words
from gansmith.images.plots import plot_losses
from gansmith.images.video import can_write_mp4, thinned, write_animation
from gansmith.metrics.metric import Estimate
from gansmith.metrics.mirror_asymmetry import choose_operations, measure_mirror_asymmetry
from gansmith.plain_json import write_json
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training import auto
from gansmith.training.checkpoint import Checkpoint, never_saved, newest_checkpoint
from gansmith.training.config import Config, differences, load_config, without_removed_fields
from gansmith.training.data_facts import DataFacts, machine_changes, write_environment
from gansmith.training.guard.guardian import Guardian, open_guardian, with_unwritten_rollback
from gansmith.training.guard.probes import LEAST_HELD_OUT, open_probes
from gansmith.training.loggers import LogWriter, check_loggers, open_logs
from gansmith.training.loop import train
from gansmith.training.progress_bar import introduce, say_goodbye, watching
from gansmith.training.sample_sheets import read_frames
from gansmith.training.snapshots import make_sampler, real_rows, set_damage_aside
from gansmith.training.state import TrainState
from gansmith.training.tracker import Tracker, open_tracker

__all__ = ["begin", "go_on"]


def begin(config: Config, path: Path | None, given: Collection[str] = ()) -> RunFolder:
    """Train from the start.

    Args:
        config: everything that decides what happens, or of the preset "auto", which chooses the rest now.
        path: the run folder to make; None finds a free name below runs/.
        given: dotted paths of the fields that "auto" must leave alone, beside those that differ from its own.

    Raises:
        GansmithError: the folder, the data or the configuration cannot be used, or training diverged.
    """
    compute = choose_compute(config.device, config.precision)
    with dist.process_group(compute.device):
        dist.local_share(config.batch_size)
        notes = dist.from_main(lambda: check_loggers(config.loggers))
        with ExitStack() as stack:
            paths = [path] if path else _default_paths(config)
            folder = dist.from_main(lambda: stack.enter_context(RunFolder.begin(*paths)))
            _sit(folder, config, compute, notes=notes, given=given)
    return folder


def go_on(path: Path, changes: Mapping[str, Any]) -> RunFolder:
    """Train on from the newest checkpoint, or from step 0 if none was saved, as if training had never stopped.

    Args:
        path: the run folder.
        changes: fields to change on purpose, by dotted path.

    Raises:
        GansmithError: no run, no checkpoint, or a configuration or data that have changed behind its back.
    """
    folder = RunFolder.open(path)
    saved, notes = (None, []) if never_saved(folder) else newest_checkpoint(folder)
    config = load_config(folder.config, edited=saved is not None)
    config = override_as_user(with_unwritten_rollback(config, folder, saved.state) if saved else config, changes)
    compute = choose_compute(config.device, config.precision)
    with dist.process_group(compute.device), _claimed(folder):
        dist.local_share(config.batch_size)
        if saved:
            _refuse_unnamed_changes(folder, config, changes, without_removed_fields(saved.state["config"]))
        notes = [*notes, *dist.from_main(lambda: check_loggers(config.loggers, folder))]
        _sit(folder, config, compute, resuming=True, saved=saved, notes=notes)
    return folder


# --- the sitting -------------------------------------------------------------------------------------------


def _sit(
    folder: RunFolder,
    config: Config,
    compute: Compute,
    *,
    resuming: bool = False,
    saved: Checkpoint | None = None,
    notes: Sequence[str] = (),
    given: Collection[str] = (),
) -> None:
    console = Console(quiet=not dist.is_main())
    with dist.main_first(), work_progress("preparing images", console) as progress:
        store = prepare(config.data, config.preparation, progress=progress)
    facts = DataFacts.of(store)
    if resuming:
        _refuse_other_data(folder, facts)
    training, held_out = split(store, config.held_out, least=ENOUGH_HELD_OUT)
    told = _learning_mirror_asymmetry(store, training, console)
    # All ranks take part in the trials of what is chosen.
    chosen = (config, ()) if resuming else _chosen(config, given, store, (training, held_out), compute, told)
    config, reasons = dist.from_main(lambda: chosen)
    _refuse_blind_augmentation(config, held_out)
    spec = facts.spec(config.use_labels)
    state = TrainState.create(config, spec, compute, epoch_size=len(training))
    if saved:
        state.load(saved)
        dist.barrier()
        if dist.is_main():
            notes = (*notes, *set_damage_aside(folder, state.step))
    sampler = make_sampler(state.generator_ema, config, facts)
    tracker, trouble = _tracker(config, store, training, folder, sampler, console)
    batches = Batches(
        store=store, batch_size=config.batch_size, seed=config.seed, balance=config.balance, subset=training
    )
    batch_at = place_batches(compute.device, batches)
    made: list[Path] = []
    with ExitStack() as stack:
        stack.enter_context(_failure_recorded(folder, state, made, new=not resuming))
        if dist.is_main():
            changed = list(machine_changes(folder, compute)) if saved else []
            _write_facts(folder, state, facts, notes)
            real_rows(store, spec).save(folder.images / "real.png")
            notes = (*notes, *store.notes, *compute.notes, *trouble, *changed)
            introduce(console, folder, state, store, tracker, reasons, notes)
        guardian = _guardian(state, store, training, held_out, folder, facts, told)
        watcher = stack.enter_context(watching(config.length, console))
        stop_asked = stack.enter_context(stop_on_signal())
        logs: list[LogWriter] = []
        opening = open_logs(config.loggers, folder, to_plain(config), state.notices.append, made)
        dist.from_main(lambda: logs.extend(stack.enter_context(opening)))
        finished = train(
            state,
            batch_at,
            folder,
            sampler,
            guardian=guardian,
            tracker=tracker,
            watchers=[watcher],
            logs=logs,
            stop_asked=stop_asked,
        )
    if dist.is_main():
        folder = RunFolder.open(folder.path)  # which may have been moved or removed meanwhile
        folder.set_status("finished" if finished else "stopped", step=state.step, nimg=state.nimg)
        for note in state.notices:  # of logs that failed at the end
            folder.add_note(note)
            print_lines(console, [f"     {note}"])
        _leave_pictures(folder, config)
        say_goodbye(console, folder, state, finished)
    dist.barrier()


def _chosen(
    config: Config,
    given: Collection[str],
    store: Store,
    parts: tuple[Indices, Indices],
    compute: Compute,
    told: Callable[[], Estimate | None],
) -> tuple[Config, Sequence[str]]:
    """The configuration with nothing left open, and why the automatic choices are as they are."""
    reasons: Sequence[str] = ()
    training, held_out = parts
    told_everywhere = functools.partial(dist.from_main, told)
    if config.preset == "auto":
        spec = DataFacts.of(store).spec(config.use_labels)
        labels = store.labels[training] if spec.num_classes and store.labels is not None else np.zeros(0, np.int64)
        situation = auto.Situation(
            spec=spec,
            kind=store.kind,
            class_counts=np.bincount(labels, minlength=spec.num_classes).tolist(),
            num_images=len(training),
            num_held_out=len(held_out),
            length=config.length,
            device=compute.device.type,
            free_bytes=free_bytes(compute.device),
            mirror_asymmetry=told_everywhere,
        )
        config, reasons = auto.settle(config, given, situation, auto.Trials(spec, compute))
    if config.augment is not None:
        shape = store.kind, store.spec.channels
        operations, remark = resolve_operations(config.augment.operations, *shape, "config.augment"), ""
        if not config.augment.operations:
            operations, remark = choose_operations(*shape, told_everywhere, "config.augment")
        reasons = (*reasons, f"augment  {remark}") if remark else reasons
        config = override(config, {"augment.operations": list(operations)})
    return config, reasons


def _learning_mirror_asymmetry(store: Store, training: Indices, console: Console) -> Callable[[], Estimate | None]:
    def learnt() -> Estimate | None:
        with work_progress("looking for left and right", console) as progress:
            return measure_mirror_asymmetry(store, training, progress)

    return functools.cache(learnt)


def _refuse_blind_augmentation(config: Config, held_out: Indices) -> None:
    augment = config.augment
    if not isinstance(augment, AdaptiveAugment) or augment.by != "held-out":
        return
    if config.guard is None or len(held_out) < LEAST_HELD_OUT:
        why = "there is no guard" if config.guard is None else f"{len(held_out)} images are held out"
        raise ConfigError(
            f"config.augment.by: held-out needs a guard and {LEAST_HELD_OUT} unseen images, and {why}; "
            'choose "sign", or change config.guard or config.held_out'
        )


def _tracker(
    config: Config, store: Store, training: Indices, folder: RunFolder, sampler: TrainedGenerator, console: Console
) -> tuple[Tracker | None, list[str]]:
    """What measures on the way, or the reason why nothing does."""
    if config.tracking is None:
        return None, []
    try:
        with work_progress("learning to judge", console) as progress:
            return open_tracker(config.tracking, store, training, folder, sampler, progress), []
    except MetricError as error:
        return None, [f"no figure is tracked, and no best generator kept: {error}"]


def _guardian(
    state: TrainState,
    store: Store,
    training: Indices,
    held_out: Indices,
    folder: RunFolder,
    facts: DataFacts,
    told: Callable[[], Estimate | None],
) -> Guardian | None:
    """What watches over the training, if anything shall."""
    if state.config.guard is None:
        return None
    sampler = make_sampler(state.generator, state.config, facts)
    probes = open_probes(state.config.guard.num, store, training, held_out, sampler)

    def operations() -> Sequence[str]:
        return choose_operations(store.kind, store.spec.channels, told)[0] if store.kind in SAFE_OPERATIONS else ()

    return open_guardian(state.config.guard, probes, folder, state, operations)


@contextmanager
def _claimed(folder: RunFolder) -> Iterator[None]:
    with ExitStack() as stack:
        if dist.is_main():
            stack.enter_context(folder.claimed())
        yield


@contextmanager
def _failure_recorded(folder: RunFolder, state: TrainState, made: Sequence[Path], *, new: bool) -> Iterator[None]:
    """Say in status.json that training failed; a new run that has not made a step is removed instead.

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
                    folder.set_status("failed", step=state.step, nimg=state.nimg, reason=in_words(error))
        if isinstance(error, OSError) and folder.config.exists():
            raise RunError(explain(error, folder.path)) from error
        raise


def _write_facts(folder: RunFolder, state: TrainState, facts: DataFacts, notes: Sequence[str]) -> None:
    facts.write(folder.data)
    write_json(folder.config, to_plain(state.config))  # from now on the run can be resumed
    write_environment(folder, state.compute)
    folder.forget_after(state.nimg, state.num_events)
    folder.set_status("running", nimg=state.nimg)
    for note in notes:
        folder.add_note(note)


def _leave_pictures(folder: RunFolder, config: Config) -> None:
    records = folder.read_stats()
    if records:
        plot_losses(records, folder.curves)
    frames = thinned(config.samples.frames(folder))
    if frames:
        for suffix in ("gif", "mp4") if can_write_mp4() else ("gif",):
            write_animation(read_frames(frames), folder.animation(suffix))


# --- what both begin and go_on need ------------------------------------------------------------------------


def _refuse_other_data(folder: RunFolder, facts: DataFacts) -> None:
    if DataFacts.read(folder.data).digest != facts.digest:
        raise RunError(
            f"{folder.path}: the images are not those that this run was trained on (their digest differs); "
            "bring the old ones back, or start a new run"
        )


def _refuse_unnamed_changes(
    folder: RunFolder, config: Config, changes: Mapping[str, Any], trained_with: Mapping[str, Any]
) -> None:
    changed = differences(trained_with, config)
    named = [path for path in changed if any(path == name or path.startswith(f"{name}.") for name in changes)]
    for path, (old, new) in changed.items():
        if path not in named:
            raise RunError(
                f"{folder.config}: {path} is {new}, but the run was trained with {old}; "
                f"put it back, or change it on purpose: {command('resume', folder.path, f'--{path}', _as_typed(new))}"
            )


def _as_typed(value: Any) -> str:
    """A value of a configuration as it is written on the command line."""
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _default_paths(config: Config) -> list[Path]:
    return [Path("runs") / f"{config.data.title}-{config.preset}-{i:03d}" for i in range(1, 10**4)]

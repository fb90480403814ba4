"""The stages before training, each with the value that it returns: prepare the data, choose, build the parts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gansmith import dist
from gansmith.augment import AdaptiveAugment, resolve_operations
from gansmith.component import fields_set, member_name, override
from gansmith.console import work_progress
from gansmith.data.batches import ENOUGH_HELD_OUT, Batches, Indices, split
from gansmith.data.resident import BatchAt, place_batches
from gansmith.data.store import Store, prepare
from gansmith.devices import Compute, free_bytes
from gansmith.errors import ConfigError, MetricError
from gansmith.metrics.metric import Estimate
from gansmith.metrics.mirror_asymmetry import choose_operations, measure_mirror_asymmetry
from gansmith.models.algorithms import AlgorithmTable
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training import auto
from gansmith.training.checkpoint import load_state, set_damage_aside
from gansmith.training.checkpoint_files import Checkpoint
from gansmith.training.config import Config
from gansmith.training.data_facts import DataFacts, machine_changes, match_trained_data
from gansmith.training.guard.probes import LEAST_HELD_OUT
from gansmith.training.inheriting import start_from
from gansmith.training.parent import Parent
from gansmith.training.progress_bar import learning_progress, open_console
from gansmith.training.snapshots import make_sampler
from gansmith.training.state import TrainState
from gansmith.training.tracker import Tracker, choose_extractor, open_tracker
from gansmith.training.trials import Trials
from gansmith.zoo.manifest import PREFIX
from gansmith.zoo.places import is_here

__all__ = ["Built", "Chosen", "Prepared", "begin_state", "build_training", "choose_config", "prepare_data"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """The data of a training.

    Args:
        store: all images.
        facts: what a run remembers of them.
        training: the images to train on.
        held_out: the other images.
        mirror_asymmetry: measures how well images can be told from their mirror images, at most once; None if there
            are too few images. See ``metrics.mirror_asymmetry``.
    """

    store: Store
    facts: DataFacts
    training: Indices
    held_out: Indices
    mirror_asymmetry: Callable[[], Estimate | None]


def prepare_data(config: Config, trained_on: DataFacts | None = None) -> Prepared:
    """Read the images, or open the store of an earlier reading, and split them; the main process reads for all.

    Args:
        config: what to train with.
        trained_on: what a run that is continued remembers of its data; see ``match_trained_data``.

    Raises:
        DataError: nothing to read, or too many images cannot be read.
        ConfigError: augmentation or a penalty by held-out images, of which there are too few.
    """
    console = open_console()
    with dist.main_first(), work_progress("preparing images", console) as progress:
        store = prepare(config.source, config.preparation, progress=progress)
        if trained_on is not None:
            store = match_trained_data(store, trained_on)
    training, held_out = split(store, config.held_out, least=ENOUGH_HELD_OUT)
    _refuse_blind_augmentation(config, len(held_out))

    @functools.cache
    def measure_once() -> Estimate | None:
        with work_progress("measuring mirror asymmetry", console) as progress:
            return measure_mirror_asymmetry(store, training, progress)

    return Prepared(
        store=store,
        facts=DataFacts.of(store),
        training=training,
        held_out=held_out,
        mirror_asymmetry=measure_once,
    )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A configuration with nothing left open.

    Args:
        config: the configuration.
        reasons: a line for each automatic choice.
    """

    config: Config
    reasons: tuple[str, ...] = ()


def choose_config(
    config: Config, prepared: Prepared, compute: Compute, algorithms: AlgorithmTable | None = None
) -> Chosen:
    """Return the configuration with nothing left open, and why each automatic choice was made.

    All ranks take part in the trials; the main process decides.

    Args:
        config: what the user has set.
        prepared: the data.
        compute: the device.
        algorithms: how convolutions are computed; None for a fixed rule.

    Raises:
        ConfigError: augmentation without operations, for data of which no safe ones are known; or a metric that looks
            through the same network as the discriminator.
    """
    config, reasons = _reset_ignored(config), tuple[str, ...]()
    measure = functools.partial(dist.from_main, prepared.mirror_asymmetry)
    if config.preset == "auto":
        situation = _describe_situation(config, prepared, compute)
        config, reasons = auto.choose(config, situation, Trials(situation.spec, compute, algorithms))
    if config.augment is not None:
        shape = prepared.store.kind, prepared.store.spec.channels
        operations, remark = resolve_operations(config.augment.operations, *shape, "config.augment"), ""
        if not config.augment.operations:
            operations, remark = choose_operations(*shape, measure, "config.augment")
        reasons = (*reasons, f"augment  {remark}") if remark else reasons
        config = override(config, {"augment.operations": list(operations)})
    if config.tracking is not None:
        _, why = choose_extractor(config, prepared.store)
        shown = config.preset == "auto" or config.backbones
        reasons = (*reasons, f"tracking {why}") if shown else reasons
    chosen = Chosen(config=config, reasons=reasons)
    return dist.from_main(lambda: chosen)


def _reset_ignored(config: Config) -> Config:
    """Return the configuration with defaults for what the recipe does not read, unless the user has set it."""
    set_by_user = {path.partition(".")[0] for path in fields_set(config)}
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(config)}
    return dataclasses.replace(config, **{name: defaults[name] for name in config.recipe.ignores - set_by_user})


def _describe_situation(config: Config, prepared: Prepared, compute: Compute) -> auto.Situation:
    """Collect what the automatic choices depend on."""
    store, training = prepared.store, prepared.training
    spec = prepared.facts.spec(config.use_labels)
    labels = store.labels[training] if spec.num_classes and store.labels is not None else np.zeros(0, np.int64)
    return auto.Situation(
        spec=spec,
        kind=store.kind,
        class_counts=np.bincount(labels, minlength=spec.num_classes).tolist(),
        num_images=len(training),
        num_held_out=len(prepared.held_out),
        length=config.length,
        device=compute.device.type,
        free_bytes=free_bytes(compute.device),
        has_start=dist.from_main(lambda: is_here(auto.START.removeprefix(PREFIX))),
        mirror_asymmetry=functools.partial(dist.from_main, prepared.mirror_asymmetry),
    )


def _refuse_blind_augmentation(config: Config, num: int) -> None:
    """Refuse augmentation and penalties that follow held-out images where the guard cannot measure them."""
    if config.guard is not None and num >= LEAST_HELD_OUT:
        return
    why = "there is no guard" if config.guard is None else f"{num} images are held out"
    needs = f"needs a guard and {LEAST_HELD_OUT} held-out images, and {why}"
    augment = config.augment
    if isinstance(augment, AdaptiveAugment) and augment.by == "held-out":
        raise ConfigError(
            f'config.augment.by: held-out {needs}; choose "sign", or change config.guard or config.held_out'
        )
    for penalty in config.penalties:
        if penalty.reads_overfitting:
            name = member_name(penalty)
            raise ConfigError(
                f"config.penalties: {name} {needs}; leave it out, or change config.guard or config.held_out"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """The parts of a training.

    Args:
        state: the networks and all else that changes.
        sampler: draws samples with the averaged weights, if the run averages them.
        tracker: measures the tracked metric; None if there is none.
        batch_at: the real images for (nimg, rank, world size).
        notes: sentences to print and to record in environment.json.
        remarks: sentences to print only.
    """

    state: TrainState
    sampler: TrainedGenerator
    tracker: Tracker | None
    batch_at: BatchAt
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def begin_state(
    prepared: Prepared,
    config: Config,
    compute: Compute,
    algorithms: AlgorithmTable | None = None,
    parent: Parent | None = None,
) -> TrainState:
    """Return the state at step 0: networks from noise, or from a trained model.

    Args:
        prepared: the data.
        config: with nothing left open.
        compute: the device.
        algorithms: how convolutions are computed; None for a fixed rule.
        parent: the trained model to start from.

    Raises:
        GansmithError: the networks do not fit into the memory, or blocks that are to be frozen were made anew.
    """
    spec, training = prepared.facts.spec(config.use_labels), prepared.training
    state = TrainState.create(config, spec, compute, epoch_size=len(training), algorithms=algorithms)
    if parent:
        start_from(state, parent, prepared.store, training)
    return state


def build_training(
    folder: RunFolder,
    prepared: Prepared,
    config: Config,
    compute: Compute,
    saved: Checkpoint | None = None,
    notes: Sequence[str] = (),
    algorithms: AlgorithmTable | None = None,
    parent: Parent | None = None,
) -> Built:
    """Make the networks and what feeds and measures them; load a checkpoint or a trained model into them.

    Args:
        folder: the run.
        prepared: the data.
        config: with nothing left open.
        compute: the device.
        saved: the checkpoint.
        notes: sentences to print and to record.
        algorithms: how convolutions are computed; None for a fixed rule.
        parent: the trained model to start from.

    Raises:
        GansmithError: the networks do not fit into the memory, or are not those of the checkpoint.
    """
    store, training = prepared.store, prepared.training
    state = begin_state(prepared, config, compute, algorithms, None if saved else parent)
    if saved:
        load_state(state, saved)
        dist.barrier()
        notes = [*notes, *(set_damage_aside(folder, state.step) if dist.is_main() else ())]
    changes = tuple(machine_changes(folder, compute)) if saved else ()
    sampler = make_sampler(state.generator_ema, config, prepared.facts)
    tracker, trouble = _open_tracker(folder, prepared, config, sampler)
    batches = Batches(
        store=store, batch_size=config.batch_size, seed=config.seed, balance=config.balance, subset=training
    )
    return Built(
        state=state,
        sampler=sampler,
        tracker=tracker,
        batch_at=place_batches(compute.device, batches),
        notes=tuple(notes),
        remarks=(*store.notes, *compute.notes, *trouble, *changes),
    )


def _open_tracker(
    folder: RunFolder, prepared: Prepared, config: Config, sampler: TrainedGenerator
) -> tuple[Tracker | None, list[str]]:
    """Open the tracker; None if it is off, or with the reason if these data cannot be measured."""
    if config.tracking is None:
        return None, []
    try:
        with learning_progress(open_console()) as progress:
            extractor, _ = choose_extractor(config, prepared.store)
            tracking = dataclasses.replace(config.tracking, extractor=extractor)
            return open_tracker(tracking, prepared.store, prepared.training, folder, sampler, progress), []
    except MetricError as error:
        return None, [f"quality tracking off, the last generator is kept: {error}"]

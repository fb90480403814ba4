"""Run a utility test: gather the images, train the classifiers that are not done yet, compare the arms."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console

from gansmith import __version__
from gansmith.component import to_plain
from gansmith.console import make_console, print_plain, stop_on_signal
from gansmith.data.integrity import hash_tensors
from gansmith.devices import choose_compute, describe_environment
from gansmith.errors import ConfigError, RunError, command
from gansmith.files import replace_file
from gansmith.numerals import count, duration, kimg, plural
from gansmith.plain_json import write_json
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.threads import share_cores
from gansmith.training.config import load_config
from gansmith.training.data_facts import DataFacts
from gansmith.training.snapshots import Snapshot, find_snapshot, load_generator
from gansmith.utility.arms import ARMS, BATCH_SIZE, NO_REAL, Amount, ArmOrder, LabelledImages, Material, arrange_arm
from gansmith.utility.cells import CellFolder, UtilityCell, list_utility_cells, name_amount
from gansmith.utility.classifier import NETWORK, build_classifier, predict, train_classifier
from gansmith.utility.options import UtilityOptions, refuse_no_arms
from gansmith.utility.real import RealImages, open_real
from gansmith.utility.results import UtilityResults
from gansmith.utility.statistics import TestOutcome, compare_arms, gain_by_class, summarise_arms
from gansmith.utility.synthetic import DRAWN_SEED, FIRST_SEED, draw_signs, find_generator_classes, generate_labelled
from gansmith.utility.table import show_utility, to_html, to_markdown
from gansmith.utility.verdict import conclude_utility
from gansmith.zoo.places import describe_run, entry_name

__all__ = ["measure_utility"]

RESULTS = "utility"  # the stem of the result files
CELLS = "cells"


@dataclass(kw_only=True, eq=False)
class _Test:
    """Everything that a test needs.

    Args:
        folder: the run.
        options: what to train and test.
        real: the real images.
        material: all images of arms.
        arms: that can be.
        amounts: that can be.
        left_out: what cannot be, a sentence each.
        snapshot: the generator's weights.
        weights: their digest.
    """

    folder: RunFolder
    options: UtilityOptions
    real: RealImages
    material: Material
    arms: list[str]
    amounts: list[Amount]
    left_out: list[str] = field(default_factory=list)
    snapshot: Snapshot
    weights: str

    @property
    def cells(self) -> list[UtilityCell]:
        """All cells; filling up rare classes is left out where no class is rare."""
        cells = list_utility_cells(self.arms, self.amounts, self.options.seeds)
        return [cell for cell in cells if not ARMS[cell.arm].filled or len(self.order(cell, 1).synthetic)]

    def order(self, cell: UtilityCell, steps: int | None = None) -> ArmOrder:
        return arrange_arm(cell.arm, cell.amount, cell.seed, steps or self.options.steps, self.material)


def measure_utility(
    folder: RunFolder, options: UtilityOptions, out: Path | None = None, console: Console | None = None
) -> UtilityResults | None:
    """Train one classifier on real, generated and drawn images, test it on real ones, and compare.

    Each trained classifier is kept in ``out``. After an interruption, the same call continues.

    Args:
        folder: the run.
        options: what to train and test.
        out: the folder to write; default: ``utility`` in the run's folder.
        console: for progress and tables.

    Returns:
        The results; None if it was stopped before all classifiers were trained.

    Raises:
        ConfigError: there are no labels, or the run was trained on the test images.
        RunError: the run cannot be used, or another process writes to ``out``.
    """
    refuse_no_arms(options)
    console = console or make_console()
    out = _choose_out(folder, out)
    with share_cores(), _claim(out):
        test = _prepare(folder, options, console)
        cells = CellFolder.of(out / CELLS, _shared(test))
        with stop_on_signal() as asked:
            done = _train_all(test, cells, console, asked)
        if not done:
            return None
        results = _conclude(test, cells)
        _write(results, out, console)
    show_utility(results, console)
    return results


def _choose_out(folder: RunFolder, out: Path | None) -> Path:
    if out is not None:
        return out
    if entry_name(folder.path) is not None:
        raise ConfigError(f"{describe_run(folder.path)}: files of the zoo cannot be changed; name a folder with --out")
    return folder.utility


def _claim(out: Path) -> FileLock:
    """Lock the folder of results."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; name a folder")
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise RunError(f"{out}: another process writes to it; wait for it, or use --out FOLDER") from error
    return lock


# --- images ------------------------------------------------------------------------------------------------


def _prepare(folder: RunFolder, options: UtilityOptions, console: Console) -> _Test:
    snapshot = find_snapshot(folder, options.snapshot, ema=options.ema)
    generator = load_generator(folder, snapshot)
    real = open_real(folder, options, console)
    labelled = real.labelled
    labels = np.unique(labelled.labels).tolist()
    left_out: list[str] = []
    synthetic: dict[str, LabelledImages] = {}
    for name in dict.fromkeys(ARMS[arm].synthetic for arm in options.arms if ARMS[arm].synthetic):
        try:
            synthetic[name] = _make_synthetic(name, generator, real, labels, options, console)
        except _Missing as error:
            titles = [ARMS[arm].title for arm in options.arms if ARMS[arm].synthetic == name]
            left_out.append(f"Left out: {', '.join(titles)}, because {error}.")
    return _Test(
        folder=folder,
        options=options,
        real=real,
        material=Material(real=labelled, synthetic=synthetic, num_classes=len(real.store.class_names)),
        arms=[arm for arm in options.arms if not ARMS[arm].synthetic or ARMS[arm].synthetic in synthetic],
        amounts=_choose_amounts(labelled, options, left_out),
        left_out=left_out,
        snapshot=snapshot,
        weights=hash_tensors(generator.network.state_dict()),
    )


class _Missing(Exception):
    """These synthetic images cannot be; the message says why."""


def _make_synthetic(
    name: str,
    generator: TrainedGenerator,
    real: RealImages,
    labels: list[int],
    options: UtilityOptions,
    console: Console,
) -> LabelledImages:
    if name == "gan":
        try:
            numbers = find_generator_classes(generator, real.store, labels)
        except ConfigError as error:
            raise _Missing(str(error)) from error
        return generate_labelled(generator, labels, numbers, options.synthetic, console)
    drawn = draw_signs(real.store, labels, options.synthetic, options.difficulty, console)
    if drawn is None:
        raise _Missing(f"gansmith has no drawer for the classes of {real.store.title}")
    return drawn


def _choose_amounts(real: LabelledImages, options: UtilityOptions, left_out: list[str]) -> list[Amount]:
    """Return the amounts that are less than all images; add a sentence about the others."""
    largest = int(np.bincount(real.labels).max())
    kept: list[Amount] = []
    for amount in options.amounts:
        if amount is None or amount < largest:
            kept.append(amount)
        else:
            left_out.append(f"Left out: {amount} real images a class, because no class has more than {largest}.")
    return kept or [None]


# --- classifiers -------------------------------------------------------------------------------------------


def _shared(test: _Test) -> dict[str, Any]:
    """Return what decides the content of all cells, as plain values."""
    options, real = test.options, test.real
    used = {"steps": options.steps, "synthetic": options.synthetic, "network": NETWORK, "batch": BATCH_SIZE}
    return {
        **used,
        "generator": [test.weights, FIRST_SEED],
        "drawn": [to_plain(options.difficulty), DRAWN_SEED, __version__],
        "real": [real.store.digest, _digest(real.training)],
        "test": [_digest(real.test.labels), hashlib.sha256(real.test.images.tobytes()).hexdigest()],
    }


def _digest(numbers: np.ndarray[Any, np.dtype[np.int64]]) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()


def _train_all(test: _Test, cells: CellFolder, console: Console, asked: Callable[[], bool]) -> bool:
    """Train the classifiers that are not done yet; return whether all are done."""
    wanted = test.cells
    num_test, num_classes = len(test.real.test), len(test.real.store.class_names)
    missing = [cell for cell in wanted if cells.read(cell, num_test, num_classes) is None]
    print_plain(console, f"{len(wanted)} classifiers of {test.options.steps} steps; {len(missing)} to train")
    began = time.monotonic()
    for done, cell in enumerate(missing, start=1):
        if not _train(test, cells, cell, asked):
            kept = len(wanted) - len(missing) + done - 1
            again = f"continue: repeat the same command; {kept} of {len(wanted)} classifiers are kept in {cells.path}"
            print_plain(console, f"stopped; {again}")
            return False
        accuracy = float(np.mean(cells.read(cell, num_test, num_classes) == test.real.test.labels))
        left = duration((time.monotonic() - began) / done * (len(missing) - done))
        words = f"{ARMS[cell.arm].title}, {_words(cell.amount)}, seed {cell.seed}: {100 * accuracy:.1f} %"
        print_plain(console, f"{len(wanted) - len(missing) + done} of {len(wanted)}  {words}  ({left} left)")
    return True


def _train(test: _Test, cells: CellFolder, cell: UtilityCell, asked: Callable[[], bool]) -> bool:
    order = test.order(cell)
    spec = test.real.store.spec
    network = build_classifier(spec, cell.seed)
    finished = train_classifier(
        network,
        order,
        test.material,
        cell.seed,
        augmented=ARMS[cell.arm].augmented,
        mirrored=test.real.store.kind == "photos",
        asked=asked,
    )
    if finished:
        facts = {"arm": cell.arm, "amount": name_amount(cell.amount), "seed": cell.seed}
        counts = {"num_real": len(order.real), "num_synthetic": len(order.synthetic)}
        cells.write(cell, predict(network, test.real.test.images), {**facts, **counts})
    return finished


def _words(amount: Amount) -> str:
    return "all" if amount is None else "no real images" if amount == NO_REAL else f"{amount} a class"


# --- results -----------------------------------------------------------------------------------------------


def _conclude(test: _Test, cells: CellFolder) -> UtilityResults:
    real, options = test.real, test.options
    num_classes = len(real.store.class_names)
    predicted = {cell: cells.read(cell, len(real.test), num_classes) for cell in test.cells}
    outcome = TestOutcome(
        labels=real.test.labels,
        groups=real.groups,
        counts=np.bincount(test.material.real.labels, minlength=num_classes),
        predicted={cell: found for cell, found in predicted.items() if found is not None},
    )
    orders = {(cell.arm, name_amount(cell.amount)): test.order(cell, 1) for cell in test.cells if cell.seed == 0}
    comparisons = compare_arms(outcome, test.arms, [name_amount(amount) for amount in test.amounts])
    gainers = tuple(arm for arm in ("real", "augmented", "gan", "drawn", "rare") if (arm, "all") in orders)
    if gainers[:1] != ("real",):
        gainers = ()
    return UtilityResults(
        sentence=conclude_utility(comparisons, real.doubt, options.seeds),
        run=describe_run(test.folder.path),
        run_facts=_describe_training(test),
        tested_on=_describe_test(real),
        notes=(*real.notes, *_notes(test)),
        left_out=(*test.left_out, *_without_rare(test)),
        training=f"{options.steps:,} steps of {BATCH_SIZE} images, the same network; a seed has one initialisation",
        seeds=options.seeds,
        summaries=summarise_arms(outcome, orders),
        comparisons=comparisons,
        gainers=gainers,
        gains=gain_by_class(outcome, gainers, real.store.class_names) if gainers else (),
        machine=_describe_machine(),
        command=command(*sys.argv[1:]) if sys.argv[1:2] == ["utility"] else "",
        gansmith=__version__,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _describe_training(test: _Test) -> str:
    config = load_config(test.folder.config)
    shown = kimg(test.snapshot.nimg)
    which = "the best generator of its training" if test.snapshot.which == "best" else "its last generator"
    return f"preset {config.preset}, {which} after {shown}, seed {config.seed}"


def _describe_test(real: RealImages) -> str:
    num, groups = len(real.test), len(np.unique(real.groups))
    tracks = "" if groups == num else f", {count(groups)} groups that are not split (tracks)"
    return f"{count(num)} real images of {real.tested_on}{tracks}"


def _notes(test: _Test) -> list[str]:
    own = test.real.store.digest == DataFacts.read(test.folder.data).digest
    notes = [
        "The seeds vary the classifier and the choice of real images, not the generator: intervals do not cover "
        "another training of it."
    ]
    if own and any(test.amounts):
        few = ", ".join(str(amount) for amount in test.amounts if amount)
        notes.append(
            f"The generator was trained on all {count(len(test.real.training))} real training images, which flatters "
            f"it at {few} real images a class."
        )
    return notes


def _without_rare(test: _Test) -> list[str]:
    if "rare" not in test.arms:
        return []
    there = {cell.amount for cell in test.cells if cell.arm == "rare"}
    lacking = [_words(amount) for amount in test.amounts if amount not in there]
    reason = "because all classes have equally many images"
    return [f"Left out: {ARMS['rare'].title} at {', '.join(lacking)}, {reason}."] if lacking else []


def _describe_machine() -> str:
    facts = describe_environment(choose_compute("auto", "auto"))
    name = facts["processor"] if facts["device"] == "cpu" else facts["device_name"]
    return f"{name}, {plural(facts['threads'], 'thread')}"


def _write(results: UtilityResults, out: Path, console: Console) -> None:
    """Write utility.json, .md and .html."""
    write_json(out / f"{RESULTS}.json", to_plain(results))
    for suffix, text in (("md", to_markdown(results)), ("html", to_html(results))):
        with replace_file(out / f"{RESULTS}.{suffix}") as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    print_plain(console, f"written to {out / RESULTS}.json, .md, .html")

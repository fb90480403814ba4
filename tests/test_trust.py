"""Nothing that stands in a file of a run or a study is imported, wherever it stands and whatever is asked of it."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansmith import api
from gansmith.errors import ConfigError, GansmithError
from gansmith.plain_json import seal
from gansmith.report.run_page import gather_run_page
from gansmith.runs import RunFolder
from gansmith.study.folder import StudyFolder
from gansmith.study.record import read_record
from gansmith.study.results import read_results
from gansmith.training import session
from gansmith.zoo import places as places_of_zoo

STRANGER = "stranger_in_a_file"
MANIFEST = functools.cache(places_of_zoo.read_manifest)  # the same for each of thousands of reads
PATH = f"{STRANGER}:Thing"
CHECKPOINT = "training_checkpoints/000002/state.json"
FILES = (
    "config.json", "data.json", "environment.json", "status.json", "stats.jsonl", "metrics.jsonl", "events.jsonl",
    CHECKPOINT, "best/state.json",
)  # fmt: skip
SMALL = {
    "batch_size": 4, "model.width": 2, "samples.rows": 2, "tracking.num": 4, "tracking.metric": "kid",
    "tracking.extractor": {"name": "random-conv", "width": 2, "num_features": 4}, "penalties": "r1",
    "callbacks": "loss-line", "augment": "fixed", "guard.num": 2, "log_every": "1 steps",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with a little of everything, and a rollback that was written after it."""
    folder = tmp_path_factory.mktemp("trust")
    np.savez(folder / "noise.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8))
    run = api.train(folder / "noise.npz", preset="dcgan-r1", length="2 steps", run=folder / "run", overrides=SMALL)
    state = run.folder.latest_checkpoint() / "state.json"
    plain = json.loads(state.read_text())
    loss = json.loads(run.folder.config.read_text())["loss"]
    rollback = {
        "kind": "discriminator-won", "severity": "failure", "figure": 0.0, "excess": 1.0, "since": 0,
        "what": "rollback", "sentence": "back", "nimg": plain["nimg"], "back_to": plain["nimg"], "remedy": "rates",
        "changes": {"loss": [loss, loss]},
    }  # fmt: skip
    run.folder.events.write_text(json.dumps(rollback) + "\n")
    state.write_text(_resealed({**plain, "num_events": 1}))
    return run.path


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that can be imported, and must not be; training and charts themselves are left out."""
    (tmp_path / f"{STRANGER}.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("GANSMITH_TRUST", raising=False)
    monkeypatch.setattr(session, "_train", lambda *arguments, **named: None)
    monkeypatch.setattr(places_of_zoo, "read_manifest", MANIFEST)
    yield
    assert STRANGER not in sys.modules


def _resealed(plain: dict[str, Any]) -> str:
    """A state.json as an attacker would write it: its digest is right."""
    return seal({key: value for key, value in plain.items() if key != "seal"})


def _first_line(text: str) -> dict[str, Any]:
    """The first line of a file without its checksum, which an attacker would leave out."""
    return {key: value for key, value in json.loads(text.splitlines()[0]).items() if key != "crc"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node of plain data."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


def planted(value: Any, path: tuple[Any, ...], what: Any) -> Any:
    """A copy in which one node is something else."""
    if not path:
        return what
    changed = value.copy()
    changed[path[0]] = planted(value[path[0]], path[1:], what)
    return changed


def variants(plain: Any, *, in_turn: str = "") -> Iterator[Any]:
    """The data with "module:Class" at every node, as text, as a component's name, and as the path of one.

    Below the field ``in_turn``, each node is given one of these.
    """
    ways = (PATH, {"name": PATH}, [PATH], {"name": "function", "path": PATH})
    for i, path in enumerate(places(plain)):
        for what in (ways[i % len(ways)],) if in_turn and path[0] == in_turn and len(path) > 1 else ways:
            yield planted(plain, path, what)


def list_verbs(run: Path) -> list[Callable[[], Any]]:
    """What resume, sample, interpolate, evaluate and report read of a run."""
    folder = RunFolder(run)
    return [
        lambda: session.go_on(run, {}),
        lambda: api.open_run(run).generator(),
        lambda: api.open_run(run).generator(snapshot="last"),
        lambda: api.open_run(run).measurements(),
        lambda: api.open_run(run).status(),
        folder.read_stats,
        folder.read_events,
    ]


OPENED: set[str] = set()  # each path that was opened since it was emptied


def note_opened(event: str, given: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(given[0], str | bytes | os.PathLike):
        OPENED.add(os.fsdecode(given[0]))


sys.addaudithook(note_opened)


def list_readers(run: Path, file: Path) -> list[Callable[[], Any]]:
    """The verbs that open a file, by its path or a part of it; to the others it is nothing what stands in it."""
    found = []
    for verb in list_verbs(run):
        OPENED.clear()
        with suppress(GansmithError):
            verb()
        if any(each and str(file).endswith(each) for each in OPENED):
            found.append(verb)
    return found


@pytest.mark.parametrize(
    ("name", "in_turn"),
    [  # the configuration in a checkpoint is read as config.json is, of which everything is tried
        *((name, "config" if name == CHECKPOINT else "") for name in FILES),
        pytest.param(CHECKPOINT, "", marks=pytest.mark.slow),
    ],
)
def test_nothing_in_a_file_of_a_run_is_imported(name: str, in_turn: str, run: Path) -> None:
    file = run / name
    before = file.read_text()
    lines = name.endswith(".jsonl")
    plain = _first_line(before) if lines else json.loads(before)
    readers, tried = list_readers(run, file), 0
    assert readers or name == "environment.json"  # which none of these verbs opens
    try:
        for plant in variants(plain, in_turn=in_turn):
            file.write_text(_resealed(plant) if "seal" in plain else json.dumps(plant) + "\n")
            for read in readers:
                with suppress(GansmithError):
                    read()
            assert STRANGER not in sys.modules, plant
            tried += 1
    finally:
        file.write_text(before)
    assert tried >= 8


@pytest.mark.parametrize("name", ("config.json", "data.json", "stats.jsonl", "metrics.jsonl", "events.jsonl"))
def test_the_page_of_a_run_imports_nothing(name: str, run: Path) -> None:
    file = run / name
    before = file.read_text()
    plain = _first_line(before) if name.endswith(".jsonl") else json.loads(before)
    try:
        for plant in [*variants(plain)][:2]:  # a page takes a second
            file.write_text(_resealed(plant) if "seal" in plain else json.dumps(plant) + "\n")
            with suppress(GansmithError):
                gather_run_page(RunFolder(run))
            assert STRANGER not in sys.modules, plant
    finally:
        file.write_text(before)


def test_a_rollback_of_a_file_imports_nothing_and_is_refused_in_one_line(run: Path) -> None:
    events = run / "events.jsonl"
    before = events.read_text()
    rollback = json.loads(before)
    for field in json.loads((run / "config.json").read_text()):
        old = json.loads((run / "config.json").read_text())[field]
        events.write_text(json.dumps({**rollback, "changes": {field: [old, PATH]}}) + "\n")
        with suppress(GansmithError):
            session.go_on(run, {})
        assert STRANGER not in sys.modules, field
    events.write_text(json.dumps({**rollback, "changes": {"loss": [rollback["changes"]["loss"][0], PATH]}}) + "\n")
    with pytest.raises(ConfigError, match=f"would run code from outside gansmith; .*GANSMITH_TRUST={STRANGER}"):
        session.go_on(run, {})
    events.write_text(before)


def test_nothing_in_the_files_of_a_study_is_imported(run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    study = {
        "title": "x", "preset": "dcgan-r1", "length": "2 steps", "seeds": [0],
        "data": [{"name": "noise", "source": "digits"}], "variants": [{"name": "a", "overrides": {"loss": "hinge"}}],
    }  # fmt: skip
    cell = {"title": "noise-a-0", "data": "noise", "variant": "a", "seed": 0, "config": config}
    record = {"study": study, "cells": [cell]}
    tried = 0
    for plain, name, read in ((record, "study.json", read_record), (study, "results.json", read_results)):
        for plant in variants(plain):
            (tmp_path / name).write_text(json.dumps(plant))
            with suppress(GansmithError):
                read(StudyFolder(tmp_path) if name == "study.json" else tmp_path / name)  # type: ignore[operator]
            assert STRANGER not in sys.modules, plant
            tried += 1
    assert tried > 500

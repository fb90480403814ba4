"""Two processes at one thing: one wins and the other says so, or both get it right."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kills import stores_of
from processes import Ended
from world import EVALUATE, TRAIN, Outcome, Trial, World, figures_of, files_of, run_differences

KIND = "pairs of processes"
NEW = (*TRAIN, "--length", "12 steps", "--run", "run")
RESUME = ("resume", "run", "--length", "12 steps")


def trials(world: World, scale: float) -> Iterator[Trial]:
    """About 60 pairs at scale 1."""
    several: list[tuple[str, Callable[[Path, random.Random], Outcome], int]] = [
        ("train and train into one new folder", partial(_one_wins, world, "", NEW), 12),
        ("resume and resume", partial(_one_wins, world, "half", RESUME), 10),
        ("train and train without a name", partial(_both_named, world), 4),
        ("sample beside a training that prunes", partial(_beside, world, ("sample", "run", "--snapshot", "last")), 12),
        ("report beside training", partial(_beside, world, ("report", "run")), 6),
        ("evaluate beside training", partial(_beside, world, EVALUATE), 6),
        ("evaluate and evaluate", partial(_evaluations, world), 6),
        ("prepare and prepare", partial(_preparations, world), 8),
        ("study and study", partial(_studies, world), 3),
    ]
    for what, go, times in several:
        for _ in range(max(1, round(times * scale))):
            yield Trial(KIND, what, go)


def together(world: World, where: Path, rng: random.Random, *both: tuple[str, ...]) -> list[Ended]:
    """Run commands at one time, the second a little after the first."""
    first = world.command(where, *both[0])
    first.running(rng.choice([0.0, 0.01, 0.05, 0.2]))
    second = world.command(where, *both[1])
    return [first.wait(), second.wait()]


def _one_wins(world: World, start: str, words: tuple[str, ...], where: Path, rng: random.Random) -> Outcome:
    reference = world.root / ("whole" if start else "fresh") / "run"
    if start:
        shutil.copytree(world.root / start / "run", where / "run")
    endings = together(world, where, rng, words, words)
    for ended in endings:
        if ended.fault:
            return Outcome("traceback", ended.fault)
    winners = [ended for ended in endings if ended.code == 0]
    if len(winners) != 1 and not (start and winners):  # the second resume may find the run finished
        return Outcome("wrong", f"{len(winners)} won: {[ended.text[-200:] for ended in endings]}")
    other = run_differences(where / "run", reference)
    return Outcome("wrong", f"differs: {other}") if other else Outcome("survived")


def _both_named(world: World, where: Path, rng: random.Random) -> Outcome:
    words = (*TRAIN, "--length", "2 steps")
    endings = together(world, where, rng, words, words)
    if any(ended.fault or ended.code for ended in endings):
        return Outcome("traceback", str([ended.text[-300:] for ended in endings]))
    found = sorted(path.name for path in (where / "runs").iterdir())
    right = found == ["digits-dcgan-r1-001", "digits-dcgan-r1-002"]
    return Outcome("survived") if right else Outcome("wrong", str(found))


def _beside(world: World, words: tuple[str, ...], where: Path, rng: random.Random) -> Outcome:
    shutil.copytree(world.root / "half" / "run", where / "run")
    training = world.command(
        where, "resume", "run", "--length", "40 steps", "--checkpoint_every", "1 steps", "--keep_checkpoints", "1"
    )
    training.running(rng.uniform(0, 1.0))
    endings = []
    while training.running(0) and len(endings) < 8:
        endings.append(world.do(where, *words))
    ended = training.wait()
    if ended.fault or ended.code:
        return Outcome("traceback", ended.text[-600:])
    for other in endings:
        if other.fault or other.code:
            return Outcome("traceback" if other.fault else "lost", other.text[-600:])
    return Outcome("survived")


def _evaluations(world: World, where: Path, rng: random.Random) -> Outcome:
    shutil.copytree(world.root / "whole" / "run", where / "run")
    endings = together(world, where, rng, EVALUATE, EVALUATE)
    if any(ended.fault or ended.code for ended in endings):
        return Outcome("traceback", str([ended.text[-300:] for ended in endings]))
    wanted = figures_of(world.root / "measured" / "run")
    found = figures_of(where / "run")
    return Outcome("survived") if found == wanted * 2 else Outcome("wrong", f"{found} instead of {wanted} twice")


def _preparations(world: World, where: Path, rng: random.Random) -> Outcome:
    words = ("data", "prepare", str(world.root / "photos"), "--size", "16")

    def make(folder: Path) -> Ended:
        (folder / "cache").mkdir()
        return world.must(folder, *words)

    reference, _ = world.reference("pair-prepare", make)
    (where / "cache").mkdir()
    endings = together(world, where, rng, words, words)
    if any(ended.fault or ended.code for ended in endings):
        return Outcome("traceback", str([ended.text[-300:] for ended in endings]))
    left = [name for name in files_of(where / "cache") if "unfinished" in name]
    right = stores_of(where / "cache") == stores_of(reference / "cache") and not left
    return Outcome("survived") if right else Outcome("wrong", f"{files_of(where / 'cache')}")


def _studies(world: World, where: Path, rng: random.Random) -> Outcome:
    words = ("study", str(world.root / "study.toml"), "--out", "study")
    reference, _ = world.reference("pair-study", lambda folder: world.must(folder, *words))
    endings = together(world, where, rng, words, words)
    for ended in endings:
        if ended.fault:
            return Outcome("traceback", ended.fault)
    if not any(ended.code == 0 for ended in endings):
        return Outcome("lost", str([ended.text[-300:] for ended in endings]))
    cells = [cell for cell in (reference / "study" / "runs").iterdir() if cell.is_dir()]
    other = [name for cell in cells for name in run_differences(where / "study" / "runs" / cell.name, cell)]
    return Outcome("wrong", str(other)) if other else Outcome("survived")

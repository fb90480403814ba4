"""SIGKILL at random moments of every verb that writes; what is left is whole, and ends as if nothing had been."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from processes import Ended
from world import EVALUATE, TRAIN, Outcome, Trial, World, faults_of, figures_of, files_of, newest_step, run_differences

KIND = "SIGKILL"
MOST_KILLS = 4  # of one training

OUTPUTS: dict[str, tuple[str, ...]] = {
    "sample x.png": ("sample", "run", "--num", "20", "--out", "out/x.png"),
    "sample x.npz": ("sample", "run", "--num", "20", "--out", "out/x.npz"),
    "sample folder": ("sample", "run", "--num", "20", "--out", "out/"),
    "interpolate x.png": ("interpolate", "run", "--from_seed", "1", "--to_seed", "2", "--out", "out/x.png"),
    "interpolate x.gif": ("interpolate", "run", "--from_seed", "1", "--to_seed", "2", "--out", "out/x.gif"),
}
AUTO = ("train", "digits", "--run", "run", "--length", "6 steps", "--size", "16", "--model.width", "8",
        "--batch_size", "8", "--tracking", "none", "--device", "cpu", "--precision", "float32",
        "--checkpoint_every", "2 steps")  # fmt: skip


def trials(world: World, scale: float) -> Iterator[Trial]:
    """About 260 kills at scale 1."""
    several: list[tuple[str, Callable[[Path, random.Random], Outcome], int]] = [
        ("train", partial(_training, world, "fresh", (*TRAIN, "--length", "12 steps", "--run", "run")), 22),
        ("resume", partial(_training, world, "half", ("resume", "run", "--length", "12 steps")), 18),
        ("train, auto", partial(_training, world, "auto", AUTO), 6),
        *((verb, partial(_output, world, verb, words), 12) for verb, words in OUTPUTS.items()),
        ("evaluate", partial(_evaluation, world), 20),
        ("report", partial(_report, world), 14),
        ("study", partial(_study, world), 12),
        ("data prepare", partial(_store, world, "prepare"), 20),
        ("data check", partial(_store, world, "check"), 8),
    ]
    for what, go, times in several:
        for _ in range(max(1, round(times * scale))):
            yield Trial(KIND, what, go)


def killed(
    world: World, where: Path, rng: random.Random, words: tuple[str, ...], whole: Ended, seconds: float
) -> tuple[bool, Ended]:
    """Kill a command at a random moment, or before a random change of a file; whether it was hit, and how it ended."""
    if rng.random() < 0.6 and whole.changes:
        ended = world.do(where, *words, kill_at=rng.randrange(1, whole.changes + 1))
    else:
        command = world.command(where, *words)
        if command.running(rng.uniform(0.01, seconds)):
            command.kill()
        ended = command.wait()
    return ended.code == -9, ended


def _training(world: World, start: str, words: tuple[str, ...], where: Path, rng: random.Random) -> Outcome:
    reference, whole = world.reference(f"kill-{start}", lambda folder: _begun(world, start, folder, words))
    if start == "half":
        shutil.copytree(world.root / "half" / "run", where / "run")
    kills, reached = 0, newest_step(where / "run")
    now = words
    for _ in range(rng.randint(1, MOST_KILLS)):
        hit, ended = killed(world, where, rng, now, whole, 1.5)
        kills += hit
        if not hit:
            if ended.fault or ended.code:
                return Outcome("traceback" if ended.fault else "lost", f"{' '.join(now[:2])}: {ended.text[-600:]}")
            break
        if newest_step(where / "run") < reached:
            return Outcome("lost", f"the newest checkpoint was {reached}, and is {newest_step(where / 'run')}")
        reached = newest_step(where / "run")
        now = _continuing(where, words)
    ended = world.do(where, *_continuing(where, words))
    if ended.fault:
        return Outcome("traceback", ended.fault)
    if ended.code:
        return Outcome("lost", f"{ended.refusal} after a kill")
    begun_at = re.search(r"^run .*from step (\d+) ", ended.text, re.MULTILINE)
    if reached and int(begun_at[1] if begun_at else 0) < reached:
        return Outcome("lost", f"checkpoint {reached} was there, and it went on: {begun_at}")
    other = run_differences(where / "run", reference / "run")
    return Outcome("wrong", f"differs: {other}") if other else Outcome("survived", count=max(1, kills))


def _begun(world: World, start: str, folder: Path, words: tuple[str, ...]) -> Ended:
    if start == "half":
        shutil.copytree(world.root / "half" / "run", folder / "run")
    return world.must(folder, *words)


def _continuing(where: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    """What a user would type after a kill: resume if there is a run, else the same again."""
    if words[0] == "resume" or not (where / "run" / "config.json").exists():
        return words
    return "resume", "run"


def _output(world: World, verb: str, words: tuple[str, ...], where: Path, rng: random.Random) -> Outcome:
    def make(folder: Path) -> Ended:
        shutil.copytree(world.root / "whole" / "run", folder / "run")
        return world.must(folder, *words)

    reference, whole = world.reference(f"kill-{verb}", make)
    shutil.copytree(world.root / "whole" / "run", where / "run")
    killed(world, where, rng, words, whole, 0.3)
    right = files_of(reference / "out")
    found = files_of(where / "out") if (where / "out").exists() else {}
    torn = [name for name, value in found.items() if right.get(name) != value]
    if torn:
        return Outcome("wrong", f"{verb}: half a file is there: {torn}")
    again = world.do(where, *words)
    if again.fault or again.code:
        return Outcome("traceback", again.text[-600:])
    return _same(files_of(where / "out"), right, verb)


def _same(found: object, right: object, what: str) -> Outcome:
    return Outcome("survived") if found == right else Outcome("wrong", f"{what}: {found} instead of {right}")


def _evaluation(world: World, where: Path, rng: random.Random) -> Outcome:
    words = (*EVALUATE, "--out", "figures.json")

    def make(folder: Path) -> Ended:
        shutil.copytree(world.root / "whole" / "run", folder / "run")
        return world.must(folder, *words)

    reference, whole = world.reference("kill-evaluate", make)
    shutil.copytree(world.root / "whole" / "run", where / "run")
    killed(world, where, rng, words, whole, 1.5)
    if (where / "figures.json").exists():
        json.loads((where / "figures.json").read_text())
    endings = [world.do(where, *words), world.do(where, "report", "run")]
    endings.append(world.do(where, "resume", "run", "--length", "15 steps"))
    if faults_of(endings) or any(ended.code for ended in endings):
        return Outcome("traceback", faults_of(endings) or str([ended.refusal for ended in endings]))
    wanted = figures_of(reference / "run")[0]
    right = all(figures == wanted for figures in figures_of(where / "run"))
    return Outcome("survived") if right else Outcome("wrong", f"figures {figures_of(where / 'run')}")


def _report(world: World, where: Path, rng: random.Random) -> Outcome:
    def make(folder: Path) -> Ended:
        shutil.copytree(world.root / "measured" / "run", folder / "run")
        return world.must(folder, "report", "run")

    reference, whole = world.reference("kill-report", make)
    shutil.copytree(world.root / "measured" / "run", where / "run")
    killed(world, where, rng, ("report", "run"), whole, 0.6)
    page, right = where / "run" / "report.html", page_of(reference / "run")
    if page.exists() and page_of(where / "run") != right:
        return Outcome("wrong", "report: half a page is there")
    again = world.do(where, "report", "run")
    if again.fault or again.code:
        return Outcome("traceback", again.text[-600:])
    return _same(page_of(where / "run") == right, True, "the page")


def page_of(run: Path) -> str:
    """The text of a page, without the moment at which it was written."""
    text = (run / "report.html").read_text(encoding="utf-8")
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", "", text)


def _study(world: World, where: Path, rng: random.Random) -> Outcome:
    words = ("study", str(world.root / "study.toml"), "--out", "study")
    reference, whole = world.reference("kill-study", lambda folder: world.must(folder, *words))
    _, first = killed(world, where, rng, words, whole, 5.0)
    again = world.do(where, *words)
    page = world.do(where, "report", "study")
    for ended in (again, page):
        if ended.fault or ended.code:
            return Outcome("traceback" if ended.fault else "lost", f"{first.code}: {ended.text[-600:]}")
    other = [
        f"{cell.name}: {names}"
        for cell in (reference / "study" / "runs").iterdir()
        if cell.is_dir() and (names := run_differences(where / "study" / "runs" / cell.name, cell))
    ]
    if other:
        return Outcome("wrong", f"study: {other}")
    plain = [json.loads((folder / "study/results.json").read_text()) for folder in (where, reference)]
    figures = [[run["state"] for setting in each["settings"] for run in setting["runs"]] for each in plain]
    return _same(*figures, "study")


def _store(world: World, action: str, where: Path, rng: random.Random) -> Outcome:
    words = ("data", action, str(world.root / "photos"), "--size", "16")

    def make(folder: Path) -> Ended:
        (folder / "cache").mkdir()
        return world.must(folder, *words)

    reference, whole = world.reference(f"kill-{action}", make)
    (where / "cache").mkdir()
    killed(world, where, rng, words, whole, 0.3)
    again = world.do(where, *words)
    if again.fault or again.code:
        return Outcome("traceback", again.text[-600:])
    return _same(stores_of(where / "cache"), stores_of(reference / "cache"), action)


def stores_of(cache: Path) -> dict[str, str]:
    """Digests of the arrays of the whole stores of a cache, whatever the path of what they were made from."""
    names = {name: value for name, value in files_of(cache).items() if "unfinished" not in name}
    arrays = {name: value for name, value in names.items() if name.startswith("stores/") and name.endswith(".npy")}
    return {re.sub("-[0-9a-f]{16}/", "/", name): value for name, value in arrays.items()}

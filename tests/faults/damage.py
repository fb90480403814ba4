"""Each file of a run, a study, a store and a cache: cut, flipped, emptied, removed, and then read by every verb."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from kills import page_of
from processes import Ended
from world import EVALUATE, TRAIN, Outcome, Trial, World, figures_of, files_of, lines_of, run_differences

KIND = "damaged files"
Damage: TypeAlias = Callable[[Path, random.Random], str]
SAID = re.compile(r"note|damaged|skipped|cannot be (read|used|shown)|missing|differs|not compared", re.IGNORECASE)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SAMPLE = ("sample", "run", "--num", "8", "--out", "x.npz")


def cut(path: Path, rng: random.Random) -> str:
    """Truncate a file at a random place."""
    size = path.stat().st_size
    at = rng.choice([size - 1, size // 2, rng.randrange(size)]) if size else 0
    path.write_bytes(path.read_bytes()[:at])
    return f"cut at {at} of {size}"


def flip(path: Path, rng: random.Random) -> str:
    """Flip one random bit."""
    content = bytearray(path.read_bytes())
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(bytes(content))
    return f"bit {bit} of byte {at} of {len(content)} flipped"


def flip_digit(path: Path, rng: random.Random) -> str:
    """Flip the lowest bit of a digit, so that a number changes and nothing else; in a binary file, of any byte."""
    content = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(content) if byte in b"0123456789"]
    at = rng.choice(digits) if digits else rng.randrange(len(content))
    content[at] ^= 1
    path.write_bytes(bytes(content))
    return f"digit at byte {at} flipped, in {bytes(content[max(0, at - 20) : at + 5])!r}"


def empty(path: Path, rng: random.Random) -> str:
    """Leave nothing in a file."""
    path.write_bytes(b"")
    return "emptied"


def zero(path: Path, rng: random.Random) -> str:
    """Zero a block, as a file system does after a loss of power."""
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    length = min(4096, len(content) - start)
    content[start : start + length] = bytes(length)
    path.write_bytes(bytes(content))
    return f"bytes {start} to {start + length} zeroed"


def remove(path: Path, rng: random.Random) -> str:
    """Remove a file."""
    path.unlink()
    return "removed"


def replace(path: Path, rng: random.Random) -> str:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()
    return "a folder instead"


DAMAGES: tuple[tuple[Damage, int], ...] = (
    (cut, 3), (flip, 4), (flip_digit, 3), (empty, 1), (zero, 1), (remove, 1), (replace, 1),
)  # fmt: skip


def trials(world: World, scale: float) -> Iterator[Trial]:
    """About 2,500 at scale 1: each file, each damage, each verb."""
    rng = random.Random(0)
    every = list(_every(world))
    yield from rng.sample(every, max(1, round(len(every) * min(1.0, scale)))) if scale < 1 else every


def _every(world: World) -> Iterator[Trial]:
    run, verbs = world.root / "measured" / "run", ("sample", "last", "interpolate", "evaluate", "report")
    for name in files_of(run):
        for damage, times in DAMAGES:
            for verb in verbs:
                often = times if not name.endswith((".png", ".gif", ".html")) else 1
                for _ in range(often if verb in ("sample", "last") or name.endswith(("json", "jsonl")) else 1):
                    yield Trial(KIND, f"run: {verb}", partial(_reading, world, name, damage, verb))
    for name in files_of(world.root / "half" / "run"):
        for damage, times in DAMAGES:
            for _ in range(times):
                yield Trial(KIND, "run: resume", partial(_resuming, world, name, damage))
    for name in files_of(world.root / "half" / "cache"):
        for damage, times in DAMAGES:
            for _ in range(times):
                yield Trial(KIND, "cache: train", partial(_training, world, name, damage))
    for name in files_of(world.root / "measured" / "cache"):
        for damage, _ in DAMAGES:
            yield Trial(KIND, "cache: evaluate", partial(_measuring, world, name, damage))
    study = world.root / "studied" / "study"
    for name in files_of(study) if study.exists() else ():
        small = "/" not in name
        for damage, times in DAMAGES:
            for verb in ("report", "study"):
                for _ in range(times if small else 1 if name.endswith("json") else 0):
                    yield Trial(KIND, f"study: {verb}", partial(_studying, world, name, damage, verb))


# --- a run -------------------------------------------------------------------------------------------------


def _words(verb: str) -> tuple[str, ...]:
    known = {
        "sample": SAMPLE,
        "last": (*SAMPLE, "--snapshot", "last"),
        "interpolate": ("interpolate", "run", "--from_seed", "1", "--to_seed", "2", "--out", "x.png"),
        "evaluate": EVALUATE,
        "report": ("report", "run"),
    }
    return known[verb]


def _reading(world: World, name: str, damage: Damage, verb: str, where: Path, rng: random.Random) -> Outcome:
    def make(folder: Path) -> Ended:
        shutil.copytree(world.root / "measured" / "run", folder / "run")
        return world.must(folder, *_words(verb))

    reference, right = world.reference(f"damage-{verb}", make)
    shutil.copytree(world.root / "measured" / "run", where / "run")
    how = damage(where / "run" / name, rng)
    ended = world.do(where, *_words(verb))
    return _judged(f"{name} {how}", ended, right, verb, where, reference, name)


def _judged(how: str, ended: Ended, right: Ended, verb: str, where: Path, reference: Path, name: str) -> Outcome:
    if ended.fault:
        return Outcome("traceback", f"{how}: {ended.fault}")
    if ended.code == 2:
        return Outcome("refused", ended.refusal)
    said = bool(SAID.search(ended.text)) and not SAID.search(right.text)
    said = said or len(SAID.findall(ended.text)) > len(SAID.findall(right.text))
    if said or _result(verb, where) == _result(verb, reference):
        return Outcome("survived")
    if verb == "report":
        return _page(how, where, reference, name)
    return Outcome("wrong", f"{verb}: {how}: {ended.text[-300:]}")


def _result(verb: str, where: Path) -> object:
    if verb == "evaluate":
        return figures_of(where / "run")[-1]
    if verb == "report":
        return page_of(where / "run")
    return files_of(where).get("x.npz" if (where / "x.npz").exists() else "x.png")


def _page(how: str, where: Path, reference: Path, name: str) -> Outcome:
    """A page may show less, and say so; no number may stand in it that is not in the right one."""
    page, right = (page_of(folder / "run") for folder in (where, reference))
    said = page.count(Path(name).name) > right.count(Path(name).name) or len(SAID.findall(page)) > len(
        SAID.findall(right)
    )
    new = set(NUMBER.findall(_text(page))) - set(NUMBER.findall(_text(right)))
    words = set(_text(page).split()) - set(_text(right).split())
    shows_less = not new and len(page) < len(right) + 500 and name.startswith(("images/", "metrics", "events", "stats"))
    if said or shows_less:
        return Outcome("survived")
    return Outcome("wrong", f"report: {how}: new in the page: {sorted(new | words)[:12]}")


def _text(page: str) -> str:
    return re.sub(r"<(svg|style|script|img).*?(</\1>|>)|<[^>]+>", " ", page, flags=re.DOTALL)


def _resuming(world: World, name: str, damage: Damage, where: Path, rng: random.Random) -> Outcome:
    shutil.copytree(world.root / "half" / "run", where / "run")
    how = f"{name} {damage(where / 'run' / name, rng)}"
    ended = world.do(where, "resume", "run", "--length", "12 steps")
    if ended.fault:
        return Outcome("traceback", f"resume: {how}: {ended.fault}")
    if ended.code == 2:
        return Outcome("refused", ended.refusal)
    other = [each for each in run_differences(where / "run", world.root / "whole" / "run") if _must_match(each, name)]
    lines = list(lines_of(where / "run" / "stats.jsonl"))
    if lines[-1]["progress/step"] != 12:
        other.append("stats.jsonl ends too soon")
    return Outcome("wrong", f"resume: {how}: {other}") if other else Outcome("survived")


def _must_match(name: str, damaged: str) -> bool:
    """What training writes anew is right whatever was damaged; an old picture or line that was damaged is not."""
    pictures = damaged.startswith("images/") and name in (damaged, "progress.gif")
    lines = damaged == "stats.jsonl" and name == "stats.jsonl"
    # A newest checkpoint was set aside and made again; an older one stays, and is seen to be damaged when it is needed.
    checkpoint = damaged.startswith("training_checkpoints/") and (".damaged" in name or name == damaged)
    return not (pictures or lines or (checkpoint and not name.startswith("training_checkpoints/000012")))


# --- the cache ---------------------------------------------------------------------------------------------


def _training(world: World, name: str, damage: Damage, where: Path, rng: random.Random) -> Outcome:
    shutil.copytree(world.root / "half" / "cache", where / "cache")
    how = f"{name} {damage(where / 'cache' / name, rng)}"
    ended = world.do(where, *TRAIN, "--length", "6 steps", "--run", "run")
    if ended.fault or ended.code:
        return Outcome("traceback" if ended.fault else "refused", f"train: {how}: {ended.text[-300:]}")
    other = run_differences(where / "run", world.root / "half" / "run")
    return Outcome("wrong", f"train: {how}: {other}") if other else Outcome("survived")


def _measuring(world: World, name: str, damage: Damage, where: Path, rng: random.Random) -> Outcome:
    for part in ("cache", "run"):
        shutil.copytree(world.root / "measured" / part, where / part)
    how = f"{name} {damage(where / 'cache' / name, rng)}"
    ended = world.do(where, *EVALUATE)
    if ended.fault or ended.code:
        return Outcome("traceback" if ended.fault else "refused", f"evaluate: {how}: {ended.text[-300:]}")
    first, second = figures_of(where / "run")
    return Outcome("survived") if first == second else Outcome("wrong", f"evaluate: {how}: {second}")


# --- a study -----------------------------------------------------------------------------------------------


def _studying(world: World, name: str, damage: Damage, verb: str, where: Path, rng: random.Random) -> Outcome:
    studied = world.root / "studied"
    shutil.copytree(studied / "study", where / "run")
    shutil.copytree(studied / "cache", where / "cache")
    words = ("report", "run") if verb == "report" else ("study", "run")

    def make(folder: Path) -> Ended:
        shutil.copytree(studied / "study", folder / "run")
        shutil.copytree(studied / "cache", folder / "cache")
        world.must(folder, *words)
        return world.must(folder, "report", "run")

    reference, _ = world.reference(f"damage-study-{verb}", make)
    how = f"{name} {damage(where / 'run' / name, rng)}"
    ended = world.do(where, *words)
    if ended.fault:
        return Outcome("traceback", f"{verb}: {how}: {ended.fault}")
    if ended.code == 2:
        return Outcome("refused", ended.refusal)
    page = ended if verb == "report" else world.do(where, "report", "run")
    if page.fault:
        return Outcome("traceback", f"{verb}: {how}: {page.fault}")
    if SAID.search(ended.text + page.text) or page_of(where / "run") == page_of(reference / "run"):
        return Outcome("survived")
    return _page(how, where, reference, name)

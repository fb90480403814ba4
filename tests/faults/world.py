"""What each try begins with: runs, stores and a study that are whole, and how others are compared with them."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from filelock import FileLock
from PIL import Image
from processes import Command, Ended

Verdict: TypeAlias = Literal["survived", "refused", "lost", "wrong", "traceback", "skipped"]

EXTRACTOR = json.dumps({"name": "random-conv", "width": 4, "num_features": 8})
SMALL = (
    "--size", "16", "--batch_size", "8", "--model.width", "8", "--device", "cpu", "--precision", "float32",
    "--log_every", "1 steps", "--guard.num", "4", "--samples.every", "4 steps", "--samples.rows", "2",
    "--samples.filename", "fakes_{nimg:09}.png",
    "--tracking.num", "20", "--tracking.metric", "kid", "--tracking.extractor", EXTRACTOR, "--tracking.every",
    "3 steps", "--tracking.max_share", "1.0",
)  # fmt: skip
TRAIN = ("train", "digits", "--preset", "dcgan-r1", "--checkpoint_every", "3 steps", "--keep_checkpoints", "3", *SMALL)
EVALUATE = (
    "evaluate", "run", "--num", "40", "--metrics", "kid,precision-recall,memorisation",
    "--extractor", "random-conv", "--extractor.width", "4", "--extractor.num_features", "8",
)  # fmt: skip
STUDY = """
title = "Faults"
length = "6 steps"
seeds = 2
[overrides]
batch_size = 4
precision = "float32"
device = "cpu"
tracking = "none"
log_every = "1 steps"
checkpoint_every = "2 steps"
samples.every = "6 steps"
guard.num = 4
model.width = 4
[evaluation]
num = 20
metrics = "kid"
extractor = { name = "random-conv", width = 4, num_features = 8 }
[[variants]]
title = "One"
preset = "dcgan-64"
[[data]]
title = "digits"
source = "digits"
size = 16
"""
NOT_REPEATABLE = {"progress/seconds", "speed/images_per_second"}
# A checkpoint that is made anew by a session of another length has that length in its configuration.
NOT_REPEATABLE_STATE = {"seconds", "tracking_seconds", "num_tracked", "seal", "config"}


@dataclass(frozen=True)
class Outcome:
    """What came of a try.

    Args:
        verdict: of all of it: the worst.
        detail: why.
        count: how many things were tried.
        better: how many of them ended otherwise, by verdict.
    """

    verdict: Verdict
    detail: str = ""
    count: int = 1
    better: dict[str, int] = field(default_factory=dict)

    def tally(self) -> Counter[str]:
        """How many ended how."""
        return Counter({self.verdict: self.count - sum(self.better.values())}) + Counter(self.better)


@dataclass(frozen=True)
class Trial:
    """A try: of which kind, at what, and how; it is given an empty folder and its own random numbers."""

    kind: str
    what: str
    go: Callable[[Path, random.Random], Outcome]


@dataclass
class World:
    """The folder of all that is compared with."""

    root: Path

    def make(self, *, short: bool) -> None:
        """Make everything, each in the way in which a try makes it; without a study if it is to be short."""
        write_photos(self.root / "photos")
        (self.root / "study.toml").write_text(STUDY)
        half = self.place("half")
        self.must(half, *TRAIN, "--length", "6 steps", "--run", "run")
        self.copy("half", "whole")
        self.must(self.place("whole"), "resume", "run", "--length", "12 steps")
        self.must(self.place("fresh"), *TRAIN, "--length", "12 steps", "--run", "run")
        self.copy("whole", "measured")
        self.must(self.place("measured"), *EVALUATE)
        if not short:
            self.must(self.place("studied"), "study", str(self.root / "study.toml"), "--out", "study")

    def place(self, name: str) -> Path:
        """A folder of this name with a cache in it."""
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder

    def copy(self, name: str, to: str | Path) -> Path:
        """A copy of a folder."""
        target = self.root / to
        shutil.copytree(self.root / name, target, dirs_exist_ok=True)
        return target

    def command(self, where: Path, *words: str, **options: Any) -> Command:
        """Start a command in a folder, whose own cache it uses."""
        cache = where / "cache"
        if not cache.exists() and not options.pop("no_cache", False) and (self.root / "half" / "cache").exists():
            shutil.copytree(self.root / "half" / "cache", cache)
        environment = {"GANSMITH_CACHE": str(cache), **options.pop("environment", {})}
        return Command(words, where, environment, **options)

    def do(self, where: Path, *words: str, **options: Any) -> Ended:
        """Run a command to its end."""
        return self.command(where, *words, **options).wait()

    def must(self, where: Path, *words: str) -> Ended:
        """Run a command that cannot fail."""
        ended = self.do(where, *words)
        assert ended.code == 0, f"{' '.join(words)}: {ended.code}: {ended.text}"
        return ended

    def reference(self, name: str, make: Callable[[Path], Ended]) -> tuple[Path, Ended]:
        """What an undisturbed command makes; made at first use, by whichever process is first."""
        folder = self.root / f"reference-{name.replace(' ', '-')}"
        told = self.root / f"{folder.name}.json"
        with FileLock(f"{folder}.lock"):
            if not told.exists():
                folder.mkdir()
                told.write_text(json.dumps(asdict(make(folder))))
        return folder, Ended(**json.loads(told.read_text()))


def write_photos(folder: Path, num: int = 60) -> None:
    """Small pictures in three class folders, of several sizes."""
    generator = np.random.default_rng(0)
    for i in range(num):
        path = folder / ("ant", "bee", "cat")[i % 3] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 16 + 2 * (i % 4)
        Image.fromarray(generator.integers(0, 256, (side, side + i % 3, 3), np.uint8)).save(path)


# --- comparing ---------------------------------------------------------------------------------------------


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def files_of(folder: Path) -> dict[str, str]:
    """Digest of each file below a folder, but for locks and hidden leftovers."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path: path.relative_to(folder).as_posix() for path in files}
    return {name: digest(path) for path, name in names.items() if not re.search(r"(^|/)\.", name)}


def run_differences(run: Path, reference: Path) -> list[str]:
    """What of a run is not bit for bit what it would have been, of what is promised to be."""
    theirs, ours = repeatable(run), repeatable(reference)
    return sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))


def repeatable(run: Path) -> dict[str, Any]:
    """All that two runs of one configuration have in common."""
    kept = ("config.json", "data.json", "progress.gif")
    found: dict[str, Any] = {
        name: value
        for name, value in files_of(run).items()
        if name in kept or name.startswith("images/") or (name.startswith("training_") and name.endswith("tensors"))
    }
    for path in run.glob("training_checkpoints/*/state.json"):
        name = path.relative_to(run).as_posix()
        try:
            found[name] = without(json.loads(path.read_text()), NOT_REPEATABLE_STATE)
        except (OSError, ValueError):  # damaged
            found[name] = "damaged"
    found["stats.jsonl"] = [without(line, NOT_REPEATABLE | {"crc"}) for line in lines_of(run / "stats.jsonl")]
    return found


def without(plain: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """A copy without some fields."""
    return {name: value for name, value in plain.items() if name not in names}


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a .jsonl file; those of its lines that are damaged are left out."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def newest_step(run: Path) -> int:
    """Of the newest checkpoint that has its state; 0 if there is none."""
    return max((int(path.parent.name) for path in run.glob("training_checkpoints/[0-9]*/state.json")), default=0)


def figures_of(run: Path) -> list[Any]:
    """Those of the evaluations in metrics.jsonl."""
    found = (line for line in lines_of(run / "metrics.jsonl") if line["kind"] == "evaluation")
    return [{name: estimate["value"] for name, estimate in line["values"].items()} for line in found]


def faults_of(endings: Sequence[Ended]) -> str:
    """What is wrong with the way in which commands ended."""
    return next((ended.fault for ended in endings if ended.fault), "")

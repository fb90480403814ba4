"""A full disk, folders that may not be written, that move or vanish, no home, a closed output, a lock that is shut."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kills import OUTPUTS, stores_of
from processes import Ended
from world import EVALUATE, TRAIN, Outcome, Trial, World, digest, figures_of, files_of, newest_step, run_differences

FULL, SHUT, GONE, OUTPUT = (
    "full disk",
    "read-only and forbidden",
    "moved or removed",
    "no home, closed output, shut lock",
)
RESUME = ("resume", "run", "--length", "12 steps")
NEW = (*TRAIN, "--length", "12 steps", "--run", "run")
PREPARE = ("data", "prepare", "photos", "--size", "16")
REPORT = ("report", "run")
SAMPLE = OUTPUTS["sample x.npz"]
INSIDE = ("sample", "run", "--num", "20", "--out", "run/x.npz")
VERBS = {"resume": RESUME, "evaluate": EVALUATE, "report": REPORT, "sample": INSIDE}


def trials(world: World, scale: float) -> Iterator[Trial]:
    """About 200 at scale 1."""
    several: list[tuple[str, str, Callable[[Path, random.Random], Outcome], int]] = [
        (FULL, "train", partial(_full, world, NEW, "fresh"), 16),
        (FULL, "resume", partial(_full, world, RESUME, "half"), 16),
        (FULL, "data prepare", partial(_full, world, PREPARE, ""), 8),
        (FULL, "evaluate", partial(_full, world, EVALUATE, "whole"), 10),
        (FULL, "report", partial(_full, world, REPORT, "measured"), 8),
        (FULL, "sample", partial(_full, world, SAMPLE, "whole"), 6),
        (FULL, "train, files limited", partial(_limited, world, NEW), 8),
        (FULL, "resume, files limited", partial(_limited, world, RESUME), 8),
        *((SHUT, f"{verb}, mounted read-only", partial(_read_only, world, words), 2) for verb, words in VERBS.items()),
        *((SHUT, f"{verb}, another's run", partial(_forbidden, world, words), 2) for verb, words in VERBS.items()),
        (SHUT, "train, another's cache", partial(_others_cache, world), 2),
        (GONE, "moved while training", partial(_gone, world, "moved"), 8),
        (GONE, "removed while training", partial(_gone, world, "removed"), 8),
        (GONE, "a checkpoint removed while training", partial(_gone, world, "checkpoint"), 4),
        (OUTPUT, "no home", partial(_homeless, world, None), 2),
        (OUTPUT, "a home that cannot be written", partial(_homeless, world, "/proc/nowhere"), 2),
        *((OUTPUT, f"{what}, output closed", partial(_unheard, world, words, how), 1)
          for what, words in {"train": NEW, "data prepare": PREPARE, **VERBS}.items()
          for how in ("reader left", "closed", "full")),
        (OUTPUT, "a lock that is a folder", partial(_shut_lock, world, "folder"), 2),
        (OUTPUT, "a lock that may not be opened", partial(_shut_lock, world, "forbidden"), 2),
        (OUTPUT, "a lock that is a link", partial(_shut_lock, world, "link"), 2),
    ]  # fmt: skip
    for kind, what, go, times in several:
        for _ in range(max(1, round(times * scale))):
            yield Trial(kind, what, go)


# --- a full disk -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(where: Path, kib: int) -> Iterator[Path | None]:
    """A small disk; None where none may be mounted."""
    disk = where / "disk"
    disk.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk))
    try:
        yield disk if done else None
    finally:
        if done:
            subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


def _mount(*words: str) -> bool:
    try:
        return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _size_kib(folder: Path) -> int:
    return sum(4 * -(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def _prepared(world: World, words: tuple[str, ...], start: str, folder: Path) -> None:
    """Put what a command needs into a folder."""
    if start and start != "fresh":
        shutil.copytree(world.root / start / "run", folder / "run")
    if words == PREPARE:
        shutil.copytree(world.root / "photos", folder / "photos")
        (folder / "cache").mkdir()
    elif start in ("whole", "measured"):
        shutil.copytree(world.root / start / "cache", folder / "cache")


def _full(world: World, words: tuple[str, ...], start: str, where: Path, rng: random.Random) -> Outcome:
    def make(folder: Path) -> Ended:
        _prepared(world, words, start, folder)
        before = _size_kib(folder)
        ended = world.must(folder, *words)
        (folder / "sizes").write_text(f"{before} {_size_kib(folder)}")
        return ended

    reference, _ = world.reference(f"full-{words[0]}-{start}", make)
    before, after = map(int, (reference / "sizes").read_text().split())
    room = rng.randint(before + 64, max(before + 65, after + 64))
    with mounted(where, room) as disk:
        if disk is None:
            return Outcome("skipped", "a disk cannot be mounted here")
        try:
            _prepared(world, words, start, disk)
            if not (disk / "cache").exists():
                shutil.copytree(world.root / "half" / "cache", disk / "cache")
        except OSError:
            return Outcome("refused", "no room even to begin")
        ended = _logged_elsewhere(world, disk, where, words)
        if ended.fault:
            return Outcome("traceback", f"{room} KiB: {ended.fault}")
        status = disk / "run" / "status.json"
        if (
            ended.code
            and words[0] in ("train", "resume")
            and '"running"' in (status.read_text() if status.exists() else "")
        ):
            return Outcome("wrong", f"{room} KiB: failed, and status.json says running: {ended.refusal}")
        _mount("-o", "remount,size=64m", str(disk))
        again = world.do(disk, *_again(words, disk))
        if again.fault or again.code:
            return Outcome("traceback" if again.fault else "lost", f"{room} KiB, then room: {again.text[-400:]}")
        wrong = _wrong(words, disk, reference)
    return Outcome("wrong", wrong) if wrong else Outcome("refused" if ended.code else "survived", ended.refusal)


def _logged_elsewhere(world: World, disk: Path, where: Path, words: tuple[str, ...]) -> Ended:
    """Run a command on a disk that is too full for its log."""
    environment = {"GANSMITH_CACHE": str(disk / "cache")}
    return world.do(where, *words, before=lambda: os.chdir(disk), environment=environment, no_cache=True)


def _again(words: tuple[str, ...], where: Path) -> tuple[str, ...]:
    return ("resume", "run") if words[0] == "train" and (where / "run" / "config.json").exists() else words


def _wrong(words: tuple[str, ...], where: Path, reference: Path) -> str:
    """What differs from what an undisturbed command makes."""
    if words[0] in ("train", "resume"):
        other = run_differences(where / "run", reference / "run")
        return f"differs: {other}" if other else ""
    if words == PREPARE:
        same = stores_of(where / "cache") == stores_of(reference / "cache")
    elif words[0] == "evaluate":
        same = all(figures == figures_of(reference / "run")[0] for figures in figures_of(where / "run"))
    elif words[0] == "sample":
        same = [digest(path) for folder in (where, reference) for path in folder.rglob("x.npz")]
        return "" if len(same) == 2 and same[0] == same[1] else f"sample: {same}"
    else:
        same = (where / "run" / "report.html").stat().st_size > 1000
    return "" if same else f"{words[0]}: another result"


def _limited(world: World, words: tuple[str, ...], where: Path, rng: random.Random) -> Outcome:
    """No file may grow beyond a size: writing stops in the middle, wherever that is."""
    start = "fresh" if words[0] == "train" else "half"
    if start == "half":
        shutil.copytree(world.root / "half" / "run", where / "run")
    size = rng.choice([rng.randint(1, 4096), rng.randint(4096, 250_000)])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    read, write = os.pipe()
    command = world.command(where, *words, before=lambda: (os.dup2(write, 1), os.dup2(write, 2), limit()))
    os.close(write)
    text = b"".join(iter(lambda: os.read(read, 65536), b"")).decode("utf-8", "replace")
    os.close(read)
    ended = Ended(command.wait().code, text)
    if ended.fault:
        return Outcome("traceback", f"at most {size} bytes: {ended.fault}")
    again = world.do(where, *_again(words, where))
    if again.fault or again.code:
        return Outcome("traceback" if again.fault else "lost", f"at most {size} bytes, then more: {again.text[-400:]}")
    other = run_differences(where / "run", world.root / ("fresh" if start == "fresh" else "whole") / "run")
    return Outcome("wrong", str(other)) if other else Outcome("refused" if ended.code else "survived", ended.refusal)


# --- read-only and forbidden -------------------------------------------------------------------------------


def _read_only(world: World, words: tuple[str, ...], where: Path, rng: random.Random) -> Outcome:
    with mounted(where, 64 * 1024) as disk:
        if disk is None:
            return Outcome("skipped", "a disk cannot be mounted here")
        shutil.copytree(world.root / "half" / "run", disk / "run")
        shutil.copytree(world.root / "half" / "cache", disk / "cache")
        if not _mount("-o", "remount,ro", str(disk)):
            return Outcome("skipped", "a disk cannot be made read-only here")
        ended = _logged_elsewhere(world, disk, where, words)
        return _refused_and_unharmed(ended, disk / "run", world)


def _forbidden(world: World, words: tuple[str, ...], where: Path, rng: random.Random) -> Outcome:
    """All may be read, and nothing may be written."""
    shutil.copytree(world.root / "half" / "run", where / "run")
    with forbidden(where / "run"):
        if not may_be_forbidden():
            return Outcome("skipped", "this user may write whatever the permissions say")
        ended = world.do(where, *words, before=give_up_privileges)
    return _refused_and_unharmed(ended, where / "run", world)


def _others_cache(world: World, where: Path, rng: random.Random) -> Outcome:
    (where / "cache").mkdir()
    words = (*TRAIN, "--length", "2 steps", "--run", "run")
    with forbidden(where / "cache"):
        if not may_be_forbidden():
            return Outcome("skipped", "this user may write whatever the permissions say")
        ended = world.do(where, *words, before=give_up_privileges)
    if ended.fault:
        return Outcome("traceback", ended.fault)
    if ended.code == 0 or "GANSMITH_CACHE" not in ended.refusal:
        return Outcome("wrong", f"expected the remedy GANSMITH_CACHE: {ended.text[-300:]}")
    return Outcome("refused", ended.refusal)


@contextlib.contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Let nobody write into a folder."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)


def may_be_forbidden() -> bool:
    """Whether a process can be made to which permissions apply."""
    return os.getuid() != 0 or hasattr(ctypes.CDLL(None), "capset")


def give_up_privileges() -> None:
    """Let permissions apply to root too: without capabilities it is an owner like any other."""
    if os.getuid() == 0:
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None).capset(header, none) != 0:
            raise OSError("the privileges of root cannot be given up")


def _refused_and_unharmed(ended: Ended, run: Path, world: World) -> Outcome:
    if ended.fault:
        return Outcome("traceback", ended.fault)
    if files_of(run) != files_of(world.root / "half" / "run"):
        return Outcome("wrong", "something was written where nothing may be")
    if ended.code == 0:
        return Outcome("wrong", f"it says that all went well: {ended.text[-300:]}")
    return Outcome("refused", ended.refusal)


# --- moved or removed --------------------------------------------------------------------------------------


def _gone(world: World, how: str, where: Path, rng: random.Random) -> Outcome:
    words = ("resume", "run", "--length", "60 steps")
    reference, _ = world.reference("gone", lambda folder: _resumed(world, folder, words))
    shutil.copytree(world.root / "half" / "run", where / "run")
    command = world.command(where, *words)
    until = time.monotonic() + 60
    while newest_step(where / "run") < 9 and command.running(0.01) and time.monotonic() < until:
        pass
    with contextlib.suppress(FileNotFoundError):
        _take_away(how, where)
    ended = command.wait()
    if ended.fault:
        return Outcome("traceback", f"{how}: {ended.fault}")
    if ended.code == 0 and how == "removed" and not (where / "run" / "config.json").exists():
        return Outcome("wrong", f"all is gone, and it says that all went well: {ended.text[-300:]}")
    if how == "removed":
        left = [path.name for path in where.iterdir() if path.name == "run"] if ended.code else []
        again = world.do(where, *words)
        return Outcome("traceback", again.fault) if again.fault else Outcome("refused", f"{ended.refusal} {left}")
    if (where / "elsewhere").exists():
        shutil.rmtree(where / "run", ignore_errors=True)
        (where / "elsewhere").rename(where / "run")
    again = world.do(where, *words)
    if again.fault or again.code:
        return Outcome("traceback" if again.fault else "lost", f"{how}: {again.text[-400:]}")
    other = run_differences(where / "run", reference / "run")
    return Outcome("wrong", str(other)) if other else Outcome("refused" if ended.code else "survived", ended.refusal)


def _resumed(world: World, folder: Path, words: tuple[str, ...]) -> Ended:
    shutil.copytree(world.root / "half" / "run", folder / "run")
    return world.must(folder, *words)


def _take_away(how: str, where: Path) -> None:
    if how == "moved":
        (where / "run").rename(where / "elsewhere")
    elif how == "removed":
        shutil.rmtree(where / "run", ignore_errors=True)
    else:
        shutil.rmtree(min((where / "run" / "training_checkpoints").glob("[0-9]*")), ignore_errors=True)


# --- no home, no output, no lock ---------------------------------------------------------------------------


def _homeless(world: World, home: str | None, where: Path, rng: random.Random) -> Outcome:
    """A user without a home, as in a container, or with one that cannot be written."""

    def leave() -> None:
        pwd.getpwuid = _unknown  # type: ignore[assignment]

    (where / "mine").mkdir()
    variables = dict.fromkeys(("GANSMITH_CACHE", "XDG_CACHE_HOME")) | {"HOME": home}
    words = (*TRAIN, "--length", "2 steps", "--run", "mine/run")
    ended = world.do(where, *words, before=leave, environment=variables, no_cache=True)
    if ended.fault:
        return Outcome("traceback", ended.fault)
    if ended.code == 0:
        return Outcome("survived")
    named = "GANSMITH_CACHE" in ended.refusal
    left = (where / "mine" / "run").exists()
    return Outcome("refused", ended.refusal) if named and not left else Outcome("wrong", f"{left}: {ended.text[-300:]}")


def _unknown(number: int) -> Any:
    raise KeyError(f"getpwuid(): uid not found: {number}")


def _unheard(world: World, words: tuple[str, ...], how: str, where: Path, rng: random.Random) -> Outcome:
    start = {"train": "fresh", "data": ""}.get(words[0], "half" if words[0] == "resume" else "whole")
    reference, _ = world.reference(f"unheard-{words[0]}", lambda folder: _done(world, words, start, folder))
    _prepared(world, words, start, where)
    options: dict[str, Any] = {}
    if how == "reader left":
        reader, options["output"] = os.pipe()
        os.close(reader)
    elif how == "full":
        options["output"] = os.open("/dev/full", os.O_WRONLY)
    else:
        options["before"] = _close_output
    ended = world.do(where, *words, **options)
    if "output" in options:
        os.close(options["output"])
    if ended.fault:
        return Outcome("traceback", f"{how}: {ended.fault}")
    if ended.code and how != "full":
        return Outcome("lost", f"{how}: {ended.text[-300:]}")
    if ended.code:
        again = world.do(where, *_again(words, where))
        if again.fault or again.code:
            return Outcome("traceback" if again.fault else "lost", f"{how}: {again.text[-300:]}")
    wrong = _wrong(words, where, reference)
    return Outcome("wrong", f"{how}: {wrong}") if wrong else Outcome("refused" if ended.code else "survived")


def _close_output() -> None:
    os.close(1)
    sys.stdout = None  # type: ignore[assignment]  # as Python itself does when it begins without one


def _done(world: World, words: tuple[str, ...], start: str, folder: Path) -> Ended:
    _prepared(world, words, start, folder)
    return world.must(folder, *words)


def _shut_lock(world: World, how: str, where: Path, rng: random.Random) -> Outcome:
    shutil.copytree(world.root / "half" / "run", where / "run")
    lock = where / "run" / ".lock"
    lock.unlink(missing_ok=True)
    options: dict[str, Any] = {}
    if how == "folder":
        lock.mkdir()
    elif how == "link":
        lock.symlink_to(where / "outside")
    elif not may_be_forbidden():
        return Outcome("skipped", "this user may write whatever the permissions say")
    else:
        lock.touch()
        lock.chmod(0)
        options["before"] = give_up_privileges
    ended = world.do(where, *RESUME, **options)
    if ended.fault:
        return Outcome("traceback", ended.fault)
    if ended.code == 0 or (where / "outside").exists():
        return Outcome("wrong", f"it went on: {ended.text[-300:]}")
    if how != "forbidden":
        lock.rmdir() if how == "folder" else lock.unlink()
        again = world.do(where, *RESUME)
        if again.code or run_differences(where / "run", world.root / "whole" / "run"):
            return Outcome("lost", again.text[-300:])
    return Outcome("refused", ended.refusal)

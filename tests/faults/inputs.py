"""Thousands of inputs that are almost right, given to everything that reads a file of somebody else's."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import tarfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutated
from PIL import Image
from world import STUDY, Outcome, Trial, World

KIND = "mutated inputs"
TABLES = tuple(f"GTSRB/Final_Training/Images/{label:05}/GT-{label:05}.csv" for label in (0, 14))
ARCHIVE = "cifar-10-binary.tar.gz"
EACH = 25  # inputs of one process
LIMIT_SECONDS = 20.0  # of the processor
LIMIT_BYTES = 3 * 2**30  # beyond what the process has when it begins
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP", "ppm": "PPM",
           "tga": "TGA", "ico": "ICO", "jp2": "JPEG2000", "sgi": "SGI", "pcx": "PCX"}  # fmt: skip
RUN_FILES = ("config.json", "data.json", "environment.json", "status.json", "stats.jsonl", "metrics.jsonl",
             "events.jsonl", "best/state.json", "training_checkpoints/000006/state.json")  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What reads an input.

    Args:
        name: of the kind of input.
        files: by their names, of a whole input.
        targets: which of them are changed.
        read: of the folder that they lie in.
        after: turns a changed file into what is written.
    """

    name: str
    files: dict[str, bytes]
    targets: tuple[str, ...]
    read: Callable[[Path], object]
    after: Callable[[str, bytes, dict[str, bytes]], dict[str, bytes]] | None = None


def trials(world: World, scale: float) -> Iterator[Trial]:
    """5,000 inputs at scale 1."""
    known = readers(world)
    batches = max(len(known), round(5000 * scale / EACH))
    for i in range(batches if scale >= 0.2 else max(8, batches // 4)):
        reader = known[(i * 7) % len(known)]
        yield Trial(KIND, reader.name, partial(_batch, reader))


def readers(world: World) -> list[Reader]:
    """All of them."""
    run = {path: (world.root / "measured" / "run" / path).read_bytes() for path in _files(world.root / "measured/run")}
    study = world.root / "studied" / "study"
    weights = tuple(name for name in run if name.endswith("tensors"))
    records = {name: (study / name).read_bytes() for name in ("study.json", "results.json") if study.exists()}
    return [
        *(Reader(f"image .{suffix}", {f"x.{suffix}": data}, (f"x.{suffix}",), _decode) for suffix, data in pictures()),
        Reader("folder with dataset.json", folder_files(), ("dataset.json", "a/1.png"), _prepare),
        Reader("zip", {"x.zip": zipped(folder_files())}, ("x.zip",), partial(_prepare, name="x.zip")),
        Reader("npz", {"x.npz": npz()}, ("x.npz",), partial(_prepare, name="x.npz")),
        Reader("npy in an npz", npz_members(), ("images.npy", "labels.npy"), partial(_prepare, name="x.npz"), _in_zip),
        Reader("idx", idx_files(), tuple(idx_files()), partial(_named, "mnist")),
        Reader("idx, packed", packed(idx_files()), tuple(packed(idx_files())), partial(_named, "mnist")),
        Reader("CIFAR-10, binary", cifar_binary(), tuple(cifar_binary()), partial(_named, "cifar10")),
        Reader("CIFAR-10, pickles", cifar_pickles(), tuple(cifar_pickles()), partial(_named, "cifar10")),
        Reader("tar, packed", {ARCHIVE: tarred(cifar_binary())}, (ARCHIVE,), partial(_named, "cifar10")),
        Reader("tar", {"cifar.tar": tarred(cifar_binary(), "w")}, ("cifar.tar",), _tar),
        Reader("GTSRB tables", gtsrb(), TABLES, partial(_named, "gtsrb")),
        Reader("study, TOML", {"x.toml": STUDY.encode()}, ("x.toml",), _study),
        Reader("options", {"x": json.dumps(options()).encode()}, ("x",), _options),
        Reader("run: JSON files", run, RUN_FILES, _run),
        Reader("run: state, sealed", run, RUN_FILES[-2:], _run, _sealed),
        Reader("run: weights", run, weights, _weights),
        Reader("run: weights, sealed", run, weights, _weights, _digested),
        Reader("run: page", run, (*RUN_FILES[:7], "images/real.png", "nearest.png"), _page),
        *([Reader("study: JSON files", records, tuple(records), _record)] if records else []),
        Reader("label table", tabled(), ("labels.csv",), _prepare),
        Reader("label table, JSONL", tabled(lines=True), ("metadata.jsonl",), _prepare),
    ]  # fmt: skip


def _files(folder: Path) -> list[str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return [path.relative_to(folder).as_posix() for path in found if path.suffix not in (".gif", ".mp4", ".html")]


# --- trying them -------------------------------------------------------------------------------------------


def _batch(reader: Reader, where: Path, rng: random.Random) -> Outcome:
    """Try inputs in a process with limits; what kills it is named."""
    log, seed, count = where / "log", rng.random(), EACH
    pid = os.fork()
    if pid == 0:
        try:
            _try_all(reader, where, random.Random(seed), log)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = [line for line in lines if line[0] != "begun"]
    bad = [line for line in done if line[0] == "traceback"]
    if len(done) < count:
        bad.append(["traceback", f"killed by {status} (memory or time) after: {lines[-1] if lines else 'nothing'}"])
    _keep_samples(reader, where, bad)
    tally = Counter(line[0] for line in done if line[0] != "traceback")
    if bad:
        return Outcome("traceback", bad[0][1][-1500:], sum(tally.values()) + len(bad), tally)
    worst = "refused" if tally["refused"] else "survived"
    return Outcome(worst, "", count, {name: num for name, num in tally.items() if name != worst})


def _keep_samples(reader: Reader, where: Path, bad: list[Any]) -> None:
    """Put what ended badly where it can be looked at, if $FAULTS_KEEP names a folder."""
    if bad and "FAULTS_KEEP" in os.environ:
        shutil.copytree(
            where, Path(os.environ["FAULTS_KEEP"]) / f"{reader.name}-{time.monotonic_ns()}".replace("/", "-")
        )


def _try_all(reader: Reader, where: Path, rng: random.Random, log: Path) -> None:
    from gansmith.cli.failures import format_failure

    os.environ["GANSMITH_CACHE"] = str(where / "cache")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1), os.dup2(silent, 2)
    used = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc").exists() else 0
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with log.open("w") as file:
        for i in range(EACH):
            folder = where / f"{i}"
            _write(reader, folder, rng)
            file.write(json.dumps(["begun", i]) + "\n"), file.flush()
            signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
            began = time.monotonic()
            try:
                reader.read(folder)
                line = ["survived", ""]
            except Exception as error:
                words = format_failure(error)
                line = ["refused", words] if words else ["traceback", f"input {i}: {traceback.format_exc()}"]
            signal.setitimer(signal.ITIMER_PROF, 0)
            file.write(json.dumps([*line, round(time.monotonic() - began, 2)]) + "\n"), file.flush()
            if line[0] != "traceback":
                shutil.rmtree(folder, ignore_errors=True)


def _write(reader: Reader, folder: Path, rng: random.Random) -> None:
    target = rng.choice(reader.targets)
    files = {**reader.files, target: mutated(reader.files.get(target, b"{}"), rng)}
    files = reader.after(target, files[target], files) if reader.after else files
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


# --- whole inputs ------------------------------------------------------------------------------------------


def pixels(num: int = 1, side: int = 12, channels: int = 3) -> Any:
    """uint8 [n h w c]."""
    return np.random.default_rng(0).integers(0, 256, (num, side, side, channels), np.uint8)


def encoded(kind: str) -> bytes:
    """A picture as a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels()[0]).save(stream, kind)
    return stream.getvalue()


def pictures() -> Iterator[tuple[str, bytes]]:
    """A suffix and a file of each format; and PNGs of 16 bits, of a palette, and with an orientation."""
    for suffix, kind in FORMATS.items():
        yield suffix, encoded(kind)
    for name, image in {
        "16.png": Image.fromarray(pixels()[0, :, :, 0].astype(np.uint16) * 257),
        "p.png": Image.fromarray(pixels()[0]).quantize(7),
        "1.tiff": Image.fromarray(pixels()[0]).convert("1"),
        "cmyk.jpeg": Image.fromarray(pixels()[0]).convert("CMYK"),
    }.items():
        stream, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        image.save(stream, FORMATS.get(name.split(".")[1], "TIFF" if "tiff" in name else "JPEG"), exif=exif)
        yield name, stream.getvalue()


def folder_files() -> dict[str, bytes]:
    """Two class folders, and labels in dataset.json."""
    files = {f"{folder}/{i}.png": encoded("PNG") for folder in "ab" for i in range(3)}
    return {**files, "dataset.json": json.dumps({"labels": [[name, name[0] == "b"] for name in files]}).encode()}


def tabled(lines: bool = False) -> dict[str, bytes]:
    """A flat folder, and labels in a table beside the images."""
    files = {f"{i}.png": encoded("PNG") for i in range(4)}
    if lines:
        rows = [json.dumps({"file_name": name, "label": int(name[0]) % 2}) for name in files]
        return {**files, "metadata.jsonl": "\n".join(rows).encode()}
    return {**files, "labels.csv": "\n".join(["id,label", *(f"{i},{'ab'[i % 2]}" for i in range(4))]).encode()}


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(files: dict[str, bytes], mode: Any = "w:gz") -> bytes:
    """A tar of files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def npz_members() -> dict[str, bytes]:
    """Images and labels, each as .npy."""
    return {"images.npy": npy(pixels(6)), "labels.npy": npy(np.arange(6) % 3)}


def npy(array: Any) -> bytes:
    """An array as a file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz() -> bytes:
    """Both in one file."""
    return zipped(npz_members())


def idx_files() -> dict[str, bytes]:
    """MNIST's training part, of eight images."""
    arrays = {
        "train-images-idx3-ubyte": pixels(8, 28, 1)[:, :, :, 0],
        "train-labels-idx1-ubyte": np.arange(8, dtype=np.uint8),
    }
    return {
        name: struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        for name, array in arrays.items()
    }


def packed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Each of them packed."""
    return {f"{name}.gz": gzip.compress(data) for name, data in files.items()}


def cifar_binary() -> dict[str, bytes]:
    """CIFAR-10's training part, of three images a batch."""
    record = np.hstack([np.arange(3, dtype=np.uint8)[:, None], pixels(3, 32).reshape(3, -1)]).tobytes()
    return {
        **{f"data_batch_{i}.bin": record for i in range(1, 6)},
        "batches.meta.txt": "\n".join("abcdefghij").encode(),
    }


def cifar_pickles() -> dict[str, bytes]:
    """The same as pickles."""
    batch = {"data": pixels(3, 32).reshape(3, -1), "labels": [0, 1, 2]}
    contents: dict[str, Any] = {f"data_batch_{i}": batch for i in range(1, 6)}
    contents["batches.meta"] = {"label_names": list("abcdefghij"), "num_vis": 3072}
    return {name: pickle.dumps(content, protocol=2) for name, content in contents.items()}


def gtsrb() -> dict[str, bytes]:
    """Two classes of the official layout."""
    files = {}
    for label in (0, 14):
        folder = f"GTSRB/Final_Training/Images/{label:05}"
        names = [f"{track:05}_{frame:05}.ppm" for track in range(3) for frame in range(2)]
        files |= {f"{folder}/{name}": encoded("PPM") for name in names}
        rows = [f"{name};12;12;2;3;11;9;{label}" for name in names]
        table = "\r\n".join(["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId", *rows, ""])
        files[f"{folder}/GT-{label:05}.csv"] = table.encode()
    return files


def options() -> dict[str, Any]:
    """Fields that a command line could set."""
    return {
        "batch_size": 8, "model.width": 8, "length": "12 steps", "loss": "hinge", "penalties": ["r1"], "seed": 1,
        "preparation.size": [16, 16], "samples.rows": 2, "tracking": {"num": 20, "metric": "kid"}, "augment": "fixed",
        "generator_optimizer.lr": 1e-3, "guard.num": 4, "model": {"name": "dcgan", "width": 8}, "preset": "dcgan-r1",
    }  # fmt: skip


# --- what reads them ---------------------------------------------------------------------------------------


def _decode(folder: Path) -> object:
    from gansmith.data.convert import to_pixels
    from gansmith.data.decode import decode

    (path,) = folder.iterdir()
    return to_pixels(decode(path.read_bytes()), (16, 16), 3).shape


def _prepare(folder: Path, name: str = "") -> object:
    from gansmith.data import resolve
    from gansmith.data.store import Preparation, prepare

    preparation = Preparation(size=(16, 16), max_unreadable=0.5)
    return len(prepare(resolve(str(folder / name)), preparation, cache=folder.parent / "stores" / folder.name))


def _named(name: str, folder: Path) -> object:
    from gansmith.data import resolve
    from gansmith.data.store import Preparation, prepare

    preparation = Preparation(size=(32, 32), max_unreadable=0.5)
    return len(prepare(resolve(name, folder), preparation, cache=folder.parent / "stores" / folder.name))


def _tar(folder: Path) -> object:
    from gansmith.data.tar import read_members

    return list(read_members(folder / "cifar.tar", set(cifar_binary()), 2**24))


def _study(folder: Path) -> object:
    from gansmith.study.plan import list_cells, read_study

    return list_cells(read_study(folder / "x.toml"))


def _options(folder: Path) -> object:
    from gansmith.component import to_plain
    from gansmith.errors import ConfigError
    from gansmith.plain_json import parse_json
    from gansmith.training.presets import configure

    try:
        plain = parse_json((folder / "x").read_text("utf-8", "replace"))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    plain = plain if isinstance(plain, dict) else {"model": plain}
    preset = plain.pop("preset", None)
    return to_plain(configure("digits", preset=preset if isinstance(preset, str) else "", overrides=plain))


def _run(folder: Path) -> object:
    """What resume, sample and the page read, without what they then do."""
    from gansmith import api
    from gansmith.training import session

    def read_only(*arguments: object, **named: object) -> None:
        return None

    session._train = read_only  # type: ignore[assignment]  # in a process that ends soon
    failures = []
    for verb in (
        lambda: session.go_on(folder, {}),
        lambda: api.open_run(folder).generator().sample(2),
        lambda: api.open_run(folder).measurements(),
        lambda: api.open_run(folder).status(),
        lambda: api.open_run(folder).stats(),
    ):
        failures += _attempted(verb)
    if failures:
        raise failures[0]
    return None


def _attempted(verb: Callable[[], object]) -> list[Exception]:
    """Run a verb; an error that is no line ends all."""
    from gansmith.cli.failures import format_failure

    try:
        verb()
    except Exception as error:
        if format_failure(error) is None:
            raise
        return [error]
    return []


def _weights(folder: Path) -> object:
    from gansmith import api
    from gansmith.devices import choose_compute
    from gansmith.runs import RunFolder
    from gansmith.training.checkpoint import load_state
    from gansmith.training.checkpoint_files import newest_checkpoint
    from gansmith.training.config import load_config
    from gansmith.training.data_facts import DataFacts
    from gansmith.training.state import TrainState

    run = RunFolder.open(folder)
    config, facts = load_config(run.config), DataFacts.read(run.data)
    state = TrainState.create(config, facts.spec(config.use_labels), choose_compute("cpu", "float32"), epoch_size=100)
    failures = _attempted(lambda: load_state(state, newest_checkpoint(run)[0]))
    failures += _attempted(lambda: api.open_run(folder).generator().sample(2))
    if failures:
        raise failures[0]
    return None


def _page(folder: Path) -> object:
    from gansmith.report import write_report

    return write_report(folder)


def _record(folder: Path) -> object:
    from gansmith.report import write_report
    from gansmith.study.folder import StudyFolder
    from gansmith.study.record import read_record

    failures = _attempted(lambda: read_record(StudyFolder(folder)))
    failures += _attempted(lambda: write_report(folder))
    if failures:
        raise failures[0]
    return None


# --- changed files with digests that are right, as somebody who means harm would make them -------------------


def _in_zip(target: str, data: bytes, files: dict[str, bytes]) -> dict[str, bytes]:
    return {"x.npz": zipped(files)}


def _sealed(target: str, data: bytes, files: dict[str, bytes]) -> dict[str, bytes]:
    from gansmith.plain_json import seal

    try:
        plain = json.loads(data)
        return {**files, target: seal({name: value for name, value in plain.items() if name != "seal"}).encode()}
    except (ValueError, AttributeError, RecursionError):
        return files


def _digested(target: str, data: bytes, files: dict[str, bytes]) -> dict[str, bytes]:
    import hashlib

    home, _, name = target.rpartition("/")
    plain = json.loads(files[f"{home}/state.json"])
    plain["files"][name] = hashlib.sha256(data).hexdigest()
    return _sealed(f"{home}/state.json", json.dumps(plain).encode(), {**files, target: data})

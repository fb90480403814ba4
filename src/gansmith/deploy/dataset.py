"""Labelled data sets of generated images: equally many of each class, or what rare classes of real data lack."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from gansmith.console import make_console, work_progress
from gansmith.data.class_names import find_class
from gansmith.data.integrity import hash_tensors
from gansmith.data.source import Source
from gansmith.data.split_names import is_split
from gansmith.deploy.containers import Container, LabelledPicture, open_container
from gansmith.errors import ConfigError
from gansmith.evaluation.inputs import load_extractor
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import open_own_images
from gansmith.images.pixels import png_bytes
from gansmith.metrics.classifier import Classifier
from gansmith.metrics.copies import Originals
from gansmith.metrics.features import FeatureNetwork, Selection
from gansmith.runs import RunFolder
from gansmith.sampling.generator import MOST_SEED, TrainedGenerator
from gansmith.training.snapshots import Which, find_snapshot, load_generator
from gansmith.types import PixelArray

__all__ = ["DatasetExport", "DatasetOptions", "count_real", "export_data", "name_folders", "plan_classes"]

FIRST_SEED = 10_000_000  # above the seeds of training's metrics and of evaluations
BATCH_SIZE = 32  # of every pass: a seed's image does not depend on how many are wanted
MOST_TRIES = 50  # candidates for each image that is wanted, before a class is given up
LONGEST_NAME = 100  # characters of a class's folder


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """What to generate.

    Args:
        per_class: images of each class; None without a number means ``balance``.
        balance: real images whose rare classes are filled up.
        target: images of each class, real and generated together; None takes the largest class of ``balance``.
        seed: the first seed.
        truncation: factor of the latents, in (0, 1].
        least_probability: keep an image only if a classifier of the run's training images gives its class at least
            this probability; 0 keeps all.
        drop_copies: leave out near copies of the run's training images.
        container: class folders, a zip, or WebDataset's shards.
        shard_size: images of a shard.
        replace: replace an earlier export.
        snapshot: "best" or "last".
        ema: use the averaged weights.
    """

    per_class: int | None = None
    balance: Source | None = None
    target: int | None = None
    seed: int = FIRST_SEED
    truncation: float = 1.0
    least_probability: float = 0.0
    drop_copies: bool = False
    container: Container = "folder"
    shard_size: int = 1000
    replace: bool = False
    snapshot: Which = "best"
    ema: bool = True

    def __post_init__(self) -> None:
        if (self.per_class is None) == (self.balance is None):
            raise ConfigError("export data: expected one of --per_class N and --balance DATA")
        if self.target is not None and self.balance is None:
            raise ConfigError("--target: only with --balance DATA; otherwise use --per_class N")
        for name, least, most in (("per_class", 1, 10**7), ("target", 1, 10**7), ("shard_size", 1, 10**7)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(f"--{name}: {value} is out of range; expected {least} to {most:,}")
        if not 0 <= self.least_probability < 1:
            raise ConfigError(f"--least_probability: {self.least_probability} is out of range; expected 0 to below 1")
        if not 0 < self.truncation <= 1:
            raise ConfigError(f"--truncation: {self.truncation} is out of range; expected more than 0 and at most 1")
        if not 0 <= self.seed <= MOST_SEED // 2:
            raise ConfigError(f"--seed: {self.seed} is out of range; expected 0 to {MOST_SEED // 2}")


@dataclass(frozen=True, kw_only=True)
class DatasetExport:
    """What was written.

    Args:
        path: the folder or file.
        class_names: names of the classes.
        wanted: images wanted of each class.
        written: images written of each class.
        tried: candidates of each class.
        unlike: candidates dropped by the classifier.
        copies: candidates dropped as copies.
    """

    path: Path
    class_names: tuple[str, ...]
    wanted: tuple[int, ...]
    written: tuple[int, ...]
    tried: tuple[int, ...]
    unlike: int
    copies: int

    def lines(self) -> Iterator[str]:
        """Yield what a user should know, line by line."""
        present = sum(1 for num in self.written if num)
        yield f"{sum(self.written):,} images of {present} classes: {self.path}"
        if self.unlike or self.copies:
            dropped = f"{self.unlike:,} not called by their class, {self.copies:,} near copies of training images"
            yield f"dropped {self.unlike + self.copies:,} of {sum(self.tried):,}: {dropped}"
        for name, wanted, written in zip(self.class_names, self.wanted, self.written, strict=True):
            if written < wanted:
                yield f"class {name}: only {written:,} of {wanted:,}; lower --least_probability, or train longer"


@dataclass(kw_only=True, eq=False)
class _Sieve:
    """Which candidates are kept.

    Args:
        judge: gives the probability of the class; None keeps all.
        least: smallest probability.
        originals: training images; None looks for no copies.
    """

    judge: FeatureNetwork | None
    least: float
    originals: Originals | None
    unlike: int = field(default=0, init=False)
    copies: int = field(default=0, init=False)

    def sift(self, images: PixelArray, label: int) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
        """Return which images are kept, bool [n], and the probabilities of their class, [n]."""
        kept, probability = np.ones(len(images), np.bool_), None
        if self.judge is not None:
            with torch.no_grad():
                _, logits = self.judge(torch.from_numpy(images).permute(0, 3, 1, 2))
            assert logits is not None
            probability = logits.cpu().double().softmax(dim=1)[:, label].numpy()
            kept = probability >= self.least
            self.unlike += int((~kept).sum())
        if self.originals is not None and kept.any():
            copied = np.zeros(len(images), np.bool_)
            copied[kept] = self.originals.find_copies(images[kept])
            self.copies += int(copied.sum())
            kept = kept & ~copied
        return kept, probability


def export_data(folder: RunFolder, out: Path, options: DatasetOptions, console: Console | None = None) -> DatasetExport:
    """Write a labelled data set of a run's generator, with a manifest of each image's seed.

    Args:
        folder: the run.
        out: the folder or zip to write.
        options: what to generate.
        console: for progress bars.

    Raises:
        ConfigError: the model has no classes, the classes differ, or ``out`` exists.
        RunError: the run cannot be used, or its training images are needed and missing.
    """
    console = console or make_console()
    generator = load_generator(folder, find_snapshot(folder, options.snapshot, ema=options.ema))
    if not generator.spec.num_classes:
        raise ConfigError(f"{folder.path}: trained without labels, so its images have no class; use: gansmith sample")
    wanted = plan_classes(generator, options)
    written, tried = [0] * len(wanted), [0] * len(wanted)
    with open_container(out, options.container, replace=options.replace, shard_size=options.shard_size) as add:
        sieve = _open_sieve(folder, options, console)
        source = _Source(generator=generator, options=options, sieve=sieve)
        with work_progress("generating images", console) as progress:
            for label, num in enumerate(wanted):
                for picture, candidates in source.pictures(label, num):
                    tried[label] = candidates
                    if picture is not None:
                        add(picture)
                        written[label] += 1
                        progress(sum(written), sum(wanted))
    return DatasetExport(
        path=out,
        class_names=generator.class_names,
        wanted=tuple(wanted),
        written=tuple(written),
        tried=tuple(tried),
        unlike=sieve.unlike,
        copies=sieve.copies,
    )


def plan_classes(generator: TrainedGenerator, options: DatasetOptions) -> list[int]:
    """Return how many images of each class to generate; none of classes that had no training images.

    Raises:
        ConfigError: the real images have no labels, or a class that the generator does not know, or lack nothing.
    """
    known = [num > 0 for num in generator.class_counts] or [True] * generator.spec.num_classes
    if options.balance is None:
        return [(options.per_class or 0) * there for there in known]
    counts = count_real(options.balance, generator.class_names)
    target = options.target or max(counts)
    wanted = [max(0, target - num) * there for num, there in zip(counts, known, strict=True)]
    if not any(wanted):
        title = options.balance.title
        raise ConfigError(f"--balance: every class of {title} has {target} images or more; raise --target, or omit it")
    return wanted


def count_real(source: Source, class_names: Sequence[str]) -> list[int]:
    """Return the number of real images of each of these classes.

    Raises:
        ConfigError: the images have no labels, or another class.
        DataError: they cannot be read.
    """
    records = source.records()
    if records.labels is None:
        raise ConfigError(f"--balance: {source.title} has no labels, so its classes cannot be counted")
    counts = [0] * len(class_names)
    for number, num in enumerate(np.bincount(records.labels, minlength=len(records.class_names)).tolist()):
        if num:
            counts[find_class(class_names, records.class_names[number], "--balance")] += num
    return counts


def name_folders(class_names: Sequence[str]) -> list[str]:
    """Return a folder name for each class: its name, if every system accepts it and it is no other class's."""
    names: list[str] = []
    for number, name in enumerate(class_names):
        plain = re.fullmatch(r"\w(?:[\w ().,+-]*[\w)+-])?", name) is not None and len(name) <= LONGEST_NAME
        taken = name.casefold() in (other.casefold() for other in (*class_names[:number], *class_names[number + 1 :]))
        short = re.sub(r"[^\w-]+", "-", name).strip("-.")[:LONGEST_NAME]
        usable = plain and not taken and not is_split(name)
        names.append(name if usable else f"class{number:04d}{'-' if short else ''}{short}")
    return names


def _open_sieve(folder: RunFolder, options: DatasetOptions, console: Console) -> _Sieve:
    if not options.least_probability and not options.drop_copies:
        return _Sieve(judge=None, least=0.0, originals=None)
    evaluation = EvaluationOptions(extractor=Classifier())
    real = open_own_images(folder, evaluation, console)
    judge = load_extractor(real, evaluation, console) if options.least_probability else None
    originals = Originals.of(Selection(real.store.images, real.indices)) if options.drop_copies else None
    return _Sieve(judge=judge, least=options.least_probability, originals=originals)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """Pictures of a generator, class by class.

    Args:
        generator: the generator.
        options: what to generate.
        sieve: which candidates are kept.
    """

    generator: TrainedGenerator
    options: DatasetOptions
    sieve: _Sieve

    def pictures(self, label: int, num: int) -> Iterator[tuple[LabelledPicture | None, int]]:
        """Yield ``num`` pictures of a class, each with the number of candidates so far; None if a batch has none."""
        found = 0
        for start in range(0, MOST_TRIES * num, BATCH_SIZE):
            seeds = self._seeds(label, start)
            z, labels = self.generator.draw(seeds, label)
            images = self.generator.images(z * self.options.truncation, labels)
            kept, probability = self.sieve.sift(images, label)
            if not kept.any():
                yield None, start + BATCH_SIZE
            for i in np.flatnonzero(kept)[: num - found].tolist():
                judged = {} if probability is None else {"probability": round(float(probability[i]), 6)}
                yield self._picture(images[i], seeds[i], label, judged), start + BATCH_SIZE
                found += 1
            if found == num:
                return

    def _seeds(self, label: int, start: int) -> list[int]:
        """Return the seeds of a batch; each class has its own, whatever is kept of the others."""
        num_classes = self.generator.spec.num_classes
        return [self.options.seed + (start + i) * num_classes + label for i in range(BATCH_SIZE)]

    def _picture(self, image: PixelArray, seed: int, label: int, judged: Mapping[str, float]) -> LabelledPicture:
        facts = {
            "seed": seed,
            "label": label,
            "class_name": self._names[label],
            "truncation": self.options.truncation,
            **judged,
            "generator": self._weights,
        }
        content = png_bytes(image)
        return LabelledPicture(class_folder=self._folders[label], stem=f"seed{seed:010d}", content=content, facts=facts)

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        return self.generator.class_names or tuple(map(str, range(self.generator.spec.num_classes)))

    @functools.cached_property
    def _folders(self) -> list[str]:
        return name_folders(self._names)

    @functools.cached_property
    def _weights(self) -> str:
        return hash_tensors(self.generator.network.state_dict())

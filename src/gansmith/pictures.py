"""Which pictures a training leaves behind, and how they become frames of its animation."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from gansmith.component import Component, PositiveInt
from gansmith.errors import ConfigError
from gansmith.images import grid, labelled_rows, save_png
from gansmith.runs import RunFolder
from gansmith.sample import TrainedGenerator
from gansmith.schedules import Duration, Progress
from gansmith.types import PixelArray

__all__ = ["SAMPLES", "PictureWriter", "SampleFiles", "SampleGrid", "filled", "read_frame", "written"]


@dataclass(frozen=True, kw_only=True)
class PictureWriter(Component):
    """Pictures of fixed seeds, written again and again as training goes on.

    Args:
        every: how often.
        at_start: also before the first step.
        filename: of the pictures; {epoch}, {step}, {nimg} and {kimg} are filled in.
    """

    table: ClassVar[str] = "gansmith.pictures:SAMPLES"

    every: Duration = Duration(5, "%")
    at_start: bool = True
    filename: str = "fakes_{nimg:09}.png"

    @abstractmethod
    def write(self, generator: TrainedGenerator, progress: Progress, run: RunFolder) -> Path:
        """Write the pictures of now; returns one of them, to be shown."""

    @abstractmethod
    def frames(self, run: RunFolder) -> list[list[Path]]:
        """The files of each moment, oldest first."""


@dataclass(frozen=True, kw_only=True)
class SampleGrid(PictureWriter):
    """One sheet of images; for a conditional model, a named row a class with the same latent down each column.

    Args:
        rows: of images, for an unconditional model.
        columns: images a row.
    """

    rows: PositiveInt = 8
    columns: PositiveInt = 8

    def write(self, generator: TrainedGenerator, progress: Progress, run: RunFolder) -> Path:
        path = run.images / filled(self.filename, progress)
        return save_png(self.sheet(generator), path)

    def sheet(self, generator: TrainedGenerator) -> PixelArray:
        """The sheet that would be written now, uint8 [H W c]."""
        num_classes = generator.spec.num_classes
        if not num_classes:
            return grid(generator.sample(self.rows * self.columns).images, self.columns)
        z, _ = generator.draw(range(self.columns))
        labels = torch.arange(num_classes).repeat_interleave(self.columns)
        images = generator.images(z.repeat(num_classes, 1), labels)
        return labelled_rows(np.split(images, num_classes), generator.class_names)

    def frames(self, run: RunFolder) -> list[list[Path]]:
        return [[path] for path in written(self.filename, run.images)]


@dataclass(frozen=True, kw_only=True)
class SampleFiles(PictureWriter):
    """One file an image, straight in the run folder, as document 004 names them.

    Args:
        num: images.
        filename: as for all; {index} is the image's number.
    """

    filename: str = "generated_image_epoch_{epoch:03}_{index}.png"
    num: PositiveInt = 32

    def write(self, generator: TrainedGenerator, progress: Progress, run: RunFolder) -> Path:
        if "{index" not in self.filename:
            raise ConfigError(
                f"config.samples.filename: {self.filename!r} lacks {{index}}, which tells the files apart"
            )
        images = generator.sample(self.num).images
        paths = [run.path / filled(self.filename, progress, index=i) for i in range(self.num)]
        for image, path in zip(images, paths, strict=True):
            save_png(image, path)
        return paths[0]

    def frames(self, run: RunFolder) -> list[list[Path]]:
        first = written(self.filename.replace("{index}", "0"), run.path)
        return [[path.with_name(re.sub(r"0(?=\.png$)", str(i), path.name)) for i in range(self.num)] for path in first]


_FIELD = re.compile(r"\{(\w+)(?::0(\d))?\}")  # {epoch} or {epoch:03}; never str.format, which follows attributes


def filled(name: str, progress: Progress, **more: int) -> str:
    """A file name with its fields filled in.

    Raises:
        ConfigError: an unknown field, or a name that leaves the folder.
    """
    # A rounding error must not make 9.9999999 epochs the ninth.
    epoch = int(progress.epoch + 1e-6)
    numbers = {"epoch": epoch, "step": progress.step, "nimg": progress.nimg, "kimg": progress.nimg // 1000, **more}
    unknown = [field for field, _ in _FIELD.findall(name) if field not in numbers]
    text = _FIELD.sub(lambda match: str(numbers.get(match[1], "")).zfill(int(match[2] or 0)), name)
    if unknown or re.search(r"[{}/\\]", text) or not text.endswith(".png"):
        fields = ", ".join(f"{{{field}}}" for field in numbers)
        raise ConfigError(f"config.samples.filename: {name!r} is no file name; write x.png with any of {fields} in it")
    return text


def written(name: str, folder: Path) -> list[Path]:
    """The files of such names that are there, in the order of their numbers."""
    paths = folder.glob(re.sub(r"\{[^}]*\}", "*", name))
    return sorted(paths, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def read_frame(paths: list[Path]) -> PixelArray:
    """One frame, uint8 [H W 3]: a sheet as it is, single files side by side."""
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return images[0] if len(images) == 1 else grid(np.stack(images))


SAMPLES: dict[str, type[PictureWriter] | str] = {"grid": SampleGrid, "files": SampleFiles}

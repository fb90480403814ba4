"""The sample pictures of a training, and the curves and the animation at its end."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from PIL import Image

from gansmith.component import (
    Between,
    Component,
)
from gansmith.errors import ConfigError, tell
from gansmith.images.pixels import on_white, save_png
from gansmith.images.plots import plot_losses
from gansmith.images.sheets import SheetRows, choose_classes, grid, num_present
from gansmith.images.video import can_write_mp4, thin_frames, write_animation
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.schedules import Duration, Progress
from gansmith.types import PixelArray

__all__ = [
    "SAMPLES",
    "PictureWriter",
    "SampleFiles",
    "SampleGrid",
    "fill_filename",
    "find_pictures",
    "read_frame",
    "read_frames",
    "write_final_pictures",
]


@dataclass(frozen=True, kw_only=True)
class PictureWriter(Component):
    """Writes pictures of fixed seeds at intervals.

    Args:
        every: how often.
        at_start: whether pictures are written before the first step too.
        filename: of the pictures; {epoch}, {step}, {nimg} and {kimg} are filled in.
    """

    table: ClassVar[str] = "gansmith.training.sample_sheets:SAMPLES"

    every: Duration = Duration(5, "%")
    at_start: bool = True
    filename: str = "fakes_{nimg:09}.png"

    @abstractmethod
    def write(self, generator: TrainedGenerator, progress: Progress, run: RunFolder) -> Path:
        """Write pictures of the current generator; return the path of one of them."""

    @abstractmethod
    def frames(self, run: RunFolder) -> list[list[Path]]:
        """Return the files of each moment, oldest first."""


@dataclass(frozen=True, kw_only=True)
class SampleGrid(PictureWriter):
    """One sheet of images; for a conditional model, one named row per class, with the same latent down each column.

    At most 100 classes are shown, evenly spaced. A class without training images has no row.

    Args:
        rows: of images, for an unconditional model.
        columns: images per row.
    """

    rows: Annotated[int, Between(1, 100)] = 8
    columns: Annotated[int, Between(1, 100)] = 8

    def write(self, generator: TrainedGenerator, progress: Progress, run: RunFolder) -> Path:
        return self.draw_rows(generator).save(run.images / fill_filename(self.filename, progress))

    def draw_rows(self, generator: TrainedGenerator) -> SheetRows:
        """Return the images of the sheet that would be written now."""
        num_classes = generator.spec.num_classes
        if not num_classes:
            images = generator.sample(self.rows * self.columns).images
            return SheetRows(images=images.reshape(self.rows, self.columns, *images.shape[1:]))
        shown = choose_classes(num_classes, generator.class_counts)
        z, _ = generator.draw(range(self.columns))
        labels = torch.tensor(shown).repeat_interleave(self.columns)
        images = generator.images(z.repeat(len(shown), 1), labels)
        return SheetRows(
            images=images.reshape(len(shown), self.columns, *images.shape[1:]),
            classes=tuple(shown),
            class_names=generator.class_names,
            num_present=num_present(num_classes, generator.class_counts),
        )

    def frames(self, run: RunFolder) -> list[list[Path]]:
        return find_pictures(self.filename, run.images)


@dataclass(frozen=True, kw_only=True)
class SampleFiles(PictureWriter):
    """One file per image, in the run folder itself.

    Args:
        num: number of images.
        filename: as in ``PictureWriter``; {index} is the image's number.
    """

    filename: str = "generated_image_epoch_{epoch:03}_{index}.png"
    num: Annotated[int, Between(1, 10_000)] = 32

    def write(self, generator: TrainedGenerator, progress: Progress, run: RunFolder) -> Path:
        if "{index" not in self.filename:
            raise ConfigError(
                f"config.samples.filename: {self.filename!r} lacks {{index}}, which tells the files apart"
            )
        images = generator.sample(self.num).images
        paths = [run.path / fill_filename(self.filename, progress, index=i) for i in range(self.num)]
        for image, path in zip(images, paths, strict=True):
            save_png(image, path)
        return paths[0]

    def frames(self, run: RunFolder) -> list[list[Path]]:
        return find_pictures(self.filename, run.path)


_FIELD = re.compile(r"\{(\w+)(?::0(\d))?\}")  # {epoch} or {epoch:03}; never str.format, which follows attributes


def fill_filename(name: str, progress: Progress, **more: int) -> str:
    """Return a file name with its fields filled in.

    Raises:
        ConfigError: an unknown field, or a name that leaves the folder.
    """
    counts = {"nimg": progress.nimg, "kimg": progress.nimg // 1000}
    numbers = {"epoch": int(progress.epoch), "step": progress.step, **counts, **more}
    unknown = [field for field, _ in _FIELD.findall(name) if field not in numbers]
    text = _FIELD.sub(lambda match: str(numbers.get(match[1], "")).zfill(int(match[2] or 0)), name)
    if unknown or re.search(r"[{}/\\]", text) or not text.endswith(".png"):
        fields = ", ".join(f"{{{field}}}" for field in numbers)
        raise ConfigError(f"config.samples.filename: {name!r} is no file name; write x.png with any of {fields} in it")
    return text


def find_pictures(name: str, folder: Path) -> list[list[Path]]:
    """Return the existing files with names of this form: one list per moment, oldest first, by {index} within."""
    fields = [field for field, _ in _FIELD.findall(name)]
    plain_parts = [re.escape(part) for part in re.split(r"\{[^}]*\}", name)]
    pattern = re.compile(r"(\d+)".join(plain_parts))
    moments: dict[tuple[int, ...], list[tuple[int, Path]]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match:
            numbers = dict(zip(fields, map(int, match.groups()), strict=True))
            index = numbers.pop("index", 0)
            moments.setdefault(tuple(numbers.values()), []).append((index, path))
    return [[path for _, path in sorted(files)] for _, files in sorted(moments.items())]


def read_frame(paths: list[Path]) -> PixelArray:
    """Return one frame, uint8 [H W 3]: a sheet as it is, single files side by side."""
    images = [on_white(np.asarray(Image.open(path).convert("RGBA"))) for path in paths]
    return images[0] if len(images) == 1 else grid(np.stack(images))


def read_frames(moments: Iterable[list[Path]]) -> Iterator[PixelArray]:
    """Yield the frames of several moments; leave damaged pictures out, with a note."""
    for paths in moments:
        try:
            yield read_frame(paths)
        except Exception as error:  # a damaged file makes Pillow raise nearly anything, as SyntaxError
            tell(f"{paths[0]}: this picture is damaged ({error}); the animation leaves it out")


def write_final_pictures(run: RunFolder, samples: PictureWriter) -> None:
    """Write the curves of the losses, and an animation of the samples, so far as there are any."""
    records = run.read_stats()
    if records:
        plot_losses(records, run.curves)
    frames = _resize_to_last(list(read_frames(thin_frames(samples.frames(run)))))
    if frames:
        for suffix in ("gif", "mp4") if can_write_mp4() else ("gif",):
            write_animation(frames, run.animation(suffix))


def _resize_to_last(frames: Sequence[PixelArray]) -> list[PixelArray]:
    """Return frames of one size: earlier versions did not enlarge the sheets of small images."""
    return [
        frame
        if frame.shape == frames[-1].shape
        else np.asarray(Image.fromarray(frame).resize(frames[-1].shape[1::-1], Image.Resampling.NEAREST))
        for frame in frames
    ]


SAMPLES: dict[str, type[PictureWriter] | str] = {"grid": SampleGrid, "files": SampleFiles}

"""What Python and the command line share: train, resume, open a run."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from gansmith.component import override_as_user
from gansmith.console import work_progress
from gansmith.data.outside import GivenImages, fit_images
from gansmith.deploy.app.beside import show_training
from gansmith.errors import ConfigError, RunError
from gansmith.evaluation import EvaluationOptions, evaluate
from gansmith.evaluation.exploration import ExplorationOptions
from gansmith.evaluation.nearest import Neighbours, find_run_neighbours
from gansmith.images.tables import ImageTable
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import read_json, read_lines
from gansmith.report import ReportPath, write_exploration, write_report
from gansmith.runs import RunFolder
from gansmith.sampling import directions, sweeps, walks
from gansmith.sampling.frames import WalkFrames
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.sampling.paths import Method
from gansmith.sampling.projection import Search, choose_backbone, project
from gansmith.sampling.projections import Projections
from gansmith.schedules import Duration
from gansmith.threads import share_cores
from gansmith.training import session, snapshots
from gansmith.training.config import Config, load_config
from gansmith.training.keywords import UNITS, Fields, expand_short_names, refuse_unknown_fields
from gansmith.training.presets import configure
from gansmith.training.preview import Preview
from gansmith.types import Labels, Latents
from gansmith.utility.options import UtilityOptions
from gansmith.utility.results import UtilityResults
from gansmith.utility.run import measure_utility

__all__ = ["Run", "open_run", "preview", "resume", "train"]

KEYWORDS = ("data", "root", "preset", "run", "length", *UNITS, "size", "resolution", "lr", "seed", "app", "overrides")


@dataclass(frozen=True)
class Run:
    """A run: its folder, its configuration, its statistics, its generator; displays itself in a notebook."""

    folder: RunFolder

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def config(self) -> Config:
        """What it was trained with."""
        return load_config(self.folder.config)

    def status(self) -> dict[str, Any]:
        """What status.json says: "state" is running, finished, stopped or failed; "step" and "nimg" how far."""
        try:
            return dict(read_json(self.folder.status))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{self.folder.status}: cannot be read ({error}); resume the run to write it again"
            ) from error

    def stats(self) -> list[dict[str, Any]]:
        """The lines of stats.jsonl."""
        return self.folder.read_stats()

    def generator(
        self, *, snapshot: snapshots.Which = "best", ema: bool = True, device: str = "cpu"
    ) -> TrainedGenerator:
        """The best generator that was kept, else that of the newest checkpoint.

        Args:
            snapshot: "last" for the newest checkpoint's, however good it is.
            ema: the averaged weights where there are any, else those of the newest checkpoint's last step.
            device: where it runs.

        Raises:
            RunError: no checkpoint, or a damaged one.
        """
        found = snapshots.find_snapshot(self.folder, snapshot, ema=ema)
        return snapshots.load_generator(self.folder, found, device=device)

    def measurements(self) -> list[Measurement]:
        """The lines of metrics.jsonl: what was tracked while training, and evaluations."""
        return list(read_lines(self.folder.metrics, Measurement.from_plain))

    def evaluate(self, against: str | Path | None = None, **options: Any) -> Measurement:
        """Measure its images against what it was trained on, or other images; see ``gansmith.evaluate``."""
        return evaluate(self.path, against, **options)

    def report(self, out: Path | None = None) -> ReportPath:
        """Write one self-contained HTML page about it, report.html in its folder if not told otherwise."""
        return write_report(self.path, out)

    def interpolate(
        self,
        from_seed: int = 0,
        to_seed: int = 1,
        *,
        steps: int = 8,
        method: Method = "slerp",
        label: int | str | None = None,
    ) -> Samples:
        """Images between two seeds' latents; see ``gansmith.sampling.walks.interpolate``."""
        return walks.interpolate(self.generator(), from_seed, to_seed, steps=steps, method=method, label=label)

    def chain(self, seeds: Sequence[int], labels: Sequence[int | str] = (), **options: Any) -> WalkFrames:
        """Images on a walk through several seeds and classes; see ``gansmith.sampling.walks.chain``."""
        generator = self.generator()
        return walks.chain(generator, seeds, labels, **options).draw(generator)

    def chain_latents(
        self, latents: Latents, labels: Labels | NDArray[np.int64] | None = None, **options: Any
    ) -> WalkFrames:
        """Images on a walk through latents, such as those of ``project``; see ``walks.chain_latents``."""
        generator = self.generator()
        return walks.chain_latents(generator, latents, labels, **options).draw(generator)

    def random_walk(self, seed: int = 0, labels: Sequence[int | str] = (), **options: Any) -> WalkFrames:
        """Images on a smooth random walk from a seed and back; see ``gansmith.sampling.walks.random_walk``."""
        generator = self.generator()
        return walks.random_walk(generator, seed, labels, **options).draw(generator)

    def sweep_classes(self, labels: Sequence[int | str] = (), **options: Any) -> ImageTable:
        """A table of classes and seeds; see ``gansmith.sampling.sweeps.sweep_classes``."""
        return sweeps.sweep_classes(self.generator(), labels, **options)

    def sweep_truncation(self, truncations: Sequence[float] = sweeps.TRUNCATIONS, **options: Any) -> ImageTable:
        """A table of seeds and truncations; see ``gansmith.sampling.sweeps.sweep_truncation``."""
        return sweeps.sweep_truncation(self.generator(), truncations, **options)

    def mix_layers(self, labels: Sequence[int | str] = (), **options: Any) -> ImageTable:
        """Samples with layers of other samples; see ``gansmith.sampling.sweeps.mix_layers``."""
        return sweeps.mix_layers(self.generator(), labels, **options)

    def directions(
        self, method: directions.DirectionsMethod = "features", num: int = 6, **options: Any
    ) -> directions.Directions:
        """Directions that change images most; see ``gansmith.sampling.directions.find_directions``."""
        return directions.find_directions(self.generator(), method, num, **options)

    def project(
        self,
        images: GivenImages,
        *,
        label: int | str | Sequence[int] | None = None,
        num_candidates: int = Search.num_candidates,
        starts: int = Search.starts,
        steps: int = Search.steps,
        seed: int = Search.seed,
    ) -> Projections:
        """Find latents whose images are like these; see ``gansmith.sampling.projection.project``.

        Args:
            images: one or several: the path of an image file, its bytes, a Pillow image, or a uint8 array [h w c].
                They are fitted as the training images were.
            label: class number or name of all, or one number for each; None tries every class.
            num_candidates: random latents whose images are compared with each image first.
            starts: best candidates of each image that are improved.
            steps: of Adam, for each image.
            seed: seed of the first candidate.

        Raises:
            DataError: an image cannot be read.
            ConfigError: an argument does not fit.
        """
        config, generator = self.config, self.generator()
        search = Search(
            num_candidates=num_candidates,
            starts=starts,
            steps=steps,
            seed=seed,
            backbone=choose_backbone(config.backbones),
        )
        fitted = fit_images(images, generator.spec, config.preparation)
        with work_progress("projecting") as progress:
            return project(generator, fitted, label=label, search=search, progress=progress)

    def utility(self, *, out: Path | None = None, **options: Any) -> UtilityResults:
        """Test whether its images help to train a classifier of real ones.

        Args:
            out: the folder to write; default: ``utility`` in the run's folder.
            options: fields of ``gansmith.utility.options.UtilityOptions``, such as ``seeds=3``.

        Raises:
            GansmithError: the real images have no labels, or the run was trained on the test images.
            KeyboardInterrupt: it was stopped; the same call continues.
        """
        results = measure_utility(self.folder, UtilityOptions(**options), out)
        if results is None:
            raise KeyboardInterrupt
        return results

    def nearest(
        self,
        num: int = 8,
        *,
        neighbours: int = 5,
        seed: int = 0,
        label: int | str | None = None,
        extractor: str | None = None,
    ) -> Neighbours:
        """Find the training images that samples are nearest to; see ``gansmith.evaluation.nearest``.

        Args:
            num: number of samples.
            neighbours: training images for each.
            seed: of the first sample.
            label: class of the samples; None draws classes in the data's proportions.
            extractor: a name from ``gansmith list extractors``; None takes the one that evaluates the run.

        Raises:
            RunError: the training images are missing or have changed.
        """
        options = EvaluationOptions.of(overrides={"extractor": extractor})
        samples = self.generator().sample(num, seed=seed, label=label)
        return find_run_neighbours(self.folder, samples, neighbours, options)

    def explore(self, out: Path | None = None, options: ExplorationOptions | None = None) -> ReportPath:
        """Write one HTML page about its latent space, explore.html in its folder if not told otherwise."""
        with share_cores():
            return write_exploration(self.path, out, options)

    def _repr_html_(self) -> str:
        status = self.status()
        words = f"<b>{html.escape(str(self.path))}</b> · {status['state']} · {status.get('nimg', 0) / 1000:.0f} kimg"
        moving = self.folder.animation("gif")
        pictures = [moving] if moving.exists() else sorted(self.folder.images.glob("*.png"))[-1:]
        return words + "".join(f"<br>{_image_tag(picture)}" for picture in pictures)


def open_run(path: str | Path) -> Run:
    """An existing run, or a trained generator of the zoo.

    Args:
        path: its folder, ``zoo:NAME`` (``gansmith list zoo`` shows the names), or ``hf:user/name@revision``.

    Raises:
        RunError: no run is there.
    """
    return Run(RunFolder.open(Path(path)))


def train(
    data: str | Path | Config | None = None,
    *,
    root: str | Path | None = None,
    preset: str | None = None,
    run: str | Path | None = None,
    length: Duration | str | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    kimg: float | None = None,
    size: str | int | None = None,
    resolution: str | int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    app: bool | int = False,
    overrides: Mapping[str, Any] | None = None,
    **fields: Unpack[Fields],
) -> Run:
    """Train a GAN.

    Args:
        data: a data set's name ("mnist"), a path (a folder, a zip, an .npz), or a whole configuration.
        root: the folder with a local copy of a named data set.
        preset: the settings to start from; ``gansmith list presets`` names them.
        run: the folder to write; default: runs/DATA-PRESET-N.
        length: "10 min", "50 epochs", "3000 steps", "500 kimg".
        minutes: ``minutes=10`` is ``length="10 min"``.
        epochs: passes over the data; ``epochs=50`` is ``length="50 epochs"``.
        steps: updates of the generator; ``steps=3000`` is ``length="3000 steps"``.
        kimg: thousands of real images; ``kimg=500`` is ``length="500 kimg"``.
        size: of the images: 64, or "48x64" for width x height.
        resolution: the same as ``size``.
        lr: the learning rate of both networks.
        seed: decides the initial weights, the order of the data and all noise.
        app: show the training on a local page, in a process of its own; a number is the page's port.
        overrides: fields of components by dotted path: ``{"model.width": 32}``. They take precedence over keywords.
        fields: any other field of ``Config``: ``batch_size=32``, ``loss="hinge"``, ``tracking=None``.

    Raises:
        GansmithError: the arguments, the data or the folder cannot be used, or training diverged.
    """
    refuse_unknown_fields("train", fields, KEYWORDS)
    short = expand_short_names(
        length=length,
        minutes=minutes,
        epochs=epochs,
        steps=steps,
        kimg=kimg,
        size=size,
        resolution=resolution,
        lr=lr,
    )
    changes = {**short, **({} if seed is None else {"seed": seed}), **fields, **(overrides or {})}
    config = _build_config("train", data, root, preset, changes)
    with show_training(app) as started:
        return Run(session.begin(config, Path(run) if run else None, started))


def preview(
    data: str | Path | Config | None = None,
    *,
    root: str | Path | None = None,
    preset: str | None = None,
    length: Duration | str | None = None,
    size: str | int | None = None,
    overrides: Mapping[str, Any] | None = None,
    **fields: Unpack[Fields],
) -> Preview:
    """Return what ``train`` would do: the data, the configuration as chosen, memory and time. Only caches are written.

    Args:
        data: this and all other arguments are those of ``train``.
        root: see ``train``.
        preset: see ``train``.
        length: see ``train``.
        size: see ``train``.
        overrides: see ``train``.
        fields: see ``train``.

    Raises:
        GansmithError: the arguments or the data cannot be used.
    """
    refuse_unknown_fields("preview", fields, KEYWORDS)
    changes = {**expand_short_names(length=length, size=size), **fields, **(overrides or {})}
    return session.preview_training(_build_config("preview", data, root, preset, changes))


def _build_config(
    verb: str,
    data: str | Path | Config | None,
    root: str | Path | None,
    preset: str | None,
    changes: Mapping[str, Any],
) -> Config:
    if not isinstance(data, Config):
        return configure(data, root=root, preset=preset, overrides=changes)
    if root is None and preset is None:
        return override_as_user(data, changes)
    raise ConfigError(f"{verb}: a whole configuration has its data and preset; leave out root and preset")


def resume(
    run: str | Path,
    *,
    length: Duration | str | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    kimg: float | None = None,
    lr: float | None = None,
    app: bool | int = False,
    overrides: Mapping[str, Any] | None = None,
    **fields: Unpack[Fields],
) -> Run:
    """Continue a run; the result is identical to that of an uninterrupted one.

    Args:
        run: its folder.
        length: of the whole training, the part before included.
        minutes: the same in minutes.
        epochs: the same in passes over the data.
        steps: the same in updates of the generator.
        kimg: the same in thousands of real images.
        lr: the learning rate of both networks from now on.
        app: show the training on a local page, in a process of its own; a number is the page's port.
        overrides: fields of components to change from now on, by dotted path.
        fields: any other field of ``Config`` to change from now on.

    Raises:
        GansmithError: no run, no checkpoint, a damaged one, or a configuration or data that changed meanwhile.
    """
    refuse_unknown_fields("resume", fields, KEYWORDS)
    short = expand_short_names(length=length, minutes=minutes, epochs=epochs, steps=steps, kimg=kimg, lr=lr)
    with show_training(app) as started:
        return Run(session.go_on(Path(run), {**short, **fields, **(overrides or {})}, started))


def _image_tag(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/{path.suffix[1:]};base64,{data}">'

"""What Python and the command line share: train, resume, open a run."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansmith.component import override_as_user
from gansmith.data import parse_size
from gansmith.errors import RunError
from gansmith.evaluation import evaluate
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import read_json, read_lines
from gansmith.report import write_report
from gansmith.runs import RunFolder
from gansmith.sampling import walks
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.training import session, snapshots
from gansmith.training.config import Config, load_config
from gansmith.training.presets import configure

__all__ = ["Run", "open_run", "resume", "train"]


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

    def report(self, out: Path | None = None) -> Path:
        """Write one self-contained HTML page about it, report.html in its folder if not told otherwise."""
        return write_report(self.path, out)

    def interpolate(
        self,
        from_seed: int = 0,
        to_seed: int = 1,
        *,
        steps: int = 8,
        method: walks.Method = "slerp",
        label: int | str | None = None,
    ) -> Samples:
        """Images between two seeds' latents; see ``gansmith.sampling.walks.interpolate``."""
        return walks.interpolate(self.generator(), from_seed, to_seed, steps=steps, method=method, label=label)

    def _repr_html_(self) -> str:
        status = self.status()
        words = f"<b>{html.escape(str(self.path))}</b> · {status['state']} · {status.get('nimg', 0) / 1000:.0f} kimg"
        moving = self.folder.animation("gif")
        pictures = [moving] if moving.exists() else sorted(self.folder.images.glob("*.png"))[-1:]
        return words + "".join(f"<br>{_image_tag(picture)}" for picture in pictures)


def open_run(path: str | Path) -> Run:
    """An existing run.

    Raises:
        RunError: no run is there.
    """
    return Run(RunFolder.open(Path(path)))


def train(
    data: str | Path | Config | None = None,
    *,
    root: str | Path | None = None,
    preset: str | None = None,
    length: str | None = None,
    run: str | Path | None = None,
    seed: int | None = None,
    size: str | int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Run:
    """Train a GAN.

    Args:
        data: a source's name ("mnist"), a path (a folder, a zip, an .npz), or a whole configuration.
        root: where a local copy of a named source lies.
        preset: where to start from; ``gansmith list presets`` names them.
        length: "10 min", "50 epochs", "3000 steps", "500 kimg".
        run: the folder to write; runs/DATA-PRESET-N if not given.
        seed: decides weights, data order and noise.
        size: 64, or "64x48": width x height.
        overrides: any other field by dotted path, as {"model.width": 32}.

    Raises:
        GansmithError: the arguments, the data or the folder cannot be used, or training diverged.
    """
    changes = {**_named(length=length, seed=seed, size=size), **_with_size(overrides or {})}
    if isinstance(data, Config):
        config = override_as_user(data, changes)
    else:
        config = configure(data, root=root, preset=preset, overrides=changes)
    return Run(session.begin(config, Path(run) if run else None, given=changes))


def resume(run: str | Path, *, length: str | None = None, overrides: Mapping[str, Any] | None = None) -> Run:
    """Go on with a run where it stopped, exactly as if it never had.

    Args:
        run: its folder.
        length: the whole length from now on, if another one.
        overrides: fields to change on purpose, by dotted path.

    Raises:
        GansmithError: no run, no checkpoint, a damaged one, or a configuration or data changed behind its back.
    """
    return Run(session.go_on(Path(run), {**_named(length=length), **(overrides or {})}))


def _named(*, length: str | None = None, seed: int | None = None, size: str | int | None = None) -> dict[str, Any]:
    """The everyday options under the paths of the fields that they set."""
    sides = None if size is None else list(parse_size(str(size)))
    options = {"length": length, "seed": seed, "preparation.size": sides}
    return {path: value for path, value in options.items() if value is not None}


def _with_size(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Fields to change, with a size that was written as text, "48x64", as [height, width]."""
    size, where = overrides.get("preparation.size"), "preparation.size"
    as_text = isinstance(size, str | int) and size != "none"
    return {**overrides, **({where: list(parse_size(str(size), where))} if as_text else {})}


def _image_tag(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/{path.suffix[1:]};base64,{data}">'

"""What smaller weights cost: FID and KID of an exported file beside those of PyTorch, with the same seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from gansmith.deploy.onnx import OnnxModel, trace
from gansmith.deploy.storage import Precision, shrink_weights
from gansmith.errors import MetricError
from gansmith.evaluation.inputs import collect_inputs, load_extractor, measure
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import open_other_images, open_own_images
from gansmith.evaluation.samples import describe_samples, match_classes, sample_features
from gansmith.metrics.measurement import Measurement
from gansmith.models.model import GeneratorNetwork
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.config import load_config
from gansmith.types import Images, ImageSpec, Labels, Latents
from gansmith.zoo.places import describe_run

__all__ = ["QUALITY", "OnnxNetwork", "QualityJudge", "QualityLoss", "measure_losses"]

QUALITY = "fid,kid"


@dataclass(frozen=True, kw_only=True)
class QualityLoss:
    """FID and KID of one format.

    Args:
        fid: with the images of the format.
        kid: likewise.
        exact_fid: with the images of PyTorch, of the same seeds.
        exact_kid: likewise.
        extractor: the feature extractor.
        num: generated images.
    """

    fid: float
    kid: float
    exact_fid: float
    exact_kid: float
    extractor: str
    num: int

    def __str__(self) -> str:
        return (
            f"FID {self.fid:.4g} ({self.fid - self.exact_fid:+.2g}), KID {self.kid:.4g} "
            f"({self.kid - self.exact_kid:+.2g}), by {self.extractor} over {self.num:,} images"
        )


class OnnxNetwork(GeneratorNetwork):
    """An ONNX model with output in the network's range, as a network of PyTorch.

    Args:
        model: the model.
    """

    def __init__(self, model: OnnxModel) -> None:
        super().__init__()
        self.model = model
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # by which callers find the device

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        """Generate images [n c h w]."""
        images: Tensor = torch.from_numpy(np.ascontiguousarray(self.model(z.cpu(), labels)))
        return images


class QualityJudge:
    """Measures generators of a run against the same real images, with the same feature extractor and seeds.

    Args:
        folder: the run.
        spec: of the generator's images.
        num: generated images, and largest number of real ones.
        against: the real images: a source's name or a path; None for the run's training images.
        root: the folder with a local copy of that source.
        extractor: a name from ``gansmith list extractors``; None for the one that suits the data.
        console: for progress bars.

    Raises:
        RunError: the run's images are missing.
        ConfigError: ``num`` is too small.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: ImageSpec,
        *,
        num: int,
        against: str | Path | None = None,
        root: str | Path | None = None,
        extractor: str | None = None,
        console: Console | None = None,
    ) -> None:
        changes = {"metrics": QUALITY, "num": num, "extractor": extractor, "device": "cpu"}
        self.options = EvaluationOptions.of(against, root=root, overrides=changes)
        self.console = console or Console(quiet=True)
        self.folder = folder
        if self.options.against is None:
            self.real = open_own_images(folder, self.options, self.console)
        else:
            self.real = open_other_images(self.options.against, spec, self.options, self.console)
        backbones = load_config(folder.config).backbones
        self.network = load_extractor(self.real, self.options, self.console, backbones)

    def judge(self, generator: TrainedGenerator) -> Measurement:
        """Return FID and KID of a generator's images."""
        numbers, unlabelled = match_classes(self.real.store, generator.class_names)
        fake = sample_features(generator, self.network, self.options, self.console, numbers)
        inputs = collect_inputs(self.real, fake, self.network, self.options, self.console, unlabelled)
        generated = describe_samples(describe_run(self.folder.path), fake)
        measured = measure(inputs, generated, self.real, self.network, self.options, self.console)
        for name, reason in measured.failures.items():
            raise MetricError(f"--measure: {name} cannot be computed: {reason}")
        return measured


def measure_losses(
    judge: QualityJudge, generator: TrainedGenerator, precisions: tuple[Precision, ...], *, subpixel: bool = True
) -> Iterator[tuple[Precision, QualityLoss]]:
    """Yield what each precision of an ONNX file costs.

    Args:
        judge: of the run.
        generator: its generator.
        precisions: of the stored weights.
        subpixel: as of the file.
    """
    exact = judge.judge(generator)
    content = trace(generator, pixels="float32", subpixel=subpixel).SerializeToString()
    for precision in precisions:
        opened = OnnxModel(_shrink(content, precision))
        measured = judge.judge(replace(generator, network=OnnxNetwork(opened)))
        yield (
            precision,
            QualityLoss(
                fid=measured.values["fid"].value,
                kid=measured.values["kid"].value,
                exact_fid=exact.values["fid"].value,
                exact_kid=exact.values["kid"].value,
                extractor=measured.extractor.name,
                num=measured.generated.num,
            ),
        )


def _shrink(content: bytes, precision: Precision) -> bytes:
    from onnx import load_from_string

    return bytes(shrink_weights(load_from_string(content), precision).SerializeToString())

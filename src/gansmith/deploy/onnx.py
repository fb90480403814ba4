"""ONNX files: a generator for any runtime, with its own description, checked against PyTorch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import gansmith
from gansmith.data.integrity import hash_tensors
from gansmith.deploy.portable import make_portable
from gansmith.deploy.storage import Precision, shrink_weights
from gansmith.errors import ExportError, MissingExtra
from gansmith.files import replace_file
from gansmith.images.pixels import ValueRange
from gansmith.sampling.generator import TrainedGenerator
from gansmith.types import Labels, Latents

__all__ = ["ImageDifference", "OnnxModel", "PixelFormat", "compare_outputs", "export_onnx", "trace"]

OPSET = 18  # known to onnxruntime-web since 1.14, to TensorRT since 8.6
BATCHES = (1, 3, 17)
TRUNCATION = 0.7  # of the check of batches
TOLERANCE = 1.0  # steps of 1/255 between PyTorch and an exact export
AT_ONCE = 50  # latents of one comparison

PixelFormat: TypeAlias = Literal["uint8", "float32"]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ImageDifference:
    """How far the images of two implementations are apart, in steps of 1/255 of the value range.

    Args:
        largest: of one value of one pixel.
        mean: over all values.
        num: images compared.
    """

    largest: float
    mean: float
    num: int

    def __str__(self) -> str:
        return f"largest difference {self.largest:.3g}/255, mean {self.mean:.2g}/255, over {self.num:,} images"


class OnnxModel:
    """An ONNX file of ``export_onnx``, opened with onnxruntime on the CPU.

    Args:
        path: the file, or its content.
        threads: of onnxruntime; None takes PyTorch's number.
    """

    def __init__(self, path: Path | bytes, *, threads: int | None = None) -> None:
        onnxruntime = _require("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        content = path if isinstance(path, bytes) else str(path)
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = {each.name for each in self.session.get_inputs()}

    def __call__(self, z: Latents, labels: Labels | None = None, truncation: float = 1.0) -> NDArray[Any]:
        """Generate images from latents [n z] and labels [n], in the file's pixel format."""
        given: dict[str, NDArray[Any]] = {"z": z.numpy(), "truncation": np.array([truncation], np.float32)}
        if "labels" in self.inputs and labels is not None:
            given["labels"] = labels.numpy()
        (images,) = self.session.run(["images"], given)
        return np.asarray(images)


class _Traced(nn.Module):
    """A generator with truncation before it and the pixel format behind it."""

    def __init__(self, network: nn.Module, value_range: ValueRange, pixels: PixelFormat) -> None:
        super().__init__()
        self.network, self.value_range, self.pixels = network, value_range, pixels

    def forward(self, z: Tensor, truncation: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.network(z * truncation, labels)
        if self.pixels == "float32":
            return images
        low, high = self.value_range  # the same steps as images.pixels.to_uint8
        scaled = (images - low) * (255 / (high - low))
        return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def export_onnx(
    generator: TrainedGenerator,
    path: Path,
    *,
    provenance: Mapping[str, str] | None = None,
    pixels: PixelFormat = "uint8",
    precision: Precision = "fp32",
    subpixel: bool = True,
    num: int = 1000,
    progress: Progress = lambda done, total: None,
) -> ImageDifference:
    """Compare a generator's ONNX model with PyTorch, and write it as a file.

    The inputs are z, float32 [n z]; truncation, float32 [1]; and labels, int64 [n], if there are classes. The output is
    named images. The file's properties describe all of them.

    Args:
        generator: the generator.
        path: the file.
        provenance: further properties, such as the run's name.
        pixels: "uint8": images [n h w c] from 0 to 255; "float32": [n c h w] in the model's value range.
        precision: of the stored weights. The arithmetic is float32 in any case.
        subpixel: rewrite transposed convolutions; see ``portable``.
        num: latents of the comparison: those of the seeds 0, 1, ...
        progress: is called with (images compared, all images).

    Raises:
        ExportError: the network cannot be exported, or its images differ.
        MissingExtra: onnx, onnxscript or onnxruntime is not installed.
    """
    onnx = _require("onnx")
    model = shrink_weights(trace(generator, pixels=pixels, subpixel=subpixel), precision)
    _describe(
        model, generator, {**(provenance or {}), "precision": precision, "subpixel": str(subpixel).lower()}, pixels
    )
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    difference = _check(content, generator, pixels, num, progress, exact=precision == "fp32")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as unfinished:
        unfinished.write_bytes(content)
    return difference


def trace(
    generator: TrainedGenerator, *, pixels: PixelFormat = "uint8", subpixel: bool = True, batch: int | None = None
) -> Any:
    """Return an onnx.ModelProto of a generator.

    Args:
        generator: the generator.
        pixels: the format of the output.
        subpixel: rewrite transposed convolutions.
        batch: number of images, constant; None lets it vary.
    """
    _require("onnx")
    _require("onnxscript")
    traced = _Traced(make_portable(generator.network, subpixel=subpixel), generator.model.value_range, pixels).eval()
    num = batch or 2  # PyTorch takes a dimension of 1 for a constant
    inputs: list[Tensor] = [torch.zeros(num, generator.model.z_dim), torch.ones(1)]
    axis = None if batch else {0: torch.export.Dim("n")}
    shapes: dict[str, Any] = {"z": axis, "truncation": None}
    if generator.spec.num_classes:
        inputs.append(torch.zeros(num, dtype=torch.int64))
        shapes["labels"] = axis
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                traced,
                tuple(inputs),
                dynamo=True,
                dynamic_shapes=None if batch else shapes,
                input_names=list(shapes),
                output_names=["images"],
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            name = type(generator.network).__module__
            raise ExportError(
                f"{name}: its generator cannot be exported to ONNX: {reason}; use operations that torch.onnx supports"
            ) from error
    assert program is not None
    return program.model_proto


def compare_outputs(
    images: Callable[[Latents, Labels | None, float], NDArray[Any]],
    generator: TrainedGenerator,
    seeds: Sequence[int],
    *,
    pixels: PixelFormat = "uint8",
    truncation: float = 1.0,
    progress: Progress = lambda done, total: None,
) -> ImageDifference:
    """Compare another implementation's images with PyTorch's.

    Args:
        images: the other implementation, called with z, labels and truncation.
        generator: the generator.
        seeds: those of the latents.
        pixels: the format of the images.
        truncation: factor of the latents.
        progress: is called with (images compared, all images).
    """
    low, high = generator.model.value_range
    step = 1.0 if pixels == "uint8" else (high - low) / 255
    largest, total = 0.0, 0.0
    for start in range(0, len(seeds), AT_ONCE):
        z, labels = generator.draw(seeds[start : start + AT_ONCE])
        expected = _reference(generator, z * truncation, labels, pixels)
        apart = np.abs(images(z, labels, truncation).astype(np.float64) - expected) / step
        largest, total = max(largest, float(apart.max())), total + float(apart.mean()) * len(z)
        progress(start + len(z), len(seeds))
    return ImageDifference(largest=largest, mean=total / len(seeds), num=len(seeds))


@torch.no_grad()
def _reference(generator: TrainedGenerator, z: Latents, labels: Labels | None, pixels: PixelFormat) -> NDArray[Any]:
    if pixels == "uint8":
        return generator.images(z, labels)
    device = next(generator.network.parameters()).device
    fake = generator.network(z.to(device), None if labels is None else labels.to(device))
    return np.asarray(fake.cpu().numpy())


def _check(
    content: bytes, generator: TrainedGenerator, pixels: PixelFormat, num: int, progress: Progress, *, exact: bool
) -> ImageDifference:
    """Compare with PyTorch, at several sizes of the batch and over ``num`` latents."""
    opened = OnnxModel(content)
    found = [
        compare_outputs(opened, generator, range(batch), pixels=pixels, truncation=TRUNCATION) for batch in BATCHES
    ]
    whole = compare_outputs(opened, generator, range(num), pixels=pixels, progress=progress)
    worst = max(each.largest for each in [*found, whole])
    if exact and worst > TOLERANCE:
        raise ExportError(
            f"the exported network's images differ by {worst:.3g}/255 from PyTorch's; expected at most "
            f"{TOLERANCE:.0f}/255; report it with the run's config.json"
        )
    return whole


def _describe(model: Any, generator: TrainedGenerator, provenance: Mapping[str, str], pixels: PixelFormat) -> None:
    """Write the properties of the file."""
    low, high = generator.model.value_range
    spec = generator.spec
    described = {
        "uint8": "uint8 [n h w c], 0 to 255",
        "float32": f"float32 [n c h w], {low:g} is black, {high:g} is white",
    }
    properties = {
        "gansmith_version": gansmith.__version__,
        "latent_dimension": str(generator.model.z_dim),
        "latent_distribution": generator.model.latent,
        "output": described[pixels],
        "value_range": json.dumps([0, 255] if pixels == "uint8" else [low, high]),
        "image_size": json.dumps({"height": spec.height, "width": spec.width, "channels": spec.channels}),
        "classes": json.dumps(list(generator.class_names)),
        "class_counts": json.dumps(list(generator.class_counts)),
        "weights_sha256": hash_tensors(generator.network.state_dict()),
        **provenance,
    }
    model.producer_name, model.producer_version = "gansmith", gansmith.__version__
    del model.metadata_props[:]
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)


def _require(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtra(package, "onnx", "to export ONNX files") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what the exporter says about packages and its own future."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)

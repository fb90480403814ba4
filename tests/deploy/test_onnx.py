"""ONNX files: their images are PyTorch's, for every family of networks, and they describe themselves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gansmith.component import member
from gansmith.data.integrity import hash_tensors
from gansmith.deploy.onnx import (
    ImageDifference,
    OnnxModel,
    compare_outputs,
    export_onnx,
)
from gansmith.deploy.portable import BinnedMean, SubPixelConvTranspose2d, make_portable
from gansmith.deploy.storage import quantize
from gansmith.errors import ExportError, MissingExtra
from gansmith.models.model import Model
from gansmith.sampling.generator import TrainedGenerator
from gansmith.types import ImageSpec
from traces import share_traces

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

GRAY = ImageSpec(height=12, width=12, channels=1)
ODD = ImageSpec(height=11, width=15, channels=3, num_classes=3)
FAMILIES: list[tuple[str, dict[str, Any], ImageSpec]] = [
    ("dense", {"output": "sigmoid"}, GRAY),
    ("dcgan", {"depth": 2}, ODD),
    (
        "dcgan",
        {
            "depth": 1,
            "kernel": 5,
            "stem_norm": "number",
            "plain_stages": 1,
            "conditioning": "embedding",
            "upsampling": "nearest",
            "generator_norm": "group",
            "generator_activation": "elu",
        },
        ODD,
    ),
    ("resnet", {}, ODD),
    ("r3", {}, dataclasses.replace(ODD, channels=4)),
    # four maps, so that a gate is used; its smallest has 3x4 pixels, which are pooled to 4x4
    ("projected", {"generator_activation": "glu"}, ImageSpec(height=47, width=60, channels=3, num_classes=3)),
]
MORE: list[tuple[str, dict[str, Any], ImageSpec]] = [  # slow: each takes seconds to trace
    ("dcgan", {"depth": 1, "kernel": 5, "stem_norm": "number", "plain_stages": 1, "conditioning": "embedding"}, ODD),
    ("dcgan", {"depth": 1, "upsampling": "nearest", "generator_norm": "group"}, GRAY),
    ("projected", {"generator_norm": "instance", "output": "sigmoid"}, ImageSpec(height=64, width=48, channels=1)),
    ("projected", {"excitation": False, "latent": "uniform"}, ImageSpec(height=32, width=32, channels=4)),
    ("resnet", {"conditioning": "embedding", "activation": "leaky-relu", "generator_norm": "none"}, ODD),
    ("resnet", {"generator_norm": "group", "activation": "elu", "spectral_norm": True, "pooling": "mean"}, GRAY),
    ("dcgan", {"depth": 1, "generator_norm": "none", "generator_activation": "tanh", "spectral_norm": True}, ODD),
    ("dcgan", {"depth": 2, "upsampling": "nearest", "downsampling": "pooled", "conditioning": "embedding"}, ODD),
    ("dcgan", {"depth": 1, "kernel": 3, "stride": 3, "plain_stages": 1, "latent": "uniform"}, GRAY),
    ("r3", {"blocks": 2, "group": 2, "expansion": 1}, GRAY),
    ("dense", {"latent": "uniform"}, ODD),
]
SLOW = [pytest.param(*each, marks=pytest.mark.slow) for each in MORE]


_LARGE: dict[str, dict[str, Any]] = {"dcgan": {"init": "torch"}}  # weights that draw more than gray


def make_generator(name: str, fields: dict[str, Any], spec: ImageSpec) -> TrainedGenerator:
    """An untrained generator whose classes and seeds differ."""
    model: Model = member(Model, name, "model")(width=4, z_dim=6, **_LARGE.get(name, {}), **fields)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = model.generator(spec)
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.35)
        for buffer in network.buffers():  # running mean and variance
            buffer.add_(torch.rand_like(buffer.float()).to(buffer.dtype), alpha=1)
    counts = (5, 3, 0)[: spec.num_classes]
    names = ("stop", "yield", "go")[: spec.num_classes]
    return TrainedGenerator(network=network.eval(), model=model, spec=spec, class_names=names, class_counts=counts)


@pytest.mark.parametrize(("name", "fields", "spec"), [*FAMILIES, *SLOW])
def test_a_file_makes_the_images_of_pytorch_at_any_batch(
    name: str, fields: dict[str, Any], spec: ImageSpec, tmp_path: Path
) -> None:
    generator = make_generator(name, fields, spec)
    path = tmp_path / "made" / "it.onnx"
    difference = export_onnx(generator, path, num=20)
    assert difference.num == 20 and difference.largest <= 1 and difference.mean < 0.01
    opened = OnnxModel(path)
    assert opened.inputs == {"z", "truncation", "labels"} - ({"labels"} if not spec.num_classes else set())
    for num in (1, 3, 17):
        z, labels = generator.draw(range(100, 100 + num), 1 if spec.num_classes else None)
        images = opened(z, labels, truncation=0.5)
        assert images.dtype == np.uint8 and images.shape == (num, spec.height, spec.width, spec.channels)
        assert np.abs(images.astype(int) - generator.images(z * 0.5, labels).astype(int)).max() <= 1
    if spec.num_classes:
        z, _ = generator.draw([0])
        assert not np.array_equal(opened(z, torch.tensor([0])), opened(z, torch.tensor([1])))


@pytest.fixture(scope="module")
def conditional() -> TrainedGenerator:
    return make_generator("dcgan", {"depth": 2}, ODD)


@pytest.fixture(autouse=True)
def _traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    share_traces(monkeypatch)


def properties(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_a_file_describes_itself(conditional: TrainedGenerator, tmp_path: Path) -> None:
    export_onnx(conditional, tmp_path / "a.onnx", provenance={"run": "signs-001", "nimg": "5000"}, num=2)
    told = properties(tmp_path / "a.onnx")
    assert json.loads(told["classes"]) == ["stop", "yield", "go"] and json.loads(told["class_counts"]) == [5, 3, 0]
    assert told["latent_dimension"] == "6" and told["latent_distribution"] == "normal"
    assert told["output"] == "uint8 [n h w c], 0 to 255" and json.loads(told["value_range"]) == [0, 255]
    assert told["run"] == "signs-001" and told["nimg"] == "5000" and told["precision"] == "fp32"
    assert json.loads(told["image_size"]) == {"height": 11, "width": 15, "channels": 3}
    assert told["weights_sha256"] == hash_tensors(conditional.network.state_dict())
    operations = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert "DepthToSpace" in operations and "ConvTranspose" not in operations


def test_float_pixels_and_small_weights(conditional: TrainedGenerator, tmp_path: Path) -> None:
    whole, half, quarter = (tmp_path / f"{name}.onnx" for name in ("fp32", "fp16", "int8"))
    exact = export_onnx(conditional, whole, pixels="float32", subpixel=False, num=30)
    fp16 = export_onnx(conditional, half, pixels="float32", subpixel=False, precision="fp16", num=30)
    int8 = export_onnx(conditional, quarter, pixels="float32", precision="int8", subpixel=False, num=30)
    assert 10 * exact.mean < fp16.mean < int8.mean / 3 < 5
    assert half.stat().st_size < whole.stat().st_size and quarter.stat().st_size < half.stat().st_size
    assert "ConvTranspose" in {node.op_type for node in onnx.load(whole).graph.node}
    assert properties(whole)["output"] == "float32 [n c h w], -1 is black, 1 is white"
    z, labels = conditional.draw(range(3))
    images = OnnxModel(whole)(z, labels, 0.5)
    assert images.shape == (3, 3, 11, 15)
    with torch.no_grad():
        assert np.abs(images - conditional.network(z * 0.5, labels).numpy()).max() < 1e-5


def test_images_that_differ_are_not_written(
    conditional: TrainedGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansmith.deploy.onnx.TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"^the exported network's images differ by .*/255 from PyTorch's; expected"):
        export_onnx(conditional, tmp_path / "a.onnx", num=2)
    assert not list(tmp_path.iterdir())


def test_what_torch_cannot_export_is_one_line(conditional: TrainedGenerator, tmp_path: Path) -> None:
    class Sorted(nn.Module):
        def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
            return torch.linalg.eigvals(z.T @ z).real.view(1, 1, 1, -1)

    broken = dataclasses.replace(conditional, network=Sorted())
    with pytest.raises(ExportError, match="its generator cannot be exported to ONNX: ") as caught:
        export_onnx(broken, tmp_path / "a.onnx", num=2)
    assert "\n" not in str(caught.value)


def test_without_onnx_the_command_to_install_it_is_printed(
    conditional: TrainedGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"install it with: pip install 'gansmith\[onnx\]'"):
        export_onnx(conditional, tmp_path / "a.onnx")


# --- the parts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "bias"),
    [(4, 2, 1, True), (5, 2, 1, False), (5, 3, 1, True), (3, 2, 0, True), (3, 1, 1, True)],
)
def test_subpixel_convolutions_are_transposed_convolutions(kernel: int, stride: int, padding: int, bias: bool) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(3, 2, kernel, kernel, dtype=torch.float64), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    shift = torch.randn(2, dtype=torch.float64) if bias else None
    layer = SubPixelConvTranspose2d(weight, shift, stride, padding)
    expected = F.conv_transpose2d(x, weight, shift, stride, padding)
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("subpixel", [True, False])
@pytest.mark.parametrize(("name", "fields", "spec"), [*FAMILIES, *MORE])
def test_portable_networks_compute_the_same(name: str, fields: dict[str, Any], spec: ImageSpec, subpixel: bool) -> None:
    generator = make_generator(name, fields, spec)
    before = hash_tensors(generator.network.state_dict())
    portable = make_portable(generator.network, subpixel=subpixel)
    z, labels = generator.draw(range(5))
    with torch.no_grad():
        assert torch.allclose(portable(z, labels), generator.network(z, labels), rtol=0, atol=1e-4)
    assert hash_tensors(generator.network.state_dict()) == before


@pytest.mark.parametrize("before", [(3, 4), (4, 4), (5, 9), (8, 1), (16, 6)])
def test_means_over_bins_are_adaptive_pooling(before: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *before, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(BinnedMean((4, 5))(x), F.adaptive_avg_pool2d(x, (4, 5)), rtol=0, atol=1e-6)


def test_weights_of_8_bits_are_scaled_by_output_channel() -> None:
    weight = (
        np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32) * np.array([1, 10, 0, 100])[:, None, None]
    )
    small, scale = quantize(weight.astype(np.float32))
    assert small.dtype == np.int8 and np.abs(small).max(axis=(1, 2)).tolist() == [127, 127, 0, 127]
    assert np.all(np.abs(small * scale[:, None, None] - weight) <= scale[:, None, None] / 2 * 1.0001)
    across, scales = quantize(weight.transpose(1, 0, 2), axis=1)
    assert np.array_equal(across, small.transpose(1, 0, 2)) and np.array_equal(scales, scale)


def test_differences_are_in_steps_of_the_value_range(conditional: TrainedGenerator) -> None:
    def moved(z: torch.Tensor, labels: Any, truncation: float) -> np.ndarray[Any, Any]:
        images = conditional.network(z * truncation, labels).detach().numpy()
        images[0, 0, 0, 0] += 2 * 3 / 255
        return images

    found = compare_outputs(moved, conditional, range(60), pixels="float32", truncation=0.9)
    assert found.largest == pytest.approx(3, abs=1e-3) and found.num == 60
    assert found.mean == pytest.approx(3 * 2 / (60 * 3 * 11 * 15), rel=0.02)
    assert str(ImageDifference(largest=0.5, mean=0.01, num=1000)) == (
        "largest difference 0.5/255, mean 0.01/255, over 1,000 images"
    )

"""A page that draws a generator's images in the visitor's browser; any static host serves it."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import gansmith
from gansmith.data.integrity import hash_tensors
from gansmith.deploy.onnx import trace
from gansmith.deploy.program import compile_program
from gansmith.deploy.storage import Precision, shrink_weights
from gansmith.deploy.web_runtime import CDN, RUNTIME_FILES, WebRuntime
from gansmith.errors import ConfigError, ExportError
from gansmith.sampling.directions import find_directions
from gansmith.sampling.generator import TrainedGenerator

__all__ = ["WebPage", "publish_page", "write_page"]

SITE = Path(__file__).parent / "site"
FILES = ("style.css", "page.js", "random.js")
ENGINES: Mapping[str, Mapping[str, str]] = {  # files of the page, and where they lie in ``SITE``
    "own": {"engine.js": "engine.js", "kernel.wasm": "kernel.wasm"},
    "onnxruntime": {"engine.js": "engine-onnxruntime.js"},
}
MODELS = ("model.json", "model.bin", "model.onnx")
TESTS = 6  # images of the self-test
DIRECTIONS = 5
MOST_BYTES = 3_000_000


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """A page that has been written.

    Args:
        path: its folder.
        size_bytes: of all its files.
        precision: of the stored weights.
    """

    path: Path
    size_bytes: int
    precision: Precision

    @property
    def is_small(self) -> bool:
        """Whether it has at most 3 MB."""
        return self.size_bytes <= MOST_BYTES


def write_page(
    generator: TrainedGenerator,
    folder: Path,
    *,
    title: str,
    provenance: Mapping[str, str] | None = None,
    precision: Precision | None = None,
    runtime: WebRuntime | None = None,
) -> WebPage:
    """Write the folder of a page; an earlier page there is replaced.

    Args:
        generator: the generator.
        folder: new, empty, or with an earlier page.
        title: of the page.
        provenance: texts for model.json, such as the run's name.
        precision: of the stored weights; None stores 32 bits, or 16 if the page would exceed 3 MB.
        runtime: onnxruntime-web computes the images; None takes the page's own engine, which is much smaller.

    Raises:
        ExportError: the folder contains other files, or the generator uses an operation that the page does not have.
        MissingExtra: onnx or onnxscript is not installed.
    """
    _refuse_others(folder)
    content = _compile(generator, precision) if runtime is None else _convert(generator, precision)
    about = {**_describe(generator), "precision": content.precision, **(provenance or {})}
    folder.mkdir(parents=True, exist_ok=True)
    for name in {*MODELS, "kernel.wasm", *RUNTIME_FILES}:  # of an earlier page
        (folder / name).unlink(missing_ok=True)
    for name, source in {**dict(zip(FILES, FILES, strict=True)), **ENGINES[content.engine]}.items():
        shutil.copyfile(SITE / source, folder / name)
    (folder / content.name).write_bytes(content.weights)
    plain = {"model": about, "self_test": _self_test(generator), **content.plain}
    if runtime is not None:
        runtime.install(folder)
        plain["runtime"] = runtime.describe()
    (folder / "model.json").write_text(json.dumps(plain, separators=(",", ":")), encoding="utf-8")
    (folder / "index.html").write_text(_fill(generator, title, about, runtime), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return WebPage(path=folder, size_bytes=size, precision=content.precision)


@dataclass(frozen=True, kw_only=True)
class _Content:
    """The generator of a page: a key of ``ENGINES``, the name and content of its weights, and more of model.json."""

    engine: str
    name: str
    weights: bytes
    plain: Mapping[str, Any]
    precision: Precision


def _compile(generator: TrainedGenerator, precision: Precision | None) -> _Content:
    model = trace(generator, pixels="float32", batch=1)
    program = compile_program(model, precision or "fp32")
    if precision is None and len(program.weights) > MOST_BYTES - 100_000:
        precision, program = "fp16", compile_program(model, "fp16")
    return _Content(
        engine="own",
        name="model.bin",
        weights=program.weights,
        plain=program.plain,
        precision=precision or "fp32",
    )


def _convert(generator: TrainedGenerator, precision: Precision | None) -> _Content:
    precision = precision or "fp32"
    content = bytes(shrink_weights(trace(generator), precision).SerializeToString())
    return _Content(engine="onnxruntime", name="model.onnx", weights=content, plain={}, precision=precision)


def publish_page(page: WebPage, generator: TrainedGenerator, title: str, facts: Mapping[str, str]) -> None:
    """Add what a static host needs: .nojekyll for GitHub Pages, a card (README.md), and a sheet of samples.

    Args:
        page: the page.
        generator: its generator.
        title: of the page.
        facts: lines of the card by name, such as the data and the metric.
    """
    (page.path / ".nojekyll").write_bytes(b"")
    generator.sample(32, seed=0).save(page.path / "samples.png")
    rows = "".join(f"| {_cell(name)} | {_cell(value)} |\n" for name, value in facts.items())
    (page.path / "README.md").write_text(
        f"# {_cell(title)}\n\n![Generated images](samples.png)\n\n"
        "Open `index.html` from a web server to generate images in your browser.\n\n"
        f"| | |\n|---|---|\n{rows}\n"
        "The images are synthetic. State the licence of the training data here before you publish them.\n",
        encoding="utf-8",
    )


def _cell(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _refuse_others(folder: Path) -> None:
    """Raise ExportError unless a folder is new, empty, or holds an earlier page."""
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: is a file; choose another folder with --out")
    others = sorted({path.name for path in folder.iterdir()} - _names() - {".git"}) if folder.exists() else []
    if others or (folder.exists() and any(folder.iterdir()) and not (folder / "model.json").is_file()):
        name = others[0] if others else "files that are not a page"
        raise ExportError(f"{folder}: contains {name}; choose an empty folder with --out")


def _names() -> set[str]:
    """Return the names of all files that a page may have."""
    engines = {name for files in ENGINES.values() for name in files}
    return {*FILES, *engines, *MODELS, *RUNTIME_FILES, "index.html", ".nojekyll", "README.md", "samples.png"}


def _describe(generator: TrainedGenerator) -> dict[str, Any]:
    spec = generator.spec
    return {
        "gansmith_version": gansmith.__version__,
        "latent_dimension": generator.model.z_dim,
        "latent_distribution": generator.model.latent,
        "image_size": {"height": spec.height, "width": spec.width, "channels": spec.channels},
        "value_range": list(generator.model.value_range),
        "classes": list(generator.class_names) or [str(i) for i in range(spec.num_classes)],
        "class_counts": list(generator.class_counts),
        "directions": np.round(_directions(generator).numpy(), 6).tolist(),
        "weights_sha256": hash_tensors(generator.network.state_dict()),
    }


def _directions(generator: TrainedGenerator) -> Float[Tensor, "num z"]:
    """Return the directions of the page's sliders; the first axes if the first layer does not read the latent."""
    num = min(DIRECTIONS, generator.model.z_dim)
    try:
        return find_directions(generator, "weights", num).vectors
    except ConfigError:
        return torch.eye(generator.model.z_dim)[:num]


def _self_test(generator: TrainedGenerator) -> list[dict[str, Any]]:
    samples = generator.sample(TESTS, seed=0)
    labels = [None] * TESTS if samples.labels is None else samples.labels.tolist()
    return [
        {"seed": seed, "label": label, "pixels": base64.b64encode(image.tobytes()).decode()}
        for seed, label, image in zip(samples.seeds, labels, samples.images, strict=True)
    ]


def _fill(generator: TrainedGenerator, title: str, described: Mapping[str, Any], runtime: WebRuntime | None) -> str:
    """Return index.html with its texts."""
    nimg = described.get("nimg")
    seen = f", trained on {int(nimg):,} images" if isinstance(nimg, str) and nimg.isdecimal() else ""
    texts = {
        "TITLE": title,
        "SUBTITLE": f"A generator of images of {generator.spec}{seen}.",
        "ORIGIN": f"gansmith {gansmith.__version__}, run {described.get('run', 'unnamed')}, "
        f"weights {described['weights_sha256'][:12]}",
        "SCRIPTS": "" if runtime is None else " blob:",  # the runtime after its check
        "HOSTS": f" {CDN}" if runtime is not None and runtime.folder is None else "",
    }
    page = (SITE / "index.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: html.escape(texts[found[1]]), page)

"""Pages: the browser's engine computes PyTorch's images from the same seeds, and the page works when clicked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_onnx import FAMILIES, SLOW, make_generator

from gansmith.deploy import web_runtime
from gansmith.deploy.browser import QUIET_BROWSER, serve_folder, visit_page
from gansmith.deploy.program import compile_program
from gansmith.deploy.service import Service, ServiceSettings
from gansmith.deploy.web import SITE, WebPage, publish_page, write_page
from gansmith.deploy.web_runtime import find_runtime
from gansmith.errors import ExportError
from gansmith.images.pixels import to_uint8
from gansmith.models.dcgan import DCGAN
from gansmith.sampling.directions import find_directions
from gansmith.sampling.generator import TrainedGenerator
from gansmith.types import ImageSpec

onnx = pytest.importorskip("onnx")
NODE, CHROMIUM, CLANG = (shutil.which(name) or "" for name in ("node", "chromium", "clang"))
needs_node = pytest.mark.skipif(not NODE, reason="needs node to run the page's scripts with")


def compute(script: str, tmp_path: Path) -> Any:
    """Run a module that may import the page's scripts; what it prints as JSON."""
    path = tmp_path / "script.mjs"
    places = {name: (SITE / f"{name}.js").as_uri() for name in ("engine", "random")}
    path.write_text(re.sub(r'"(engine|random)"', lambda found: json.dumps(places[found[1]]), script), encoding="utf-8")
    done = subprocess.run([NODE, str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


DRAW = """
import { MersenneTwister, drawLatent, drawClass } from "random";
const found = CASES.map(([seed, length, distribution]) => {
  const stream = new MersenneTwister(BigInt(seed));
  return [[...drawLatent(stream, length, distribution)], drawClass(stream, [700, 0, 200, 100])];
});
console.log(JSON.stringify(found));
"""


@needs_node
def test_a_seed_draws_the_same_latent_and_class_as_pytorch(tmp_path: Path) -> None:
    seeds = [*range(40), 2**31, 2**32 - 1, 2**32 + 5, 2**62 + 77, -1, -(2**62)]
    kinds = [(1, "normal"), (7, "normal"), (16, "normal"), (21, "normal"), (100, "normal"), (64, "uniform")]
    cases = [(str(seed), *kinds[i % len(kinds)]) for i, seed in enumerate(seeds * len(kinds))]
    found = compute(DRAW.replace("CASES", json.dumps(cases)), tmp_path)
    for (seed, length, latent), (z, label) in zip(cases, found, strict=True):
        model = DCGAN(z_dim=length, latent=latent)
        spec = ImageSpec(height=8, width=8, channels=1, num_classes=4)
        generator = TrainedGenerator(
            network=torch.nn.Identity(),
            model=model,
            spec=spec,
            class_counts=(700, 0, 200, 100),  # type: ignore[arg-type]
        )
        expected, labels = generator.draw([int(seed)])
        assert np.allclose(z, expected[0].numpy(), rtol=0, atol=1e-6)
        assert labels is not None and label == labels.item()


RUN = """
import { readFileSync } from "node:fs";
import { Generator } from "engine";
import { drawSeed } from "random";
const program = JSON.parse(readFileSync("model.json")), weights = readFileSync("model.bin");
const buffer = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length);
const generator = await Generator.load(program, buffer, readFileSync("kernel.wasm"));
console.log(JSON.stringify(program.seeds.map((seed) => {
  const { z, label } = drawSeed(seed, program.model);
  return [label, [...generator.pixels(z, label ?? 0, 0.8)]];
})));
"""
RECTANGLE = ImageSpec(height=20, width=19, channels=3)
OTHERS = [
    ("dcgan", {"depth": 1, "generator_norm": "instance", "generator_activation": "silu"}, FAMILIES[1][2]),
    ("dcgan", {"depth": 2, "generator_activation": "gelu", "kernel": 5, "stride": 3}, RECTANGLE),
]


@needs_node
@pytest.mark.parametrize(("name", "fields", "spec"), [*FAMILIES, *OTHERS, *SLOW])
def test_a_seed_is_one_image_in_python_the_page_and_the_service(
    name: str, fields: dict[str, Any], spec: ImageSpec, tmp_path: Path
) -> None:
    from gansmith.deploy.onnx import trace

    generator = make_generator(name, fields, spec)
    program = compile_program(trace(generator, pixels="float32", batch=1))
    model = {
        "image_size": {"height": spec.height, "width": spec.width, "channels": spec.channels},
        "value_range": generator.model.value_range,
        "latent_dimension": generator.model.z_dim,
        "latent_distribution": generator.model.latent,
        "classes": generator.class_names,
        "class_counts": generator.class_counts,
    }
    plain = {**program.plain, "model": model, "seeds": [70, 71, 72, 73]}
    (tmp_path / "model.json").write_text(json.dumps(plain))
    (tmp_path / "model.bin").write_bytes(program.weights)
    here = re.sub(
        r'readFileSync\("(model[^"]*)"', lambda found: f"readFileSync({json.dumps(str(tmp_path / found[1]))}", RUN
    )
    found = compute(here.replace('"kernel.wasm"', json.dumps(str(SITE / "kernel.wasm"))), tmp_path)
    expected = generator.sample(4, seed=70, truncation=0.8)
    assert expected.images.std() > 5, "images with content"
    assert [label for label, _ in found] == ([None] * 4 if expected.labels is None else expected.labels.tolist())
    images = np.array([pixels for _, pixels in found]).reshape(expected.images.shape)
    assert np.abs(images - expected.images.astype(int)).max() <= 1
    served = asyncio.run(Service(generator, ServiceSettings()).sample(70, 4, None, 0.8))
    assert np.abs(served.images.astype(int) - expected.images.astype(int)).max() <= 1


@pytest.mark.skipif(not (CLANG and shutil.which("wasm-ld")), reason="needs clang and wasm-ld")
def test_the_kernel_is_what_its_source_says(tmp_path: Path) -> None:
    (line,) = re.findall(r"(--target=wasm32.*?) -o", (SITE / "kernel.c").read_text().replace("\n//", " "))
    out = tmp_path / "kernel.wasm"
    subprocess.run([CLANG, *line.split(), "-o", str(out), str(SITE / "kernel.c")], check=True)
    if b"clang version 14" in subprocess.run([CLANG, "--version"], capture_output=True, check=True).stdout:
        assert out.read_bytes() == (SITE / "kernel.wasm").read_bytes()
    assert (SITE / "kernel.wasm").stat().st_size < 8000


# --- the folder --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator() -> TrainedGenerator:
    return make_generator("dcgan", {"depth": 2}, ImageSpec(height=16, width=16, channels=3, num_classes=3))


@pytest.fixture(scope="module")
def page(generator: TrainedGenerator, tmp_path_factory: pytest.TempPathFactory) -> WebPage:
    folder = tmp_path_factory.mktemp("page")
    found = write_page(generator, folder, title="<Signs> & more", provenance={"run": "signs-001", "nimg": "5000"})
    publish_page(found, generator, "<Signs> & more", {"data": "signs|x"})
    return found


def test_a_folder_has_all_that_it_needs(page: WebPage, generator: TrainedGenerator) -> None:
    names = {path.name for path in page.path.iterdir()}
    assert names == {
        *("index.html", "style.css", "page.js", "engine.js", "random.js", "kernel.wasm", "model.json", "model.bin"),
        *(".nojekyll", "README.md", "samples.png"),
    }
    assert page.precision == "fp32" and page.is_small and 20_000 < page.size_bytes < 200_000
    text = (page.path / "index.html").read_text()
    assert "<title>&lt;Signs&gt; &amp; more</title>" in text and "16x16 RGB, 3 classes, trained on 5,000 images" in text
    assert "{{" not in text and "http:" not in text and "https:" not in text
    plain = json.loads((page.path / "model.json").read_text())
    assert plain["model"]["classes"] == ["stop", "yield", "go"] and plain["model"]["run"] == "signs-001"
    (stored, *_) = plain["self_test"]
    sample = generator.sample(1, seed=0)
    assert base64.b64decode(stored["pixels"]) == sample.images[0].tobytes()
    card = (page.path / "README.md").read_text()
    assert "# \\<Signs\\> & more" in card and "| data | signs\\|x |" in card


def test_a_folder_of_other_files_is_left_alone(generator: TrainedGenerator, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError) as caught:
        write_page(generator, tmp_path, title="x")
    assert str(caught.value) == f"{tmp_path}: contains thesis.txt; choose an empty folder with --out"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_directions_are_those_of_the_first_layer(page: WebPage, generator: TrainedGenerator) -> None:
    found = json.loads((page.path / "model.json").read_text())["model"]["directions"]
    np.testing.assert_allclose(found, find_directions(generator, "weights", 5).vectors.numpy(), atol=1e-6)


def test_an_operation_that_the_page_has_not_is_one_line(generator: TrainedGenerator) -> None:
    node = onnx.helper.make_node("Sin", ["z"], ["images"])
    values = [onnx.helper.make_tensor_value_info(name, 1, [1, 6]) for name in ("z", "images")]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    with pytest.raises(ExportError, match="the generator uses the operation Sin, which the page does not have; use"):
        compile_program(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]))


# --- the other engine --------------------------------------------------------------------------------------

RUNTIME = next(  # a copy of the npm package, if this machine has one: npm install onnxruntime-web@1.30.0
    (place for place in (Path(os.environ.get("ONNXRUNTIME_WEB", "node_modules/onnxruntime-web")),) if place.is_dir()),
    None,
)


def a_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the files of a runtime, and let their digests be the pinned ones."""
    (folder / "dist").mkdir(parents=True)
    digests = {}
    for name in web_runtime.RUNTIME_FILES:
        (folder / "dist" / name).write_bytes(name.encode())
        digest = hashlib.sha384(name.encode()).digest()
        digests[name] = f"sha384-{base64.b64encode(digest).decode()}"
    monkeypatch.setattr(web_runtime, "RUNTIME_FILES", digests)
    return folder


@pytest.fixture
def _traced_before(generator: TrainedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    monkeypatch.setattr("gansmith.deploy.web.trace", lambda *_, **__: model)


@pytest.mark.usefixtures("_traced_before")
def test_a_page_with_onnxruntime_contains_the_pinned_files(
    generator: TrainedGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = a_runtime(tmp_path / "node_modules" / "onnxruntime-web", monkeypatch)
    monkeypatch.chdir(home)
    page = write_page(generator, tmp_path / "page", title="x", runtime=find_runtime(None))
    assert {path.name for path in page.path.iterdir()} == {
        *("index.html", "style.css", "page.js", "engine.js", "random.js", "model.json", "model.onnx"),
        *web_runtime.RUNTIME_FILES,
    }
    told = json.loads((page.path / "model.json").read_text())["runtime"]
    assert told["version"] == "1.30.0" and told["script"] == "ort.wasm.bundle.min.mjs"
    assert told["integrity"] == dict(zip(("script", "kernel"), web_runtime.RUNTIME_FILES.values(), strict=True))
    for name in ("index.html", "page.js", "engine.js", "random.js"):
        assert not re.search("https?:", (page.path / name).read_text()), "no other hosts"
    again = write_page(generator, tmp_path / "page", title="x", runtime=find_runtime(str(home / "dist")))
    assert again.size_bytes == page.size_bytes


@pytest.mark.usefixtures("_traced_before")
def test_a_page_with_a_runtime_of_the_cdn_names_one_address_and_its_digests(
    generator: TrainedGenerator, tmp_path: Path
) -> None:
    page = write_page(generator, tmp_path / "page", title="x", runtime=find_runtime("cdn"))
    assert not set(web_runtime.RUNTIME_FILES) & {path.name for path in page.path.iterdir()}
    head = (page.path / "index.html").read_text()
    address = "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/"
    assert re.findall(r"https?://[^ ;\"]+", head) == [address] and f"connect-src 'self' {address};" in head
    told = json.loads((page.path / "model.json").read_text())["runtime"]
    assert [told["script"], told["kernel"]] == [address + name for name in web_runtime.RUNTIME_FILES]
    assert all(re.fullmatch(r"sha384-[A-Za-z0-9+/]{64}", digest) for digest in told["integrity"].values())


def test_another_or_no_runtime_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match=r"^--engine onnxruntime: no copy of onnxruntime-web .* run npm install"):
        find_runtime(None)
    with pytest.raises(ExportError, match=r"^--runtime here: no copy of onnxruntime-web"):
        find_runtime("here")
    home = a_runtime(tmp_path / "copy", monkeypatch)
    (home / "dist" / "ort.wasm.bundle.min.mjs").write_bytes(b"alert(1)")
    with pytest.raises(
        ExportError, match=r"ort.wasm.bundle.min.mjs: is not that of onnxruntime-web 1.30.0 \(its digest"
    ):
        find_runtime(str(home))


@pytest.mark.skipif(not (CHROMIUM and RUNTIME), reason="needs Chromium and a copy of onnxruntime-web")
def test_the_page_with_onnxruntime_passes_its_self_test_and_refuses_another_kernel(tmp_path: Path) -> None:
    generator = make_generator(*FAMILIES[-1])
    page = write_page(generator, tmp_path / "page", title="x", runtime=find_runtime(str(RUNTIME)))
    assert page.size_bytes > 14_000_000 and not page.is_small
    visit = visit_page(page.path)
    assert visit is not None and visit.largest <= 1 and visit.speed > 0
    with (page.path / "ort-wasm-simd-threaded.wasm").open("ab") as kernel:
        kernel.write(b"\0")
    sync_api = pytest.importorskip("playwright.sync_api")
    with serve_folder(page.path) as place, sync_api.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=list(QUIET_BROWSER))
        tab = browser.new_page()
        tab.goto(place)
        tab.wait_for_selector("body[data-self-test]")
        told = tab.inner_text("#status")
        browser.close()
    assert told.endswith(
        "ort-wasm-simd-threaded.wasm: cannot be loaded, or is not the version that this page was made for"
    )


# --- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture
def address(page: WebPage) -> Iterator[str]:
    with serve_folder(page.path) as place:
        yield place


PIXELS = """() => { const c = document.getElementById("picture");
  return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }"""


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium to look at the page with")
def test_the_page_works_when_clicked(address: str, generator: TrainedGenerator, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=list(QUIET_BROWSER))
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        requests: list[str] = []
        problems: list[str] = []
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.goto(address)
        tab.wait_for_selector("body[data-self-test][data-speed]")
        assert tab.get_attribute("body", "data-self-test") == "passed"
        assert int(tab.get_attribute("body", "data-difference") or 255) <= 1
        assert "self-test passed: 6 images, largest difference" in tab.inner_text("#self-test")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390

        def shown() -> Any:
            return np.array(tab.evaluate(PIXELS)).reshape(16, 16, 4)[..., :3]

        def expected(seed: int, label: int | None, truncation: float, along: float = 0) -> Any:
            z, labels = generator.draw([seed], label)
            moved = z + along * find_directions(generator, "weights", 6).vectors[:1]
            with torch.no_grad():
                fake = generator.network(moved * truncation, labels)
            return to_uint8(fake, generator.model.value_range)[0].permute(1, 2, 0).numpy().astype(int)

        tab.fill("#seed", "12345678901")
        assert np.abs(shown() - expected(12345678901, None, 1)).max() <= 1
        tab.select_option("#class", "1")
        tab.fill("#truncation", "0.5")
        tab.fill("#direction-0", "2")
        assert np.abs(shown() - expected(12345678901, 1, 0.5, 2)).max() <= 1
        assert np.abs(shown() - expected(12345678901, 1, 0.5)).max() > 1, "the slider acts"
        tab.click("#reset")
        assert np.abs(shown() - expected(12345678901, 1, 0.5)).max() <= 1
        with tab.expect_download() as waiting:
            tab.click("#download")
        saved = waiting.value.path()
        from PIL import Image

        assert waiting.value.suggested_filename == "seed12345678901_class1.png"
        assert np.array_equal(np.asarray(Image.open(saved).convert("RGB")), shown())
        tab.click("#seeds button:nth-child(3)")
        assert tab.input_value("#seed") == "12345678903"
        before = shown()
        tab.click("#walk")
        tab.locator("#status", has_text="walk to seed").wait_for()
        tab.click("#walk")
        assert tab.inner_text("#walk") == "play walk" and not np.array_equal(shown(), before)
        assert problems == [] and all(url.startswith((address, "blob:", "data:")) for url in requests)
        browser.close()

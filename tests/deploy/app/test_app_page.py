"""The page of ``gansmith app`` in Chromium.

One test visits all views in turn: each begins where the one before has left the controls, and tests of a file may run
in several processes.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import logging
import multiprocessing
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

import gansmith
from gansmith.cli import main
from gansmith.deploy.app import studio
from gansmith.deploy.app.studio import NUM_LATENTS
from gansmith.images.pixels import save_png
from gansmith.plain_json import write_json
from gansmith.runs import RunFolder
from gansmith.sampling.directions import Directions, find_directions
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.projection import Search
from gansmith.types import PixelArray

CHROMIUM = shutil.which("chromium") or ""
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"),
    "--disable-features=PreloadTopChromeWebUI,Translate,MediaRouter,OptimizationHints",  # of the browser's own windows
]
STILL = "*, *::before, *::after { animation: none !important; transition: none !important; }"  # frames cost time
SECONDS = 60

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium to look at the page with")
sync_api = pytest.importorskip("playwright.sync_api")
if importlib.util.find_spec("gradio") is None:  # only the command imports it, which takes seconds
    pytest.skip("needs Gradio", allow_module_level=True)


def run_command(words: Sequence[str], printed: int, errors: int, notes: Path) -> None:
    """Run the command as typed, beside a note of each address that its process connects to or asks the name of."""
    os.dup2(printed, 1), os.dup2(errors, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    warnings.resetwarnings()
    logging.getLogger().handlers.clear()  # those of pytest, which would keep what belongs to standard error
    studio.SEARCH = Search(num_candidates=4, starts=1, steps=1)  # the search itself has its own tests
    noted = notes.open("a", buffering=1)

    def hear(event: str, arguments: Any) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            noted.write(f"{arguments[1][0]}\n")
        elif event == "socket.getaddrinfo" and arguments[0] is not None:
            noted.write(f"{arguments[0]}\n")

    sys.addaudithook(hear)
    sys.exit(main(words))


@dataclass(frozen=True)
class Page:
    """The running command: its address, and the file of addresses that it contacted."""

    address: str
    notes: Path

    def contacts(self) -> set[str]:
        """Other hosts than this machine that the process has contacted."""
        hosts = self.notes.read_text().splitlines()
        return {host for host in hosts if not host.startswith("127.") and host not in ("::1", "localhost")}


class Browser:
    """A tab on the page, with all that it asked for and complained about."""

    def __init__(self, tab: Any, address: str) -> None:
        self.tab, self.address = tab, address
        self.requests: list[str] = []
        self.problems: list[str] = []
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("pageerror", lambda error: self.problems.append(str(error)))
        tab.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        tab.set_default_timeout(1000 * SECONDS)

    def open(self, view: str) -> None:
        self.tab.get_by_role("tab", name=view, exact=True).click()

    def pictures(self, place: str) -> list[PixelArray]:
        """The pixels of all pictures below an element."""
        sources = self.tab.eval_on_selector_all(f"{place} img", "all => all.map(each => each.src)")
        return [read_source(source) for source in sources]

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; the page itself is asked again and again."""
        for _ in range(SECONDS * 20):
            if is_so():
                return
            self.tab.wait_for_timeout(50)
        raise AssertionError("it did not become so")


def read_source(source: str) -> PixelArray:
    assert source.startswith("data:image/png;base64,"), "exactly the pixels, and no file of the server"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


@pytest.fixture(scope="module")
def young(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that has just begun, with a hostile name of its data."""
    path = tmp_path_factory.mktemp("young") / "young"
    path.mkdir()
    for name in ("config.json", "environment.json"):
        shutil.copyfile(run / name, path / name)
    facts = json.loads((run / "data.json").read_text())
    write_json(path / "data.json", {**facts, "title": "<img src=x onerror=alert(1)> ${1+1} {{value}}"})
    write_json(path / "status.json", {"state": "running", "pid": 1, "nimg": 0, "rollbacks": 0})
    return path


@pytest.fixture(scope="module")
def page(run: Path, young: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a run, a young training and an entry of the zoo."""
    home = tmp_path_factory.mktemp("page")
    words = ["app", str(run), str(young), "zoo:signs-32", "--port", "0", "--most_upload_mb", "1", "--json"]
    reading, writing = os.pipe()
    with (home / "errors").open("w") as errors, os.fdopen(reading) as printed, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from Python 3.12 on
        given = (words, writing, errors.fileno(), home / "notes")
        # Forked, as torch and gansmith are imported already.
        process = multiprocessing.get_context("fork").Process(target=run_command, args=given)
        process.start()
        os.close(writing)
        yield Page(json.loads("".join(printed.readline() for _ in range(3)))["url"] + "/", home / "notes")
        process.terminate()
        process.join(SECONDS)
        assert process.exitcode == 0
    assert "an error that gansmith did not expect" not in (home / "errors").read_text()


@pytest.fixture(scope="module")
def browser(page: Page) -> Iterator[Browser]:
    with sync_api.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        found = Browser(chromium.new_page(viewport={"width": 1280, "height": 900}), page.address)
        if "TRACE" in os.environ:
            chromium.start_tracing(
                page=found.tab,
                path=os.environ["TRACE"],
                categories=["toplevel", "devtools.timeline", "v8", "disabled-by-default-v8.compile", "cc", "viz"],
            )
        found.tab.goto(page.address)
        yield found
        if "TRACE" in os.environ:
            chromium.stop_tracing()
        chromium.close()


@pytest.fixture(scope="module")
def generator(run: Path) -> TrainedGenerator:
    return gansmith.open_run(run).generator()


# --- without a browser -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(page: Page) -> Iterator[httpx.Client]:
    """One for all requests: each new one reads the certificates of all authorities."""
    with httpx.Client(base_url=page.address, timeout=SECONDS) as client:
        yield client


def test_what_gradio_tells_has_no_path_of_this_machine(client: httpx.Client, run: Path) -> None:
    texts = [client.get(name).text for name in ("", "config", "theme.css")]
    assert all(not re.search(r"(?<![\w.])/(home|root|tmp|usr|work)/", text) for text in texts)
    assert str(run.parent) not in "".join(texts)


def test_a_stranger_cannot_make_the_server_fetch(client: httpx.Client, page: Page) -> None:
    file = {
        "path": "http://198.51.100.7/x.png",
        "url": "http://198.51.100.7/x.png",
        "meta": {"_type": "gradio.FileData"},
    }
    for number in range(12):
        body = {"data": [file] * 5, "fn_index": number, "session_hash": "stranger"}
        assert client.post("gradio_api/queue/join", json=body).status_code == 422
    assert client.get("gradio_api/file=/etc/passwd").status_code == 404
    assert page.contacts() == set()


def test_nonsense_from_a_program_is_no_trace(client: httpx.Client) -> None:
    for number in range(20):
        body = {"data": ["nonsense"] * 3, "fn_index": number, "session_hash": f"program{number}"}
        answer = client.post("gradio_api/queue/join", json=body)
        assert "Traceback" not in answer.text and "/site-packages/" not in answer.text
    with client.stream("GET", "gradio_api/queue/data?session_hash=program3") as stream:
        text = "".join(stream.iter_text())
    assert "process_completed" in text and "Traceback" not in text and "/site-packages/" not in text


# --- in a browser -----------------------------------------------------------------------------------------


def test_every_view_shows_what_the_command_line_makes(
    browser: Browser, page: Page, generator: TrainedGenerator, run: Path, young: Path, tmp_path: Path
) -> None:
    see_the_list_of_runs(browser)
    see_samples(browser, generator)
    move_one_latent(browser, generator)
    see_a_walk(browser, generator)
    see_runs_side_by_side(browser, generator)
    project_a_picture(browser, generator, tmp_path)
    see_a_training(browser, run, young)
    check_the_network(browser, page)
    see_it_on_a_phone(browser)


def see_the_list_of_runs(browser: Browser) -> None:
    browser.tab.wait_for_selector("#run-list table")
    text = browser.tab.inner_text("#run-list")
    assert "signs run" in text and "young" in text and "zoo:signs-32" in text and "finished" in text
    assert browser.tab.get_attribute("#run-list tr[aria-current] button", "data-run") == "signs run"


def see_samples(browser: Browser, generator: TrainedGenerator) -> None:
    browser.open("Samples")
    browser.tab.wait_for_selector("#samples img")
    browser.wait(lambda: len(browser.pictures("#samples")) == 16)
    assert np.array_equal(browser.pictures("#samples"), generator.sample(16, seed=0).images)
    browser.tab.fill("#seed input", "1234567")
    browser.tab.press("#seed input", "Tab")
    browser.tab.locator("#samples", has_text="seed 1234567").wait_for()
    browser.tab.click("#class input")
    browser.tab.get_by_role("option", name="stop", exact=True).click()
    browser.tab.locator("#samples", has_text="seed 1234568, stop").wait_for()
    browser.tab.fill("#truncation input[type=number]", "0.5")
    browser.tab.press("#truncation input[type=number]", "Tab")
    browser.tab.locator("#samples", has_text="--truncation 0.5").wait_for()
    expected = generator.sample(16, seed=1234567, label="stop", truncation=0.5).images
    assert np.array_equal(browser.pictures("#samples"), expected)
    command = browser.tab.inner_text("#samples code")
    assert command == "gansmith sample 'signs run' --num 16 --seed 1234567 --label 14 --truncation 0.5"
    browser.tab.click("#samples button[data-seed='1234570']")
    browser.tab.locator("#samples", has_text="--seed 1234570").wait_for()
    assert browser.tab.input_value("#seed input") == "1234570"


def move_one_latent(browser: Browser, generator: TrainedGenerator) -> None:
    browser.open("Explore")
    browser.tab.wait_for_selector("#pad img")
    browser.wait(lambda: bool(browser.pictures("#picture")))
    sample = generator.sample(1, seed=1234570, label="stop", truncation=0.5).images[0]
    assert np.array_equal(browser.pictures("#picture")[0], sample)
    box = browser.tab.locator(".pad").bounding_box()
    corner = box["x"] + 0.9 * box["width"], box["y"] + 0.25 * box["height"]
    browser.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    browser.tab.mouse.down()
    browser.tab.mouse.move(*corner, steps=8)
    browser.tab.mouse.up()
    browser.wait(lambda: slider(browser, 0) > 2.3 and slider(browser, 1) > 1.4)
    browser.wait(lambda: not np.array_equal(browser.pictures("#picture"), [sample]))
    browser.tab.fill("#direction-2 input[type=number]", "-2")
    browser.tab.press("#direction-2 input[type=number]", "Tab")
    directions = find_directions(generator, num_latents=NUM_LATENTS)
    browser.wait(lambda: shows(browser, moved(browser, generator, directions)))
    browser.tab.focus(".pad")
    before = slider(browser, 0)
    browser.tab.keyboard.press("ArrowLeft")
    browser.wait(lambda: slider(browser, 0) == pytest.approx(before - 0.3, abs=0.02))
    browser.tab.click("#reset")
    browser.wait(lambda: np.array_equal(browser.pictures("#picture"), [sample]))
    assert [slider(browser, i) for i in range(6)] == [0.0] * 6


def slider(browser: Browser, number: int) -> float:
    return float(browser.tab.input_value(f"#direction-{number} input[type=number]"))


def moved(browser: Browser, generator: TrainedGenerator, directions: Directions) -> PixelArray:
    """What the sliders say, computed anew."""
    steps = torch.tensor([slider(browser, i) for i in range(6)])
    z, labels = generator.draw([1234570], 14)
    for i in range(6):
        z = directions.move(z, i, steps[i : i + 1])[:, 0]
    return generator.images(z * 0.5, labels)[0]


def shows(browser: Browser, image: PixelArray) -> bool:
    return any(np.abs(each.astype(int) - image).max() <= 1 for each in browser.pictures("#picture"))


def see_a_walk(browser: Browser, generator: TrainedGenerator) -> None:
    browser.open("Walk")
    browser.tab.fill("#seeds textarea, #seeds input", "5, 9")
    browser.tab.fill("#frames input[type=number]", "3")
    browser.tab.press("#frames input[type=number]", "Tab")
    browser.tab.locator("#walk", has_text="6 pictures, in a loop.").wait_for()
    stacked = browser.pictures("#walk")[0]
    assert stacked.shape == (32, 6 * 32, 3)
    for place, seed in ((0, 5), (3, 9)):
        end = generator.sample(1, seed=seed, label="stop", truncation=0.5).images[0]
        assert np.abs(stacked[:, 32 * place : 32 * (place + 1)].astype(int) - end).max() <= 1
    player = browser.tab.locator(".player")
    seen = {player.get_attribute("data-frame")}
    browser.wait(lambda: len(seen | {player.get_attribute("data-frame")}) > 1)
    browser.tab.click("[data-play]")
    browser.tab.locator("[data-frame][type=range]").fill("3")
    shown = browser.tab.evaluate(
        "() => { const c = document.querySelector('.player canvas'); "
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
    )
    assert np.array_equal(np.array(shown).reshape(32, 32, 4)[..., :3], stacked[:, 96:128])
    browser.tab.fill("#seeds textarea, #seeds input", "5, x")
    browser.tab.locator("#walk [role=alert]", has_text="seeds: expected whole numbers").wait_for()


def see_runs_side_by_side(browser: Browser, generator: TrainedGenerator) -> None:
    browser.open("Side by side")
    browser.tab.locator("#compare h3", has_text="zoo:signs-32").wait_for()
    found = browser.pictures("#compare")
    expected = generator.sample(8, seed=1234570, label="stop", truncation=0.5).images
    assert np.array_equal(found[:8], expected) and np.array_equal(found[8:], expected)
    said = browser.tab.inner_text("#compare [role=alert]")
    assert said.startswith("young: no checkpoint yet") and "/" not in said


def project_a_picture(browser: Browser, generator: TrainedGenerator, tmp_path: Path) -> None:
    browser.open("Your picture")
    browser.tab.click("#again")
    browser.tab.locator("#projection [role=alert]", has_text="picture: choose one first").wait_for()
    (tmp_path / "evil.png").write_bytes(b"<svg onload=alert(1)>" * 100)
    browser.tab.set_input_files("#drop input", tmp_path / "evil.png")
    browser.tab.locator("#drop .said", has_text="This file cannot be used").wait_for()
    (tmp_path / "large.png").write_bytes(b"x" * 1_500_000)
    browser.tab.set_input_files("#drop input", tmp_path / "large.png")
    browser.tab.locator("#drop .said", has_text="This file has 2 MB; expected at most 1 MB.").wait_for()
    image = generator.sample(1, seed=0, label="stop").images[0]
    save_png(image, tmp_path / "mine.png")
    browser.tab.set_input_files("#drop input", tmp_path / "mine.png")
    browser.tab.locator("#projection", has_text="Perceptual distance").wait_for()
    given, made = browser.pictures("#projection")
    assert np.array_equal(given, image) and made.shape == image.shape
    text = browser.tab.inner_text("#projection")
    assert "the generator's nearest, class stop" in text and "PSNR" in text
    answers = [problem for problem in browser.problems if "422" in problem]
    browser.problems = [problem for problem in browser.problems if problem not in answers]
    assert len(answers) == 1, "the browser's note of the file that was refused"


def see_a_training(browser: Browser, run: Path, young: Path) -> None:
    browser.open("Runs")
    browser.tab.click("button[data-run='young']")
    browser.tab.locator("#about [role=alert]", has_text="no checkpoint yet").wait_for()
    browser.open("Training")
    browser.tab.locator("#live", has_text="Training has saved no samples yet.").wait_for()
    assert "<img src=x onerror=alert(1)> ${1+1} {{value}}" in browser.tab.inner_text("#live")
    folder = RunFolder(young)
    lines = (run / "stats.jsonl").read_text("utf-8").splitlines(keepends=True)
    lines = lines[:12] + lines[-4:]
    folder.stats.write_text("".join(lines[:8]))
    folder.images.mkdir()
    shutil.copyfile(run / "images" / "fakes_000120000.png", folder.images / "fakes_000020000.png")
    browser.tab.locator("#live h3", has_text="Samples at 20 kimg").wait_for()
    assert browser.tab.locator("#live svg").count() >= 3
    folder.stats.write_text("".join(lines))
    browser.tab.locator("#live [aria-valuenow='100']").wait_for()


def check_the_network(browser: Browser, page: Page) -> None:
    assert browser.problems == []
    assert browser.requests and all(url.startswith((browser.address, "data:", "blob:")) for url in browser.requests)
    assert page.contacts() == set()


def see_it_on_a_phone(browser: Browser) -> None:
    browser.tab.set_viewport_size({"width": 390, "height": 800})
    more = browser.tab.locator(".overflow-menu > button")
    more.wait_for()
    for view in ("Samples", "Explore", "Walk", "Training"):
        shown = browser.tab.locator("[role=tablist] button", has_text=view)
        if not shown.count():
            more.click()
            shown = browser.tab.locator(".overflow-dropdown button", has_text=view)
        shown.click()
        assert browser.tab.evaluate("document.documentElement.scrollWidth") <= 390, view

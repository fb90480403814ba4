"""The pages as a browser shows them: on a desk and on a phone, in light and in dark."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium to look at the pages with")

QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)
DARK = "--blink-settings=preferredColorScheme=0"
PAPER = {False: (253, 252, 250), True: (22, 24, 27)}  # --paper in style.css, light and dark
BLUE = {False: (42, 111, 151), True: (108, 176, 216)}  # --line-0
HEIGHT = 2000


def browse(page: Path, home: Path, *options: str) -> str:
    """Open a page; what the browser prints."""
    home.mkdir()
    words = [CHROMIUM, *QUIET.split(), f"--user-data-dir={home}", *options, page.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True, env={"HOME": str(home)})
    return done.stdout


def shot(page: Path, home: Path, *, width: int, dark: bool) -> NDArray[np.uint8]:
    """A screenshot, uint8 [h w 3]."""
    picture = home.with_suffix(".png")
    scheme = [DARK] if dark else []
    browse(page, home, f"--window-size={width},{HEIGHT}", f"--screenshot={picture}", *scheme)
    return np.asarray(Image.open(picture).convert("RGB"))


def on_phones(pages: Sequence[Path], wrapper: Path, widths: Sequence[int]) -> Path:
    """A page that shows others in windows as narrow as phones': the browser's own cannot be that narrow."""
    frames = "".join(
        f'<iframe srcdoc="{html.escape(page.read_text(encoding="utf-8"))}" scrolling="no" '
        f'style="border: 0; display: block; width: {width}px; height: {HEIGHT}px"></iframe>'
        for page in pages
        for width in widths
    )
    measure = (
        "document.title = [...document.querySelectorAll('iframe')].map(it => it.contentDocument.documentElement)"
        ".map(it => it.scrollWidth + ' ' + it.scrollHeight).join(' ');"
    )
    wrapper.write_text(
        f"<!doctype html><title></title><style>body {{ margin: 0 }}</style>{frames}"
        f"<script>onload = () => {{ {measure} }}</script>",
        encoding="utf-8",
    )
    return wrapper


def has(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=2).any())


@pytest.mark.parametrize("dark", [False, True])
def test_colours_follow_the_scheme_and_the_page_is_not_blank(run_report: Path, tmp_path: Path, dark: bool) -> None:
    picture = shot(run_report, tmp_path / "home", width=1280, dark=dark)
    assert tuple(picture[0, 0]) == PAPER[dark]
    assert has(picture, BLUE[dark]) and not has(picture, BLUE[not dark])
    assert len(np.unique(picture @ np.array([1, 256, 65536]))) > 1000, "colours"
    beyond = picture[:, :60]
    assert (beyond == PAPER[dark]).all(), "a margin"


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_in_the_same_colours(run_report: Path, tmp_path: Path, dark: bool) -> None:
    page = on_phones([run_report], tmp_path / "phone.html", [390])
    picture = shot(page, tmp_path / "home", width=500, dark=dark)[:, :390]
    assert tuple(picture[0, 0]) == PAPER[dark]
    assert has(picture, BLUE[dark])
    assert (picture[:, -10:] == PAPER[dark]).all(), "nothing comes near the edge"


def test_nothing_is_wider_than_a_phone(run_report: Path, study_report: Path, tmp_path: Path) -> None:
    page = on_phones([run_report, study_report], tmp_path / "phone.html", [375, 390])
    found = re.search(r"<title>([\d ]+)</title>", browse(page, tmp_path / "home", "--dump-dom"))
    assert found is not None
    sizes = list(map(int, found[1].split()))
    assert sizes[::2] == [375, 390, 375, 390], "run and study"
    assert min(sizes[1::2]) > HEIGHT, "the whole page was laid out"

"""The site: every link and anchor leads somewhere, all is explained, nothing comes from other hosts."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from gansmith.cli import COMMANDS
from gansmith.component import member_name
from gansmith.metrics import list_metrics

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_of_docs", ROOT / "docs" / "site.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gathered(site: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    site.gather(folder)
    return folder


def slug_of_github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def slug_of_the_site(heading: str) -> str:
    """The anchor that Python-Markdown's extension toc gives a heading."""
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def headings(page: str) -> list[str]:
    text = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    return [heading.replace("`", "") for heading in re.findall(r"^#+ (.*?)\s*$", text, re.MULTILINE)]


def test_every_link_and_anchor_of_the_gathered_pages_leads_somewhere(site: ModuleType, gathered: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(gathered.rglob("*.md"))}
    assert len(pages) > 40
    wrong = []
    for path, page in pages.items():
        for _, target, anchor, _ in re.findall(r"(\]\()([^)#\s]*)(#[^)\s]+)?(\))", site.without_code(page)):
            if "://" in target:
                continue
            file = (path.parent / target).resolve() if target else path.resolve()
            if not file.is_file():
                wrong.append(f"{path.name}: {target}")
            elif anchor:
                known = headings(pages[gathered / file.relative_to(gathered.resolve())])
                slugs = [slug(heading) for heading in known for slug in (slug_of_github, slug_of_the_site)]
                if slugs.count(anchor[1:]) < 2:  # both must agree, as the page is read on GitHub and on the site
                    wrong.append(f"{path.name}: {target}{anchor}")
    assert wrong == []


def test_a_linked_folder_gets_a_page_that_lists_its_files(gathered: Path) -> None:
    readme = (gathered / "README.md").read_text(encoding="utf-8")
    assert "](docs/decisions/index.md)" in readme
    assert "[0001-components.md](0001-components.md)" in (gathered / "docs/decisions/index.md").read_text("utf-8")


def test_a_broken_link_would_be_noticed(site: ModuleType) -> None:
    page = "[a](missing.md) `[b](code.md)` [c](https://example.org/x.md) [d](../README.md#install)"
    assert list(site.find_links(page, Path("docs/x.md"))) == [Path("docs/missing.md"), Path("README.md")]


def test_a_reader_loads_nothing_from_other_hosts(gathered: Path) -> None:
    assert SETTINGS["theme"]["font"] is False
    assert not {"plugins", "extra_css", "extra_javascript"} & set(SETTINGS)
    assert "://" not in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.read_text(encoding="utf-8") for path in gathered.rglob("*.md")]
    assert [page for page in pages if re.search(r"!\[[^\]]*\]\(https?:|<img|<script|<iframe|```mermaid", page)] == []


def test_lists_and_tables_begin_after_an_empty_line(gathered: Path) -> None:
    """Python-Markdown needs it; GitHub does not."""
    wrong = []
    for path in gathered.rglob("*.md"):
        lines = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL).splitlines()
        for before, line in itertools.pairwise(lines):
            if re.match(r"(- |\d+\. |\|)", line) and before.strip() and not re.match(r"\s*(- |\d+\. |\||  |#)", before):
                wrong.append(f"{path.relative_to(gathered)}: {before!r}")
    assert wrong == []


def test_every_verb_has_a_guide() -> None:
    guides = [
        path for path in (ROOT / "docs").glob("*.md") if path.name not in ("commands.md", "log.md", "requirements.md")
    ]
    blocks = "\n".join(
        "\n".join(re.findall(r"```\w*\n(.*?)```", path.read_text("utf-8"), re.DOTALL)) for path in guides
    )
    assert [verb for verb in COMMANDS if not re.search(rf"^(\S+=\S+ )*gansmith {verb}\b", blocks, re.MULTILINE)] == []


def test_every_metric_and_each_of_its_values_is_explained() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    table = page.partition("## What is measured")[2].partition("\n\n`--metrics`")[0]
    rows: dict[str, list[str]] = {}
    name = ""
    for first, values, meaning, better, _ in re.findall(
        r"^\|(.*?)\| (`.*?) \| (.*?) \| (.*?) \| ?(.*?)\|$", table, re.MULTILINE
    ):
        name = first.strip("` ") or name
        assert len(meaning.split()) >= 5 and better
        rows.setdefault(name, []).extend(f"{value} {better}" for value in re.findall(r"`(\w+)`", values))
    told = {
        member_name(metric): [f"{name} {quantity.better}" for name, quantity in metric.quantities.items()]
        for metric in list_metrics()
    }
    assert {name: sorted(values) for name, values in rows.items()} == {
        name: sorted(values) for name, values in told.items()
    }

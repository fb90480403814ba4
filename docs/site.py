"""python docs/site.py: gather the pages of the site in build/pages, for mkdocs.yml.

The pages lie in the repository where GitHub shows them, and link to each other and to files beside them. They are
copied with all files that they link to, in the same folders, so their links need no change. A linked folder gets a page
that lists its files.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["find_links", "gather", "list_pages"]

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "pages"
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]+)?(\))")


def main() -> None:
    """Gather the pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    print(f"{gather(PAGES)} files in {PAGES.relative_to(ROOT)}")


def list_pages() -> list[Path]:
    """The pages that the navigation must name, relative to the repository."""
    return [*map(Path, TOP), *(page.relative_to(ROOT) for page in sorted(ROOT.glob("docs/**/*.md")))]


def gather(to: Path) -> int:
    """Copy the pages and everything that they link to; return the number of files."""
    waiting, done = list_pages(), set[Path]()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            page, target = list_folder(path), target / "index.md"
            target.parent.mkdir(exist_ok=True)
        elif path.suffix == ".md":
            page = (ROOT / path).read_text(encoding="utf-8")
        else:
            shutil.copyfile(ROOT / path, target)
            continue
        target.write_text(link_folders(page, path), encoding="utf-8")
        waiting += find_links(page, path)
    return len(done)


def find_links(page: str, path: Path) -> Iterator[Path]:
    """Yield the files and folders of the repository that a page links to, relative to the repository.

    Args:
        page: its Markdown.
        path: the page, relative to the repository; a folder for a page that lists it.
    """
    for _, target, _, _ in LINK.findall(without_code(page)):
        if "://" not in target and not target.startswith("mailto:"):
            yield Path(os.path.normpath(folder_of(path) / target))


def folder_of(path: Path) -> Path:
    return path if (ROOT / path).is_dir() else path.parent


def without_code(page: str) -> str:
    """A page without its blocks of code and inline code, where brackets are no links."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page, flags=re.DOTALL)


def link_folders(page: str, path: Path) -> str:
    """The page with each link to a folder leading to the page that lists it."""

    def lead(link: re.Match[str]) -> str:
        opening, target, anchor, closing = link.groups()
        if "://" in target or not (ROOT / folder_of(path) / target).is_dir():
            return link[0]
        return f"{opening}{target.rstrip('/')}/index.md{anchor or ''}{closing}"

    return LINK.sub(lead, page)


def list_folder(path: Path) -> str:
    """A page with the files of a folder."""
    names = sorted(each.name for each in (ROOT / path).iterdir() if each.is_file() and each.name[0] not in "._")
    return "\n".join([f"# {path.as_posix()}", "", *(f"- [{name}]({name})" for name in names), ""])


if __name__ == "__main__":
    main()

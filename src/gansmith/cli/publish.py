"""gansmith publish RUN"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.export_network import PageOptions, write_run_page
from gansmith.cli.options import parse, print_json

__all__ = ["main"]


@dataclass(frozen=True)
class PublishOptions(PageOptions):
    """Write a page that generates images in the browser, with a card and samples, ready for a static host.

    Nothing is uploaded; the next commands are printed.
    """


def main(arguments: Sequence[str]) -> None:
    """Publish."""
    options = parse(PublishOptions, "publish", arguments)
    page, source, title = write_run_page(options)
    from gansmith import api
    from gansmith.deploy.web import publish_page
    from gansmith.run_list import summarize_run

    about = summarize_run(api.open_run(options.run).path)
    facts = {
        "images": str(source.generator.spec),
        "data": about.data.rstrip("/").rpartition("/")[2],
        "preset": about.preset,
        "real images seen": f"{int(source.provenance['nimg']):,}",
        **({} if about.value is None else {str(about.metric): f"{about.value:.4g}"}),
    }
    publish_page(page, source.generator, title, facts)
    folder = shlex.quote(str(page.path))
    commands = [
        f"python -m http.server --directory {folder}",
        f"git -C {folder} init -b gh-pages",
        f"git -C {folder} add -A",
        f"git -C {folder} commit -m 'A page of generated images'",
        f"git -C {folder} push https://github.com/NAME/REPOSITORY gh-pages",
    ]
    if options.json:
        print_json({"path": str(page.path), "size_bytes": page.size_bytes, "commands": commands})
        return
    print(f"{page.path}: {page.size_bytes / 1e6:.2f} MB, with README.md (state the licence there) and samples.png")
    print("look at it, then publish it, for example with GitHub Pages:")
    print("\n".join(f"  {line}" for line in commands))

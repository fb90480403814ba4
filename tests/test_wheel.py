"""The wheel holds every file that gansmith reads at run time, and what is imported is a dependency."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import gansmith

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOME = Path(gansmith.__file__).parent
# One file of each kind that is read at run time, by the name that the code has for it.
READ = (
    *("report/templates/run.html.j2", "deploy/site/index.html", "deploy/site/kernel.wasm", "deploy/site/engine.js"),
    *("zoo/manifest.json",),
)
TRANSITIVE = {"markupsafe", "starlette", "onnx_ir"}  # of jinja2, fastapi and onnxscript
SEPARATE = {"gansmith_zoo"}  # more entries of the zoo; looked for, not needed


def packaged() -> set[str]:
    """What hatch takes: all files below the package that git does not ignore."""
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/gansmith"]}
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src/gansmith"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    return {line.removeprefix("src/gansmith/") for line in done.stdout.splitlines()}


def test_no_file_of_the_package_is_ignored_by_git() -> None:
    """A pattern of .gitignore, such as runs/ or dist/, would keep a file out of the wheel without a word."""
    here = {path.relative_to(HOME).as_posix() for path in HOME.rglob("*") if path.is_file()}
    assert {name for name in here if "__pycache__" not in name} == packaged()


def test_what_is_read_at_run_time_is_packaged() -> None:
    assert {*READ, "py.typed", *(f"cli/pages/{name}.md" for name in ("start", "run-folder", "extend"))} <= packaged()
    named = {text for path in HOME.rglob("*.py") for text in strings(path)}
    assert {name.rpartition("/")[2] for name in READ} <= named


def strings(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_what_is_imported_is_a_dependency() -> None:
    """Without an extra, a bare environment has only the dependencies; what tests need must not be imported."""
    modules = {
        "pillow": "PIL",
        "scikit-learn": "sklearn",
        "imageio-ffmpeg": "imageio_ffmpeg",
        "ipython": "IPython",
        "pillow-heif": "pillow_heif",
        "prometheus-client": "prometheus_client",
        "fastapi-offline": "fastapi_offline",
        "huggingface-hub": "huggingface_hub",
    }
    project = PROJECT["project"]
    extras = [
        line
        for name, lines in project["optional-dependencies"].items()
        if name not in ("dev", "docs")
        for line in lines
    ]
    packages = {
        re.split(r"[\[<>=~! ]", line)[0].replace("_", "-").lower() for line in [*project["dependencies"], *extras]
    }
    known = {modules.get(package, package.replace("-", "_")) for package in packages} | set(sys.stdlib_module_names)
    found = {name.split(".")[0] for path in HOME.rglob("*.py") for name in imports(path)}
    assert found - known - {"gansmith"} <= TRANSITIVE | SEPARATE


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found

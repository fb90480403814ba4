"""The house itself: who may import whom, what is public, how large things are, and that help answers at once."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gansmith
from gansmith.cli import COMMANDS

# Read left to right: a module imports only from its left or its own room.
STREET = (
    (
        *("errors", "files", "trust", "plain_json", "numerals", "download"),
        *("component", "types", "dist", "devices", "threads", "schedules"),
    ),
    ("losses", "penalties", "feature_penalties", "regularizers", "optimizers", "ema"),
    ("zoo", "runs", "run_list", "console", "images", "augment", "data", "models", "metrics", "sampling"),
    ("training", "evaluation", "study", "utility", "report"),
    ("deploy",),
    ("api", "cli", "__main__"),
)
# The rooms of training, likewise; those of the guard are rooms of it.
TRAINING = (
    ("data_facts", "listeners", "callbacks", "wandb_key", "loggers", "logs", "tracking", "sample_sheets"),
    ("guard.settings", "recipe", "origin", "config", "presets", "keywords"),
    ("statistics", "feedback", "memory", "state", "steps", "feature_views", "adversarial"),
    ("algorithm_choices", "checkpoint_files", "checkpoint", "snapshots", "tracker"),
    ("parent", "related_classes", "inheriting"),
    (
        "guard.journal",
        "guard.detectors",
        "guard.lines",
        "guard.remedies",
        "guard.probes",
        "guard.guardian",
        "trials",
        "auto",
    ),
    ("loop", "progress_bar", "stages", "messages", "resuming", "preview", "session"),
)
ORDER = [room for block in STREET for room in block]
ORDER_OF_TRAINING = [f"training.{module}" for block in TRAINING for module in block]
GROUND_FLOOR = set(STREET[0])
MATHEMATICS = {*STREET[1], "augment"}
OPTIONAL = {"wandb", "tensorboard", "imageio_ffmpeg", "IPython", "fastapi", "uvicorn", "prometheus_client"} | {
    *("onnx", "onnxscript", "onnxruntime", "huggingface_hub"),
}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 80
# One concept under one name: what the console script, and cli for each verb, calls with the words of a command line.
ENTRY_POINT = "main"

HOME = Path(gansmith.__file__).parent
DOOR = HOME / "__init__.py"
FILES = sorted(HOME.rglob("*.py"))
MODULES = [path for path in FILES if path != DOOR]
LISTED = [path for path in FILES if path.name != "__main__.py"]


def room(path: Path) -> str:
    return path.relative_to(HOME).with_suffix("").parts[0]


def dotted(path: Path) -> str:
    """A module's name below gansmith: "training.guard.probes"."""
    return ".".join(path.relative_to(HOME).with_suffix("").parts)


def home(target: str) -> str:
    """The module that an imported name stands in: "training.steps" for "gansmith.training.steps.generator_step"."""
    parts = target.split(".")[1:]
    return ".".join(parts if HOME.joinpath(*parts).with_suffix(".py").exists() else parts[:-1])


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Dotted names of what is imported below a node: "gansmith.dist", "torch.nn"."""
    for statement in ast.walk(node):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, "imports are absolute"
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def imported_to_run(path: Path) -> Iterator[str]:
    """What the module imports at any time, but for annotations only."""
    for node in tree(path).body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imported(node)


def imported_with_it(path: Path) -> list[str]:
    """What the module imports when it is imported itself."""
    top = [node for node in tree(path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return [target for node in top for target in imported(node)]


def packages_imported(path: Path) -> set[str]:
    return {target.split(".")[0] for target in imported(tree(path))}


def rooms_imported(path: Path) -> set[str]:
    ours = [target.split(".") for target in imported(tree(path)) if target.startswith("gansmith.")]
    return {parts[1] for parts in ours if parts[1] != "__version__"}


def offences(paths: list[Path], find: Callable[[Path], object]) -> dict[str, object]:
    """What a law finds wrong, by file; nothing is what every test hopes for."""
    return {path.relative_to(HOME).as_posix(): wrong for path in paths if (wrong := find(path))}


# --- the street --------------------------------------------------------------------------------------------


def test_every_module_stands_in_the_street() -> None:
    assert sorted({room(path) for path in MODULES}) == sorted(ORDER)


def test_a_module_imports_only_from_its_left_or_its_own_room() -> None:
    def right_of_it(path: Path) -> list[str]:
        return [other for other in rooms_imported(path) if ORDER.index(other) > ORDER.index(room(path))]

    assert offences(MODULES, right_of_it) == {}


def test_within_training_a_module_imports_only_from_its_left() -> None:
    modules = [path for path in MODULES if room(path) == "training" and path.name != "__init__.py"]
    assert sorted(map(dotted, modules)) == sorted(ORDER_OF_TRAINING)

    def right_of_it(path: Path) -> list[str]:
        ours = [home(target) for target in imported_to_run(path) if target.startswith("gansmith.training.")]
        return [other for other in ours if ORDER_OF_TRAINING.index(other) > ORDER_OF_TRAINING.index(dotted(path))]

    assert offences(modules, right_of_it) == {}


def test_networks_and_data_know_nothing_of_the_mathematics() -> None:
    rooms = [path for path in MODULES if room(path) in ("models", "data")]
    # but that a look at the data says which augmentations leave their meaning alone
    known = {HOME / "data" / "check.py": {"augment"}}
    assert offences(rooms, lambda path: rooms_imported(path) & MATHEMATICS - known.get(path, set())) == {}


def test_metrics_never_import_networks_that_are_judged() -> None:
    def judged(path: Path) -> set[str]:
        ours = {home(target) for target in imported(tree(path)) if target.startswith("gansmith.models")}
        return ours - {"models.pretrained"}  # frozen: nothing of it is learnt or judged

    assert offences([path for path in MODULES if room(path) == "metrics"], judged) == {}


def test_the_mathematics_is_pure() -> None:
    files_and_formats = {"pathlib", "os", "io", "json", "PIL", "numpy"}
    ranges = {"images"}  # what numbers black and white are
    rooms = [path for path in MODULES if room(path) in MATHEMATICS]
    assert offences(rooms, lambda path: rooms_imported(path) - GROUND_FLOOR - MATHEMATICS - ranges) == {}
    assert offences(rooms, lambda path: packages_imported(path) & files_and_formats) == {}


def test_only_the_doors_import_exports() -> None:
    others = [path for path in MODULES if room(path) not in ("deploy", "cli", "api")]
    assert offences(others, lambda path: rooms_imported(path) & {"deploy"}) == {}


def test_optional_packages_are_never_imported_with_a_module() -> None:
    assert offences(FILES, lambda path: {target.split(".")[0] for target in imported_with_it(path)} & OPTIONAL) == {}


def test_the_front_door_imports_nothing_until_it_is_asked() -> None:
    assert not [target for target in imported_with_it(DOOR) if target.startswith("gansmith")]
    assert all(getattr(gansmith, public) is not None for public in gansmith.__all__)
    with pytest.raises(AttributeError, match="module 'gansmith' has no attribute 'nothing'"):
        _ = gansmith.nothing


# --- what is public ----------------------------------------------------------------------------------------


@functools.cache
def public_names(path: Path) -> list[str]:
    assigned = [node for node in tree(path).body if isinstance(node, ast.Assign)]
    (found,) = (node.value for node in assigned if ast.unparse(node.targets[0]) == "__all__")
    names: list[str] = ast.literal_eval(found)
    return names


def defined_names(path: Path) -> set[str]:
    """Of all that a module defines or imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def public_definitions(path: Path) -> list[ast.ClassDef | ast.FunctionDef]:
    top = [node for node in tree(path).body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    return [node for node in top if not node.name.startswith("_")]


def test_all_is_sorted_constants_then_classes_then_functions() -> None:
    def order(word: str) -> tuple[int, str]:
        return (0 if word.isupper() else 1 if word[0].isupper() else 2), word

    assert offences(LISTED, lambda path: public_names(path) != sorted(public_names(path), key=order)) == {}


def test_all_names_every_public_class_and_function_and_nothing_else() -> None:
    def missing(path: Path) -> list[str]:
        return [node.name for node in public_definitions(path) if node.name not in public_names(path)]

    assert offences(LISTED, lambda path: set(public_names(path)) - defined_names(path)) == {}
    verbs = [path for path in LISTED if room(path) == "cli"]  # whose options have a class, for tyro alone
    assert offences([path for path in LISTED if path not in verbs], missing) == {}


def test_one_name_means_one_thing() -> None:
    """A public class or function has a name of its own in the whole tree."""
    counts = Counter(node.name for path in LISTED for node in public_definitions(path))
    assert {name for name, num in counts.items() if num > 1} == {ENTRY_POINT}


def test_only_the_command_line_has_an_entry_point() -> None:
    having = [path for path in LISTED if ENTRY_POINT in (node.name for node in public_definitions(path))]
    assert {room(path) for path in having} == {"cli"}
    assert len(having) == len(COMMANDS) + 1


def test_components_have_one_door() -> None:
    """Whatever is imported of the room, from outside it, stands in its ``__init__``."""

    def behind_it(path: Path) -> list[str]:
        ours = [target for target in imported(tree(path)) if target.startswith("gansmith.component.")]
        return [target for target in ours if target.count(".") > 2]

    assert offences([path for path in FILES if room(path) != "component"], behind_it) == {}


def test_whoever_imports_a_name_finds_it_public() -> None:
    def private(path: Path) -> list[str]:
        return [target for target in imported(tree(path)) if target.startswith("gansmith.") and not is_public(target)]

    assert offences(LISTED, private) == {}


def is_public(target: str) -> bool:
    *parents, word = target.split(".")[1:]
    folder = HOME.joinpath(*parents)
    if (folder / f"{word}.py").exists() or (folder / word).is_dir():
        return True
    home = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return word in public_names(home) or (home == DOOR and word == "__version__")


# --- size and shape ----------------------------------------------------------------------------------------


def test_every_file_says_what_it_is() -> None:
    assert offences(FILES, lambda path: not (ast.get_docstring(tree(path)) or "").strip()) == {}
    assert offences(FILES, lambda path: "__future__.annotations" not in imported(tree(path))) == {}


def test_everything_public_is_documented() -> None:
    def bare(path: Path) -> list[str]:
        return [node.name for node in public_definitions(path) if not ast.get_docstring(node)]

    assert offences(FILES, bare) == {}


def test_files_and_functions_are_not_long() -> None:
    def long(path: Path) -> list[str]:
        functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
        return [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION]

    assert offences(FILES, lambda path: path.read_text(encoding="utf-8").count("\n") > MOST_LINES) == {}
    assert offences(FILES, long) == {}


# --- help answers at once ----------------------------------------------------------------------------------

HELP = """
import sys
from gansmith.cli import main
for arguments in sys.argv[1:]:
    try:
        assert main(arguments.split()) == 0, arguments
    except SystemExit as stop:
        assert not stop.code, stop.code
    assert "torch" not in sys.modules, arguments
"""


def test_help_does_not_wait_for_torch() -> None:
    wanted = ["--help", "--version", *(f"{verb} --help" for verb in COMMANDS)]
    done = subprocess.run([sys.executable, "-c", HELP, *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"gansmith {verb}" in done.stdout for verb in COMMANDS)

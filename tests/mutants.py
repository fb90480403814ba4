"""Change one thing in the source at a time, and see whether a test fails: ``make mutants``.

    python tests/mutants.py --module losses --module augment/control --sample 20 --seed 1

An own script: each mutant is tried in a process forked from one that has imported torch already, with the tests of its
module alone. Survivors that change nothing are listed in ``mutants.toml``, each with its reason.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REFERENCE = "reference/test_training_reference.py"
AUGMENT = ("augment", "contracts/test_augment_contract.py", "metrics/test_augmentation_leak.py", REFERENCE)
TESTS: dict[str, tuple[str, ...]] = {
    "steps": (REFERENCE, "test_training.py", "contracts/test_penalty_contract.py", "distributed/test_two_processes.py"),
    "state": (REFERENCE, "test_training.py", "test_resume.py"),
    "schedules": ("test_schedules.py", "contracts/test_schedule_contract.py", REFERENCE),
    "ema": ("test_ema.py", REFERENCE),
    "losses": ("contracts/test_loss_contract.py", REFERENCE),
    "penalties": ("contracts/test_penalty_contract.py", REFERENCE, "test_training.py"),
    "optimizers": ("test_optimizers.py", "contracts/test_optimizer_contract.py", REFERENCE),
    "sample": ("test_sample.py",),
    "images": ("test_images.py", "test_sample.py"),
    "dist": ("test_dist.py", "distributed"),
    "augment/colour": AUGMENT,
    "augment/control": AUGMENT,
    "augment/cover": AUGMENT,
    "augment/geometry": AUGMENT,
    "augment/operations": AUGMENT,
    "augment/transform": AUGMENT,
    "data/batches": ("data/test_batches.py",),
    "metrics/frechet": ("metrics/test_frechet.py", "reference/test_frechet_reference.py"),
    "metrics/kernel": ("metrics/test_kernel.py", "reference/test_kernel_reference.py"),
    "metrics/manifold": ("metrics/test_manifold.py", "reference/test_manifold_reference.py"),
}
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.RShift: ast.LShift,
    ast.LShift: ast.RShift, ast.MatMult: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, what it is, and the whole changed source."""

    module: str
    line: int
    text: str
    change: str
    source: str


def make_mutants(module: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    source = (ROOT / "src/gansmith" / f"{module}.py").read_text(encoding="utf-8")
    lines, found = source.splitlines(), []
    for i, node in enumerate(_behaviour(ast.parse(source))):
        for change in _changes(node):
            tree = ast.parse(source)
            _apply(tree, next(each for k, each in enumerate(_behaviour(tree)) if k == i), change)
            line = node.lineno
            found.append(Mutant(module, line, lines[line - 1].strip(), change, ast.unparse(tree)))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.change))


def _behaviour(node: ast.AST) -> Iterator[Any]:
    """The nodes that decide what a program does: no annotations, decorators of classes, docstrings or messages."""
    if isinstance(node, (ast.expr, ast.stmt)):
        yield node
    for name, value in ast.iter_fields(node):
        silent = name in ("annotation", "returns") or (name == "decorator_list" and isinstance(node, ast.ClassDef))
        if silent or isinstance(node, (ast.Raise, ast.JoinedStr)) or _is_declaration(node):
            continue
        for child in value if isinstance(value, list) else [value]:
            documents = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if isinstance(child, ast.AST) and not documents:
                yield from _behaviour(child)


def _is_declaration(node: ast.AST) -> bool:
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation) == "TypeAlias"
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _changes(node: ast.AST) -> list[str]:
    """What can be changed at this node, in words that ``_apply`` reads."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        swap = (
            [f"{type(node.op).__name__} -> {OPERATORS[type(node.op)].__name__}"] if type(node.op) in OPERATORS else []
        )
        return swap + (["drop"] if isinstance(node, ast.AugAssign) else [])
    if isinstance(node, ast.Compare):
        return [f"{type(node.ops[0]).__name__} -> {OPERATORS[type(node.ops[0])].__name__}"]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [f"without {type(node.op).__name__}"]
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        return [f"{node.value!r} -> {_other(node.value)!r}"]
    if isinstance(node, (ast.If, ast.IfExp)):
        return ["always", "never"]
    if isinstance(node, ast.Call):
        return [f"without {keyword.arg}=" for keyword in node.keywords if keyword.arg]
    if isinstance(node, ast.Return):
        return [] if node.value is None or ast.unparse(node) == "return None" else ["return None"]
    if isinstance(node, ast.With):
        return ["without the context"]
    places = isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Attribute, ast.Subscript))
    return ["drop"] if places or isinstance(node, (ast.Expr, ast.Raise)) else []


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}?"
    return value + 1 if isinstance(value, int) or value == 0 else value * 1.1


def _apply(tree: ast.AST, node: Any, change: str) -> None:
    if change in ("drop", "without the context"):
        _replace(tree, node, [ast.Pass()] if change == "drop" else node.body)
    elif change in ("always", "never"):
        node.test = ast.Constant(change == "always")
    elif change == "return None":
        node.value = None
    elif change.endswith("="):
        node.keywords = [keyword for keyword in node.keywords if change != f"without {keyword.arg}="]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        _replace(tree, node, node.operand)
    elif isinstance(node, ast.Constant):
        node.value = _other(node.value)
    elif isinstance(node, ast.Compare):
        node.ops[0] = OPERATORS[type(node.ops[0])]()  # type: ignore[call-overload]
    else:
        node.op = OPERATORS[type(node.op)]()
    ast.fix_missing_locations(tree)


def _replace(tree: ast.AST, node: ast.AST, new: Any) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(each is node for each in value):
                at = next(i for i, each in enumerate(value) if each is node)
                value[at : at + 1] = new if isinstance(new, list) else [new]


# --- trying them -------------------------------------------------------------------------------------------


def try_source(module: str, source: str, copy: Path, limit: float) -> tuple[str, float]:
    """Run the module's tests with this source of it: "killed", "survived" or "timeout", and the seconds it took."""
    (copy / "gansmith" / f"{module}.py").write_text(source, encoding="utf-8")
    began, child = time.monotonic(), os.fork()
    if child == 0:
        _run_tests(module, copy)
    while time.monotonic() - began < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return "survived" if code == 0 else "killed", time.monotonic() - began
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout", time.monotonic() - began


def _run_tests(module: str, copy: Path) -> None:
    code = 99
    try:
        os.setsid()
        silent = os.open(copy / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(silent, 1), os.dup2(silent, 2)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)  # also for what the tests start
        import pytest

        tests = [str(ROOT / "tests" / name) for name in TESTS[module]]
        code = int(
            pytest.main(
                [
                    "-x",
                    "-q",
                    "--assert=plain",
                    "-p",
                    "no:xdist",
                    "-p",
                    "no:cacheprovider",
                    f"--basetemp={copy / 'tmp'}",
                    *tests,
                ]
            )
        )
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def warm_up() -> None:
    """Import what is slow, and nothing of the package."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in ("torch", "torch.distributed", "numpy", "scipy.linalg", "matplotlib.ft2font", "PIL.Image", "pytest"):
        __import__(name)
    for name in ("beartype", "jaxtyping", "safetensors.torch", "torchmetrics", "sklearn"):
        with contextlib.suppress(ImportError):
            __import__(name)
    sys.modules["torch"].set_num_threads(1)


def read_equivalents() -> set[tuple[str, str, str]]:
    """Module, line and change of the mutants that change nothing."""
    path = Path(__file__).with_name("mutants.toml")
    listed = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    assert all(each["reason"] for each in listed)
    return {(each["module"], each["line"], each["change"]) for each in listed}


def try_module(module: str, chosen: list[Mutant], copy: Path) -> list[Mutant]:
    """Try mutants; print each survivor, and return them."""
    shutil.copytree(ROOT / "src/gansmith", copy / "gansmith", ignore=shutil.ignore_patterns("__pycache__"))
    import compileall

    compileall.compile_dir(copy / "gansmith", quiet=1)
    for stale in (copy / "gansmith" / module).parent.glob(f"__pycache__/{Path(module).name}.*"):
        stale.unlink()  # a mutant of the same size in the same second would be taken for it
    source = (ROOT / "src/gansmith" / f"{module}.py").read_text(encoding="utf-8")
    outcome, seconds = try_source(module, source, copy, limit=600)
    if outcome != "survived":
        raise SystemExit(f"{module}: its tests fail without a change:\n{(copy / 'output.txt').read_text()[-3000:]}")
    survivors = []
    for mutant in chosen:
        if try_source(module, mutant.source, copy, limit=10 + 3 * seconds)[0] == "survived":
            survivors.append(mutant)
            print(f"  survived {module}.py:{mutant.line}: {mutant.change}: {mutant.text}", flush=True)
    return survivors


def main() -> None:
    """Try a sample of each module's mutants, or all."""
    parser = argparse.ArgumentParser(description="Change one thing at a time, and see whether a test fails.")
    parser.add_argument("--module", action="append", choices=TESTS, help="only this one; may be given several times")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each module; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    chosen = parser.parse_args()
    warm_up()
    equivalents, totals = read_equivalents(), [0, 0]
    for module in chosen.module or TESTS:
        every = [m for m in make_mutants(module) if (m.module, m.text, m.change) not in equivalents]
        size = min(chosen.sample or len(every), len(every))
        sample = random.Random(f"{chosen.seed} {module}").sample(every, size)
        with tempfile.TemporaryDirectory() as folder:
            killed = size - len(try_module(module, sample, Path(folder)))
        totals = [totals[0] + killed, totals[1] + size]
        print(f"{module}: {killed} of {size} killed ({killed / max(1, size):.0%}); {len(every)} in all", flush=True)
    print(f"total: {totals[0]} of {totals[1]} killed ({totals[0] / max(1, totals[1]):.1%})")


if __name__ == "__main__":
    main()

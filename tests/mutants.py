"""Change one thing in the source at a time, and see whether a test fails: ``make mutants``.

    python tests/mutants.py --modules losses augment/control --sample 20 --seed 1 --out benchmarks/results/mutants

``mutation/changes.py`` makes the mutants, ``mutation/trials.py`` tries them. ``mutation/known.toml`` lists mutants
that change nothing that can be seen, each with the reason, and changes by name that must be noticed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mutation.changes import Mutant, make_mutants, make_named
from mutation.trials import Target, try_mutants

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/gansmith"
REFERENCE = "reference/test_training_reference.py"
OUTPUTS = "training/test_discriminator_outputs.py"
QUANTITIES = "metrics/test_quantities.py"
NAMES = "contracts/test_names_and_defaults.py"
AUGMENT = (NAMES, "augment", "contracts/test_augment_contract.py")
MEMORY = tuple(
    f"training/test_loop.py::test_{name}"
    for name in (
        "each_step_moves_its_own_network_only",
        "a_lazy_penalty_is_due_every_so_many_steps_and_counts_as_much",
        "micro_batches_have_the_sums_of_the_whole",
        "where_memory_runs_out_micro_batches_shrink_and_nothing_else",
        "what_does_not_fit_at_all_is_said",
        "augmentation_that_never_happens_costs_nothing",
    )
)
FEEDBACK = tuple(
    f"training/test_loop.py::test_{name}"
    for name in (
        "augmentation_follows_the_discriminators_signs",
        "with_pairs_the_signs_are_those_of_their_distance",
        "augmentation_follows_unseen_images_where_that_is_asked_for",
    )
)
TESTS: dict[str, tuple[str, ...]] = {
    "training/adversarial": ("training/test_steps.py", OUTPUTS, REFERENCE, *MEMORY),
    "training/steps": ("training/test_steps.py", "training/test_recipes.py", REFERENCE, *MEMORY),
    "training/state": ("training/test_state.py", REFERENCE),
    "training/feedback": ("training/test_state.py", REFERENCE, *FEEDBACK),
    "training/memory": ("training/test_state.py", *MEMORY),
    "training/checkpoint": ("training/test_state.py", "training/test_recipes.py"),
    "schedules": (NAMES, "test_schedules.py", "contracts/test_schedule_contract.py"),
    "ema": ("test_ema.py",),
    "losses": (NAMES, "contracts/test_loss_contract.py"),
    "regularizers": (NAMES, OUTPUTS),
    "penalties": (NAMES, "contracts/test_penalty_contract.py"),
    "optimizers": (NAMES, "test_optimizers.py", "contracts/test_optimizer_contract.py"),
    "sampling/generator": ("sampling/test_generator.py",),
    "images/pixels": ("images/test_pixels.py", "sampling/test_generator.py"),
    "images/sheets": ("images/test_sheets.py", "sampling/test_generator.py"),
    "dist": ("test_dist.py", "test_dist_ranks.py"),
    "models/algorithms": ("models/test_algorithms.py",),
    "models/matmul": ("models/test_matmul.py",),
    "models/winograd": ("models/test_winograd.py",),
    "augment/colour": AUGMENT,
    "augment/control": AUGMENT,
    "augment/cover": AUGMENT,
    "augment/geometry": AUGMENT,
    "augment/operations": AUGMENT,
    "augment/transform": AUGMENT,
    "data/batches": ("data/test_batches.py",),
    "metrics/frechet": (QUANTITIES, "metrics/test_frechet.py", "reference/test_frechet_reference.py"),
    "metrics/kernel": (QUANTITIES, "metrics/test_kernel.py", "reference/test_kernel_reference.py"),
    "metrics/manifold": (QUANTITIES, "metrics/test_manifold.py", "reference/test_manifold_reference.py"),
}
WARM = ("torch", "torch.distributed", "numpy", "scipy.linalg", "matplotlib.ft2font", "PIL.Image")
WARM_IF_THERE = ("beartype", "jaxtyping", "safetensors.torch", "torchmetrics", "sklearn.metrics", "tyro")
COLUMNS = "| module | mutants | tried | equivalent | killed | survived | score | timed out | errors | minutes |"


@dataclass
class Score:
    """What became of a module's mutants.

    Args:
        mutants: how many there are.
        equivalent: those among them that change nothing that can be seen, listed with the reason; not tried.
        killed: how many made a test fail.
        survived: those that made none fail.
        timeout: those whose tests did not end; in no score.
        error: those with which no test could be run, mostly as the module could not be imported; in no score.
        minutes: that it took.
    """

    module: str
    mutants: int
    equivalent: int
    killed: int = 0
    survived: list[str] = field(default_factory=list)
    timeout: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    minutes: float = 0.0

    def __str__(self) -> str:
        tried = self.killed + len(self.survived) + len(self.timeout) + len(self.error)
        cells = (self.module, self.mutants, tried, self.equivalent, self.killed, len(self.survived),
                 share(self.killed, len(self.survived)), len(self.timeout), len(self.error),
                 f"{self.minutes:.1f}")  # fmt: skip
        return "| " + " | ".join(map(str, cells)) + " |"


def share(killed: int, survived: int) -> str:
    """Of those that a test could fail with."""
    return f"{killed / (killed + survived):.1%}" if killed + survived else ""


def try_module(module: str, chosen: argparse.Namespace) -> Score:
    """Try a module's mutants, or a sample; print each that no test failed with."""
    source, began = (PACKAGE / f"{module}.py").read_text(encoding="utf-8"), time.monotonic()
    named, every, silent = read_known(module, source)
    rest = [mutant for mutant in every if (mutant.text, mutant.change) not in silent]
    score = Score(module, len(every) + len(named), len(every) - len(rest))
    sample = named + [
        mutant
        for inside, most in ((True, chosen.sample), (False, chosen.imports))
        for mutant in drawn([each for each in rest if bool(each.function) == inside], most, chosen.seed)
    ]
    with tempfile.TemporaryDirectory() as folder:
        tests = [ROOT / "tests" / name for name in TESTS[module]]
        target = Target(package=PACKAGE, module=module, tests=tests, slowest=chosen.slowest, folder=Path(folder))
        for mutant, outcome in try_mutants(target, sample):
            note(score, mutant, outcome)
    score.minutes = (time.monotonic() - began) / 60
    return score


def read_known(module: str, source: str) -> tuple[list[Mutant], list[Mutant], set[tuple[str, str]]]:
    """Return the changes by name, all other mutants, and line and change of those among them that change nothing.

    Raises:
        ValueError: one that is listed is not in the source any more, or has no reason.
    """
    known = tomllib.loads((ROOT / "tests/mutation/known.toml").read_text(encoding="utf-8"))
    mine = {kind: [each for each in known[kind] if each["module"] == module] for kind in ("named", "equivalent")}
    named, every = (
        [make_named(module, source, each["old"], each["new"]) for each in mine["named"]],
        make_mutants(module, source),
    )
    silent = {(each["line"], change) for each in mine["equivalent"] for change in each["changes"]}
    stale = silent - {(mutant.text, mutant.change) for mutant in every}
    if stale or not all(each["reason"] for each in mine["equivalent"]):
        raise ValueError(f"known.toml: {module} has no such line and change, or no reason: {sorted(stale)[:1]}")
    return named, every, silent


def drawn(mutants: Sequence[Mutant], most: int, seed: int) -> list[Mutant]:
    """A sample; all of them if ``most`` is 0."""
    module = mutants[0].module if mutants else ""
    return random.Random(f"{seed} {module}").sample(list(mutants), min(most or len(mutants), len(mutants)))


def note(score: Score, mutant: Mutant, outcome: str) -> None:
    """Count an outcome; print all but kills."""
    if outcome == "killed":
        score.killed += 1
        return
    {"survived": score.survived, "timeout": score.timeout, "error": score.error}[outcome].append(str(mutant))
    print(f"  {outcome} {mutant}", flush=True)


def warm_up() -> None:
    """Import what is slow, and nothing of the package."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in (*WARM, *WARM_IF_THERE):
        with contextlib.suppress(ImportError) if name in WARM_IF_THERE else contextlib.nullcontext():
            __import__(name)
    torch = sys.modules["torch"]
    torch.set_num_threads(1)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True)  # the first one imports the compiler


def write(path: Path, scores: Sequence[Score], chosen: argparse.Namespace) -> None:
    """Put the scores into ``path.json``, where those of other modules stay, and the table of all into ``path.md``."""
    file, when = path.with_suffix(".json"), circumstances(chosen)
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found |= {score.module: {**asdict(score), **when} for score in scores}
    found = {module: found[module] for module in TESTS if module in found}
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(found), encoding="utf-8")


def circumstances(chosen: argparse.Namespace) -> dict[str, Any]:
    """What a score depends on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    named = {"date": str(datetime.date.today()), "commit": commit.stdout.strip(), "processor": processor()}
    return {**named, **{name: getattr(chosen, name) for name in ("sample", "imports", "seed", "slowest")}}


def table(found: dict[str, Any]) -> str:
    """All scores, what no test failed with, and what changes nothing, with the reasons."""
    kept = [Score(**{name: each[name] for name in Score.__dataclass_fields__}) for each in found.values()]
    total = Score("all", *(sum(getattr(each, name) for each in kept) for name in ("mutants", "equivalent", "killed")))
    total.minutes = sum(each.minutes for each in kept)
    lists: list[str] = []
    for name, title in (("survived", "Survived"), ("timeout", "Timed out"), ("error", "Errors")):
        setattr(total, name, [line for each in kept for line in getattr(each, name)])
        listed = [f"- `{line}`" for line in getattr(total, name)]
        lists += ["", f"{title}:", "", *listed] if listed else []
    known = tomllib.loads((ROOT / "tests/mutation/known.toml").read_text(encoding="utf-8"))["equivalent"]
    reasons = [
        f"- `{each['module']}.py`: `{'`, `'.join(each['changes'])}` in `{each['line']}`: {each['reason']}"
        for each in known
        if each["module"] in found
    ]
    rows = [COLUMNS, "|---" * 10 + "|", *(str(score) for score in (*kept, total))]
    return "\n".join([about(found), "", *rows, *lists, "", "Equivalent, not tried:", "", *reasons]) + "\n"


def about(found: dict[str, Any]) -> str:
    """When, where and of how many changes."""
    names = ("date", "commit", "processor", "seed")
    facts = [f"{name} {', '.join(sorted({str(each[name]) for each in found.values()}))}" for name in names]
    most = " or ".join(sorted({f"{each['sample'] or 'all'} + {each['imports'] or 'all'}" for each in found.values()}))
    return (
        f"`make mutants`: {', '.join(facts)}; sample of each module: {most} of the changes inside functions and of "
        "those that take effect on import, and the changes by name. Score: killed of killed and survived."
    )


def processor() -> str:
    """The processor's name, where Linux tells it."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor()


def main() -> None:
    """Try the mutants of each module, and print the table."""
    parser = argparse.ArgumentParser(description="Change one thing at a time, and see whether a test fails.")
    parser.add_argument("--modules", nargs="+", choices=TESTS, default=list(TESTS), metavar="MODULE")
    parser.add_argument("--sample", type=int, default=0, help="mutants inside functions, of each module; 0 for all")
    parser.add_argument("--imports", type=int, default=0, help="mutants that take effect on import; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument(
        "--slowest", type=float, default=5.0, help="seconds of the processor's time; slower tests are left out"
    )
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    chosen = parser.parse_args()
    warm_up()
    scores = []
    for module in chosen.modules:
        scores.append(try_module(module, chosen))
        print(scores[-1], flush=True)
        if chosen.out:
            write(chosen.out, scores, chosen)
    print(table({score.module: {**asdict(score), **circumstances(chosen)} for score in scores}))


if __name__ == "__main__":
    main()

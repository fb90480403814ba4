"""Compare variants of one preset after equal times or equal numbers of images.

    python benchmarks/sweep.py base "width 64" model.width=64 "no augmentation" augment=null \\
        --gtsrb G --cifar10 C --lengths "1 min" "10 min" --seeds 0 1
    python benchmarks/sweep.py --table

The words are variants: a name, and the fields that it changes as PATH=VALUE, where VALUE is JSON or text. Each variant
is trained on each data set, for each length and seed, one after the other. Variants alternate, so that a temporarily
slow machine slows all of them. Nothing is measured during training. At the end the generator is evaluated like
`gansmith evaluate RUN --against DATA`. Trainings are deleted, except for a sheet of samples below --work.

Adds the results to benchmarks/results/DATE-sweep.json and writes the tables in .md again.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import gansmith
from gansmith.component import to_plain
from gansmith.errors import GansmithError
from gansmith.training.config import flat
from gansmith.training.presets import DEFAULT_PRESET
from quality import DATA, METRICS, figures, machine, read
from quality_tables import MACHINE, markdown, ranged
from record import find_commit

__all__ = ["main", "tables", "variants"]

HERE = Path(__file__).parent
SIZES = {"mnist": 28, "gtsrb": 32, "cifar10": 32, "flowers": 64, "digits": None}
SAMPLES = 64  # of the sheet
KEY = ("data", "size", "preset", "length", "variant", "seed")
CHOSEN = {"width": "model.width", "batch": "batch_size", "augmentation": "augment.name"}


def main() -> None:
    """Train and evaluate each variant, and add it to the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="NAME [PATH=VALUE...]", help="what to compare")
    for data in DATA:
        parser.add_argument(f"--{data}", type=Path, help="where a copy of it lies")
    parser.add_argument("--digits", action="store_true", help="the data set that gansmith brings along")
    parser.add_argument("--size", type=int, help=f"pixels; default {SIZES}")
    parser.add_argument("--preset", default=DEFAULT_PRESET)
    parser.add_argument("--lengths", nargs="+", default=["1 min"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--num", type=int, default=10_000, help="images that are judged")
    parser.add_argument("--work", type=Path, default=Path("runs/sweep"), help="where the sheets go")
    parser.add_argument("--out", type=Path, help="file without suffix; default results/DATE-sweep")
    parser.add_argument("--table", action="store_true", help="only draw the tables again")
    options = parser.parse_args()
    out = options.out or HERE / "results" / f"{datetime.date.today().isoformat()}-sweep"
    if not options.table:
        compare(options, out, parser)
    out.with_suffix(".md").write_text(tables(read(out)) + "\n")
    print(out.with_suffix(".md").read_text())


def compare(options: argparse.Namespace, out: Path, parser: argparse.ArgumentParser) -> None:
    """Run all trainings, one after the other."""
    changes = variants(options.variants, parser)
    given = [data for data in SIZES if getattr(options, data)]
    for data, length, seed, name in itertools.product(given, options.lengths, options.seeds, changes):
        size = options.size or SIZES[data]
        key = dict(zip(KEY, (data, size, options.preset, length, name, seed), strict=True))
        try:
            result = {**key, "changes": changes[name], **trained(key, changes[name], options)}
        except GansmithError as error:  # a loser, too
            result = {**key, "changes": changes[name], "commit": find_commit(), "failed": str(error).partition("\n")[0]}
        results = [each for each in read(out) if not each.items() >= key.items()]
        about = {"date": datetime.date.today().isoformat(), **machine(), "results": [*results, result]}
        out.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
        print(line(result), flush=True)


def variants(words: list[str], parser: argparse.ArgumentParser) -> dict[str, dict[str, Any]]:
    """Return the changed fields of each variant by its name."""
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        path, equals, value = word.partition("=")
        if not equals:
            found[word] = {}
        elif not found:
            parser.error(f"{word}: of which variant? a name comes first")
        else:
            found[list(found)[-1]][path] = plain(value)
    if not found:
        parser.error("name at least one variant")
    return found


def plain(text: str) -> Any:
    """Return the JSON value, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- one training ------------------------------------------------------------------------------------------


def trained(key: dict[str, Any], changes: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train a variant and return its values."""
    name = "-".join(str(key[part]).replace(" ", "_").replace("/", "_") for part in KEY)
    folder = options.work / name
    shutil.rmtree(folder, ignore_errors=True)
    found = getattr(options, key["data"])
    data, root = {"flowers": (found, None), "digits": ("digits", None)}.get(key["data"], (key["data"], found))
    seldom = {"init": None, "tracking": None, "samples.every": "100 %", "checkpoint_every": "100 %"}
    run = gansmith.train(
        data,
        root=root,
        run=folder,
        preset=key["preset"],
        length=key["length"],
        seed=key["seed"],
        size=key["size"],
        overrides={**seldom, **changes},
    )
    measurement = run.evaluate(data, root=root, metrics=METRICS, num=options.num, overrides={"snapshot": "last"})
    run.generator(snapshot="last").sample(SAMPLES).save(folder.parent / f"{folder.name}.png")
    nimg, seconds = measurement.generated.nimg or 0, measurement.generated.seconds or 0
    config = flat(to_plain(run.config))
    result = {
        "kimg": round(nimg / 1000, 1),
        "seconds": round(seconds, 1),
        "chosen": {word: config.get(path) for word, path in CHOSEN.items()},
        "commit": find_commit(),
        "num": options.num,
        **figures(measurement),
    }
    shutil.rmtree(folder)
    return result


# --- results -----------------------------------------------------------------------------------------------


def line(result: dict[str, Any]) -> str:
    """Return a line of progress."""
    words = [str(result[part]) for part in KEY]
    if "failed" in result:
        return f"{' '.join(words)}: {result['failed']}"
    fid = f"FID {result['fid']:.4g}" if "fid" in result else "too few images for an FID"
    return f"{' '.join(words)}: {fid}, {result['kimg']:,.0f} kimg, {result['chosen']}"


def tables(results: list[dict[str, Any]]) -> str:
    """Return a table for each data set, size, preset and length, the best variant first."""
    parts = [f"Variants, {', '.join(f'{name} {value}' for name, value in machine().items() if name in MACHINE)}."]
    parts += ["FID of the end against as many real images as were judged, medians over the seeds (lowest to highest)."]
    by_place = lambda each: tuple(str(each[part]) for part in KEY[:4])  # noqa: E731
    for place, group in itertools.groupby(sorted(results, key=by_place), by_place):
        data, size, preset, length = place
        parts += [f"## {data}, {size} px, `{preset}`, {length}", table(list(group))]
    return "\n\n".join(parts)


def table(results: list[dict[str, Any]]) -> str:
    """Return a table with one line per variant."""
    columns = ("variant", "fields", "seeds", "FID", "label fidelity", "classes", "kimg", "images/s", "chosen", "commit")
    named: dict[str, list[dict[str, Any]]] = {}
    for each in results:
        named.setdefault(each["variant"], []).append(each)
    order = sorted(named.values(), key=lambda trial: min(each.get("fid", float("inf")) for each in trial))
    return markdown(columns, [cells(trial) for trial in order])


def cells(trial: list[dict[str, Any]]) -> list[str]:
    """Return the cells of one variant over its seeds."""
    last = trial[-1]
    fields = ", ".join(f"`{path}={json.dumps(value)}`" for path, value in last["changes"].items())
    head = [last["variant"], fields, ", ".join(str(each["seed"]) for each in trial)]
    if "failed" in last:
        return [*head, f"failed: {last['failed']}", *[""] * 5, last["commit"]]
    chosen = ", ".join(f"{word} {value}" for word, value in last["chosen"].items() if value is not None)
    numbers = [
        ranged(trial, lambda each: each.get("fid")),
        ranged(trial, lambda each: each.get("label_fidelity"), "{:.1%}"),
        ranged(trial, lambda each: each.get("classes_covered"), "{:.0f}"),
        ranged(trial, lambda each: each.get("kimg"), "{:,.0f}"),
        ranged(trial, lambda each: 1000 * each["kimg"] / max(each["seconds"], 1e-9), "{:,.0f}"),
    ]
    return [*head, *numbers, chosen, last["commit"]]


if __name__ == "__main__":
    main()

"""python zoo/build.py NAME --data-root PATH: train an entry of the zoo, measure it, write its card, pin its digests.

A stopped training continues. On the processor of the entry's card, with its commit and versions, the weights are the
same bit for bit; --check says whether they are, and leaves the entry as it is.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from builder.measure import SPACES, halve_run, measure_entry, measure_rounding
from builder.pack import differing_weights, entry_folder, pack_entry
from builder.train import Recipe, read_commit, train_entry

from gansmith.plain_json import read_json


def main() -> None:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of recipes/NAME.toml")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="the folder with the data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/zoo"), help="the folder for runs and caches")
    parser.add_argument("--length", help="instead of the recipe's, for a trial")
    parser.add_argument("--num", type=int, default=5000, help="number of images of a metric")
    parser.add_argument("--spaces", default=",".join(SPACES), help="feature extractors")
    parser.add_argument("--only-train", action="store_true", help="measure and pack later")
    parser.add_argument("--check", action="store_true", help="compare the weights with the entry's, and write nothing")
    arguments = parser.parse_args()
    work, name = arguments.work.absolute(), arguments.name
    os.environ["GANSMITH_CACHE"] = str(work / "cache")  # so that no other choices of algorithms are found
    entry = entry_folder(name, Recipe.read(name).place)
    run = train_entry(name, arguments.data_root.absolute(), work, entry / "environment.json", arguments.length)
    if arguments.only_train or read_json(run / "status.json")["state"] != "finished":
        print(f"{run}: repeat the command to continue")
        return
    half = halve_run(run, work / "half" / name)
    if arguments.check:
        differing = differing_weights(entry, half)
        print(f"{name}: " + (f"{', '.join(differing)} differ" if differing else "the same weights, bit for bit"))
        return
    measurements = measure_entry(half, arguments.spaces.split(","), arguments.num)
    rounding = measure_rounding(run, half, measurements[0], arguments.num)
    print(pack_entry(name, half, measurements, rounding, read_commit(run)))


if __name__ == "__main__":
    main()

"""How much too good the metric of a kept generator is on the images that it was selected by.

    python benchmarks/seed_bias.py --data-root path/to/data [--runs 3] [--kimg 24]

Trains short runs on MNIST. Tracking keeps the generator with the best FID of seeds 0 to 999. That generator is measured
again on other blocks of 1,000 seeds, and on 10,000 images: of seeds 0 to 9,999, and of those that ``gansmith evaluate``
uses. Writes a JSON file and a Markdown table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import gansmith
from gansmith.evaluation.options import FIRST_SEED
from gansmith.training.snapshots import find_snapshot
from record import write_results

__all__ = ["main", "measured", "table"]

HERE = Path(__file__).parent
BLOCK = 1000  # images that tracking measures
BLOCKS = 10  # other blocks
NUM = 10_000  # images that an evaluation measures


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with mnist/")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kimg", type=int, default=24, help="length of each run")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.runs):
            results.append(measured("mnist", options.data_root / "mnist", Path(folder) / str(seed), seed, options.kimg))
            print(results[-1], flush=True)
    write_results("seed-bias", "Selected and other seeds", results, table, {"data": "mnist", "kimg": options.kimg})


def measured(
    data: str, root: Path | None, run: Path, seed: int, kimg: float, blocks: int = BLOCKS, num: int = NUM
) -> dict[str, Any]:
    """Train one run and measure its kept generator on the seeds that selected it and on others."""
    overrides = {
        "seed": seed,
        "model.width": 16,
        "batch_size": 32,
        "tracking.every": "2 %",
        "tracking.max_share": 1.0,
        "samples.at_start": False,
    }
    trained = gansmith.train(data, root=root, run=run, preset="dcgan-r1", length=f"{kimg} kimg", overrides=overrides)
    nimg = find_snapshot(trained.folder, "best").nimg

    def fid(first: int, images: int) -> float:
        return trained.evaluate(metrics="fid", num=images, overrides={"seed": first}).values["fid"].value

    return {
        "seed": seed,
        "measurements": sum(line["kind"] == "tracking" for line in trained.folder.read_measurements()),
        "kept at kimg": nimg / 1000,
        "selecting": fid(0, BLOCK),
        "others": [fid(FIRST_SEED + number * BLOCK, BLOCK) for number in range(blocks)],
        "before": fid(0, num),
        "now": fid(FIRST_SEED, num),
    }


def table(results: list[dict[str, Any]]) -> str:
    """A line each, and the mean difference with its t interval."""
    lines = [
        f"| run | measurements | kept at kimg | FID of {BLOCK:,}: selecting seeds | other seeds: mean (deviation) "
        f"| FID of {NUM:,}: seeds from 0 | from {FIRST_SEED:,} |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in results:
        others = f"{np.mean(each['others']):.3f} ({np.std(each['others'], ddof=1):.3f})"
        lines.append(
            f"| {each['seed']} | {each['measurements']} | {each['kept at kimg']:.1f} | {each['selecting']:.3f} "
            f"| {others} | {each['before']:.3f} | {each['now']:.3f} |"
        )
    of_block = _difference([100 * (each["selecting"] / np.mean(each["others"]) - 1) for each in results])
    of_all = _difference([100 * (each["before"] / each["now"] - 1) for each in results])
    return "\n".join(
        [
            *lines,
            "",
            f"Selecting seeds against others, FID of {BLOCK:,} images: {of_block}.",
            f"Seeds from 0 against seeds from {FIRST_SEED:,}, FID of {NUM:,} images: {of_all}.",
        ]
    )


def _difference(percents: list[float]) -> str:
    mean, reach = float(np.mean(percents)), stats.t.ppf(0.975, len(percents) - 1) * stats.sem(percents)
    return f"{mean:+.1f} % (95 % interval {mean - reach:+.1f} to {mean + reach:+.1f} %)"


if __name__ == "__main__":
    main()

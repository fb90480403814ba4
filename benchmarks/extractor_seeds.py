"""Measure how much the seed of a feature extractor's training changes FID.

    python benchmarks/extractor_seeds.py --data-root path/to/data [--only mnist] [--extractors classifier] [--seeds 0 1]

Each extractor starts from other weights and is trained on other batches and views. All measure the corrupted images of
corruptions.py. Writes the rank correlation of their FIDs over kinds and strengths (Spearman), and the ratio of the FIDs
of two extractors, to a JSON file and a Markdown table in benchmarks/results/. Results of the same day for other data
and extractors are kept.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.stats import spearmanr

from corruptions import DATA, LABELLED, all_spoilt, fid, looked_at, prepared
from gansmith.data.store import Store
from record import merge_result, write_results

__all__ = ["agreement", "learnt_from", "main", "measured_by", "table"]

HERE = Path(__file__).parent
NUM_DRAWS = 2  # of classes and images
LEARNERS = ("learning", "classifier", "self_supervised")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with the data sets")
    parser.add_argument("--only", default=",".join(LABELLED), help="data sets, separated by commas")
    parser.add_argument("--extractors", default="classifier,self-supervised", help="likewise")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the networks")
    options = parser.parse_args()
    for extractor in options.extractors.split(","):
        for name in options.only.split(","):
            store, rows = prepared(name, options.data_root), []
            for seed in options.seeds:
                with learnt_from(seed):
                    rows.append(measured_by(name, store, extractor))
            result = {"data": name, "extractor": extractor, "seeds": options.seeds, **agreement(rows)}
            write_results(
                "extractor-seeds",
                "FID by extractors of other seeds",
                merge_result("extractor-seeds", result, _place),
                table,
            )


@contextmanager
def learnt_from(seed: int) -> Iterator[None]:
    """Feature networks that are asked for in this block learn from another seed, and are kept under another name."""
    places = ("backbone.WEIGHTS_SEED", *(f"{module}.LEARNING_SEED" for module in LEARNERS))
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(patch(f"gansmith.metrics.{place}", seed))
        stack.enter_context(patch("gansmith.metrics.learning.RECIPE", f"exp{seed}"))
        yield


def measured_by(name: str, store: Store, extractor: str) -> tuple[str, dict[str, float]]:
    """How good a network is, and its FIDs of the images as they are and of each kind and strength, by name."""
    network, pool, real = looked_at(name, store, extractor)
    found: dict[str, float] = {}
    for kind, strengths, draws in all_spoilt(network, pool, NUM_DRAWS):
        found["clean"] = fid(real, draws[0][0])
        for number, strength in enumerate(strengths, start=1):
            found[f"{kind} {strength:g}"] = float(np.mean([fid(real, draw[number]) for draw in draws]))
    return network.note, found


def agreement(measured: list[tuple[str, dict[str, float]]]) -> dict[str, Any]:
    """What several networks make of the same spoilt images.

    Args:
        measured: of each network, as ``measured_by`` gives it.
    """
    values = np.array([list(found.values()) for _, found in measured])
    pairs = list(itertools.combinations(values, 2))
    factors = np.exp(np.abs([np.log(one / other) for one, other in pairs]))
    kinds = list(measured[0][1])
    return {
        "notes": [note for note, _ in measured],
        "rank_correlations": [round(float(spearmanr(one, other)[0]), 4) for one, other in pairs],
        "factors": {
            "median": round(float(np.median(factors)), 3),
            "95 %": round(float(np.quantile(factors, 0.95)), 3),
            "largest": round(float(factors.max()), 3),
        },
        "largest at": kinds[int(factors.max(axis=0).argmax())],
        "fids": [{kind: float(f"{value:.4g}") for kind, value in found.items()} for _, found in measured],
    }


def _place(result: dict[str, Any]) -> tuple[str, int]:
    return result["extractor"], list(DATA).index(result["data"])


def table(results: list[dict[str, Any]]) -> str:
    """A line for each data set and network."""
    lines = [
        "| data | network | seeds | how good | lowest rank correlation | FIDs differ, median | 95 % | largest | at |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in results:
        factors = " | ".join(f"x {value:.2f}" for value in each["factors"].values())
        cells = [each["data"], each["extractor"], ", ".join(map(str, each["seeds"])), "; ".join(each["notes"])]
        lines.append(
            f"| {' | '.join(cells)} | {min(each['rank_correlations']):.3f} | {factors} | "
            f"{each['largest at'].replace('_', ' ')} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""How many classes the metric `classes` finds where so many are there.

    python benchmarks/classes.py --data-root path/to/data [--only mnist,gtsrb,cifar10]

Real images of some of the classes, that the classifier did not learn from, play the part of generated ones: 20 draws
of classes and images each (with replacement where there are fewer images). Beside it stands the number by shares
alone: the classes whose share of what is seen is at least a tenth of that among real images, without regard to
mistakes. Writes a JSON file and a Markdown table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corruptions import IMAGES, prepared
from gansmith.data.batches import split
from gansmith.data.store import Store
from gansmith.metrics.classifier import Classifier
from gansmith.metrics.features import Features, Selection, choose_subset, extract_store
from gansmith.metrics.fidelity import ClassCoverage
from gansmith.metrics.metric import Estimate, MetricInputs
from record import write_results

__all__ = ["found", "main", "measured", "table"]

HERE = Path(__file__).parent
CLASSES = {"mnist": (10, 8, 5, 2), "cifar10": (10, 8, 5, 2), "gtsrb": (43, 20, 5)}
NUMBERS = (500, 2000, 10_000)
DRAWS = 20


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with the data sets")
    parser.add_argument("--only", default=",".join(CLASSES), help="data sets, separated by commas")
    options = parser.parse_args()
    results = []
    for name in options.only.split(","):
        results += measured(name, prepared(name, options.data_root), CLASSES[name])
        print(table(results), flush=True)
    write_results("classes", f"Classes found, mean of {DRAWS} draws", results, table)


def measured(
    name: str, store: Store, there: tuple[int, ...], numbers: tuple[int, ...] = NUMBERS, draws: int = DRAWS
) -> list[dict[str, Any]]:
    """All numbers of classes and images of one data set."""
    num = IMAGES if len(store) >= 2 * IMAGES else len(store) // 4
    training, held_out = split(store, 1.05 * num / len(store))
    network = Classifier().network(store, training)
    assert network.validation is not None
    parts = (choose_subset(training, num), choose_subset(held_out, num), network.validation)
    real, unseen, validation = (extract_store(network, store, part) for part in parts)
    results = []
    for classes in there:
        for number in numbers:
            each = [found(real, unseen, validation, store.class_names, classes, number, seed) for seed in range(draws)]
            low, value, high, by_shares = np.array(each).T
            results.append(
                {
                    "data": name,
                    "note": network.note,
                    "images": number,
                    "there": classes,
                    "by shares": round(float(by_shares.mean()), 2),
                    "found": round(float(value.mean()), 2),
                    "right": int((value == classes).sum()),
                    "low": round(float(low.mean()), 2),
                    "high": round(float(high.mean()), 2),
                    "within": int(((low <= classes) & (classes <= high)).sum()),
                    "draws": draws,
                }
            )
    return results


def found(
    real: Features,
    unseen: Features,
    validation: Features,
    names: tuple[str, ...],
    classes: int,
    number: int,
    seed: int,
) -> tuple[float, float, float, int]:
    """The interval's lower end, the figure, the upper end, and the number by shares alone, of one draw."""
    draw = np.random.default_rng(seed)
    assert unseen.labels is not None
    pool = np.flatnonzero(np.isin(unseen.labels, draw.permutation(len(names))[:classes]))
    rows = draw.choice(pool, number, replace=number > len(pool))
    assert isinstance(unseen.images, Selection) and unseen.logits is not None
    images = Selection(unseen.images.images, unseen.images.indices[rows])
    fake = Features(values=unseen.values[rows], logits=unseen.logits[rows], labels=None, images=images)
    given = MetricInputs(real=real, fake=fake, validation=validation, class_names=names)
    estimate: Estimate = ClassCoverage().measure(given)["classes_covered"]
    return estimate.low, estimate.value, estimate.high, _by_shares(real, fake, len(names))


def _by_shares(real: Features, fake: Features, num_classes: int) -> int:
    shares: list[NDArray[np.float64]] = []
    for features in (real, fake):
        assert features.logits is not None
        shares.append(np.bincount(features.logits.argmax(1).numpy(), minlength=num_classes) / len(features))
    return int(((shares[0] > 0) & (shares[1] >= 0.1 * shares[0])).sum())


def table(results: list[dict[str, Any]]) -> str:
    """A line each."""
    lines = [
        "| data | classifier | images | classes there | by shares alone | found | interval | right | interval holds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in results:
        lines.append(
            f"| {each['data']} | {each['note']} | {each['images']:,} | {each['there']} | {each['by shares']:.1f} | "
            f"{each['found']:.1f} | {each['low']:.1f} to {each['high']:.1f} | {each['right']} of {each['draws']} | "
            f"{each['within']} of {each['draws']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

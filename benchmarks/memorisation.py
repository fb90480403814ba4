"""How often copies among samples are noticed, and how often held-out images are taken for copies.

    python benchmarks/memorisation.py --data-root path/to/data

Samples are held-out images, some of them replaced by copies of training images: exact, shifted by 2 pixels, mirrored,
recoloured by 8 of 255, or saved as JPEG (quality 75). 100 draws each. An alarm is p < 0.001 of the test that
``copies`` reports. Candidates are found without a feature network. Writes a JSON file and a Markdown table to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.data.store import Store
from gansmith.metrics.copies import Originals
from gansmith.metrics.features import Selection, choose_subset
from gansmith.metrics.memorisation import ALARM, AMONG_TRAINING, copies_p_value
from gansmith.types import PixelArray
from mirror_asymmetry import opened
from record import write_results

__all__ = ["KINDS", "alarms", "main", "measured", "table"]

HERE = Path(__file__).parent
DRAWS = 100
POOL = 300  # copies of each kind that draws choose from
SIZES = {"mnist": (500, 2000), "cifar10": (500, 2000), "flowers": (500,)}
SHARES = (0.0, 0.05, 0.1, 0.5)


def _shifted(images: PixelArray) -> PixelArray:
    height, width = images.shape[1:3]
    return np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")[:, :height, 4 : 4 + width]


def _recoloured(images: PixelArray) -> PixelArray:
    change = np.array([8, -8, 8])[: images.shape[-1]]
    return (images.astype(np.int64) + change).clip(0, 255).astype(np.uint8)


def _compressed(images: PixelArray) -> PixelArray:
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "jpeg", quality=75)
        found.append(np.asarray(Image.open(file)).reshape(image.shape))
    return np.stack(found)


KINDS: Mapping[str, Callable[[PixelArray], PixelArray]] = {
    "exact": lambda images: images,
    "shifted": _shifted,
    "mirrored": lambda images: np.ascontiguousarray(images[:, :, ::-1]),
    "recoloured": _recoloured,
    "JPEG": _compressed,
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with the data sets")
    options = parser.parse_args()
    results = []
    for name, sizes in SIZES.items():
        results += measured(name, opened(name, options.data_root), sizes)
        print(table(results), flush=True)
    write_results("memorisation", "Copies noticed", results, table)


def measured(name: str, store: Store, sizes: tuple[int, ...], pool: int = POOL) -> list[dict[str, Any]]:
    """Measure one data set: parts of 1 for samples, 1 for held-out images, the rest for training, at most 10,000."""
    order = np.random.default_rng(0).permutation(len(store))
    num_held_out, num_fresh = min(1000, len(store) // 20), min(4000, len(store) // 5)
    held_out, fresh, training = np.split(order[:15_000], [num_held_out, num_held_out + num_fresh])
    originals = store.images[training]

    found_by = Originals.of(originals)
    real = [found_by.find_copies(Selection(store.images, part)) for part in (fresh, held_out)]
    twins = found_by.find_copies_within(choose_subset(np.arange(len(training)), AMONG_TRAINING))
    results = []
    for kind, change in KINDS.items():
        found = found_by.find_copies(change(originals[:pool]))
        for num in sizes:
            for share in SHARES:
                if share or kind == "exact":
                    about = {"data": name, "kind": kind if share else "none", "images": num, "share": share}
                    found_alarms = alarms(found, *real, twins, num, share)
                    results.append({**about, "held out": num_held_out, "found": float(found.mean()), **found_alarms})
    return results


def alarms(
    copies: NDArray[np.bool_],
    fresh: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    twins: NDArray[np.bool_],
    num: int,
    share: float,
) -> dict[str, Any]:
    """Draw so many samples, with this share of copies, 100 times; count the alarms."""
    draw, count = np.random.default_rng(0), 0
    num_copies = round(share * num)
    for _ in range(DRAWS):
        samples = np.concatenate([draw.choice(copies, num_copies), draw.choice(fresh, num - num_copies, replace=False)])
        count += copies_p_value(samples, held_out, twins) < ALARM
    return {"alarms": count, "draws": DRAWS}


def table(results: list[dict[str, Any]]) -> str:
    """A line for each data set, kind and number of images; a column for each share."""
    lines = [
        "| data | copies | images | held out | recognised | alarms at 5 % | at 10 % | at 50 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for each in results:
        rows.setdefault((each["data"], each["kind"], each["images"], each["held out"]), []).append(each)
    for (data, kind, images, held_out), cells in rows.items():
        rates = [f"{each['alarms']} of {each['draws']}" for each in cells]
        if kind == "none":
            lines.append(f"| {data} | none | {images:,} | {held_out:,} | | false alarms: {rates[0]} | | |")
        else:
            known = f"{cells[0]['found']:.1%}"
            lines.append(f"| {data} | {kind} | {images:,} | {held_out:,} | {known} | {' | '.join(rates)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

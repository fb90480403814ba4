"""Whether the feature networks rank spoilt images by how spoilt they are.

    python benchmarks/corruptions.py --data-root path/to/data [--only mnist,flowers] [--extractors classifier]
        [--nums 100,500,2000]

Real images that no network learnt from play the part of generated ones. They are spoilt in nine ways, at five
strengths each, and measured by FID, KID and MIND against as many images of those that the network may learn from.
With several numbers of images, the smaller sets are drawn at random from the largest. Writes a JSON file and a
Markdown table to benchmarks/results/; what it has measured before, of other sets and networks, stays.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from gansmith.data import resolve
from gansmith.data.batches import Indices, split
from gansmith.data.store import Preparation, Store, prepare
from gansmith.metrics.extractor import choose_settings
from gansmith.metrics.features import FeatureNetwork, Selection, extract
from gansmith.metrics.frechet import Moments, frechet_distance
from gansmith.metrics.kernel import kernel_distance
from gansmith.schedules import Duration
from gansmith.types import PixelArray
from record import find_commit, merge_result, write_results

HERE = Path(__file__).parent
DATA = {
    "mnist": ("mnist", None),
    "gtsrb": ("gtsrb", (32, 32)),
    "cifar10": ("cifar10", None),
    "flowers": ("folder/flowers_128.zip", (64, 64)),
    "dogs": ("folder/dogs_256.zip", (64, 64)),
}
LABELLED = ("mnist", "gtsrb", "cifar10", "flowers")
EXTRACTORS = (
    *("classifier", "self-supervised", "random-conv", "efficientnet-lite0", "efficientnet-lite1"),
    *("classifier-light", "self-supervised-light", "efficientnet-lite0-light", "efficientnet-lite1-light"),
)
IMAGES = 5000  # of either kind; a quarter of the data set where it is smaller than two such sets
DRAWS = 4  # of what is left to chance: which classes, which images
ANCHORS, NEIGHBOURS = 20, 5
TILES = 4  # of an image's side, for shuffling
PROJECTIONS = 256

Random: TypeAlias = np.random.Generator


@dataclass(frozen=True, eq=False)
class Pool:
    """The images that are spoilt, uint8 [n h w c], and their classes if they have any."""

    images: PixelArray
    labels: Indices | None

    def __len__(self) -> int:
        return len(self.images)

    def neighbours(self, anchors: Indices, among: Indices) -> Indices:
        """For each of these images the nearest ones by their pixels, itself the first, [a NEIGHBOURS]."""
        rows = torch.from_numpy(self.images.reshape(len(self), -1)).float()
        nearest = torch.cdist(rows[anchors], rows[among]).argsort(dim=1)[:, :NEIGHBOURS]
        return among[nearest.numpy()]


# --- spoilt pixels -----------------------------------------------------------------------------------------


def noise(images: PixelArray, deviation: float) -> PixelArray:
    """Gaussian noise; its deviation in steps of 1/255."""
    drawn = np.random.default_rng(0).normal(0, deviation, images.shape)
    return np.clip(np.rint(images + drawn), 0, 255).astype(np.uint8)


def blur(images: PixelArray, deviation: float) -> PixelArray:
    """A Gaussian blur; its deviation in 1/32 of the image's width."""
    pixels = deviation * images.shape[2] / 32
    return np.rint(gaussian_filter(images.astype(np.float32), (0, pixels, pixels, 0))).astype(np.uint8)


def shuffled_tiles(images: PixelArray, share: float) -> PixelArray:
    """Cut into 4 x 4 tiles, of which a share changes places: right textures, wrong shapes."""
    random, spoilt = np.random.default_rng(0), images.copy()
    rows, columns = images.shape[1] // TILES, images.shape[2] // TILES
    tiles = [
        (slice(y * rows, (y + 1) * rows), slice(x * columns, (x + 1) * columns))
        for y in range(TILES)
        for x in range(TILES)
    ]
    for clean, image in zip(images, spoilt, strict=True):
        moved = random.permutation(len(tiles))[: round(share * len(tiles))]
        for here, there in zip(moved, np.roll(moved, 1), strict=True):
            image[tiles[here]] = clean[tiles[there]]
    return spoilt


def mixed(images: PixelArray, share: float) -> PixelArray:
    """Blended with another image, of which this share is seen."""
    return np.rint((1 - share) * images + share * np.roll(images, 1, axis=0).astype(np.float32)).astype(np.uint8)


def tinted(images: PixelArray, shift: float) -> PixelArray:
    """Redder and less blue, in steps of 1/255; gray images lighter."""
    shifts = (shift, 0, -shift) if images.shape[3] == 3 else (shift,)
    return np.clip(images + np.array(shifts), 0, 255).astype(np.uint8)


# --- spoilt sets -------------------------------------------------------------------------------------------


def dropped_classes(pool: Pool, share: float, random: Random) -> Indices:
    """A share of the classes is missing; images of the others stand in."""
    classes = random.permutation(np.unique(pool.labels))
    lost = np.isin(pool.labels, classes[: round(share * len(classes))])
    return np.where(lost, random.choice(np.flatnonzero(~lost), len(pool)), np.arange(len(pool)))


def collapsed_classes(pool: Pool, share: float, random: Random) -> Indices:
    """A share of the classes has nothing left but one image and its nearest neighbours."""
    chosen = np.arange(len(pool))
    classes = random.permutation(np.unique(pool.labels))
    for label in classes[: round(share * len(classes))]:
        members = np.flatnonzero(pool.labels == label)
        mode = pool.neighbours(random.choice(members, 1), among=members)[0]
        chosen[members] = random.choice(mode, len(members))
    return chosen


def collapsed_modes(pool: Pool, share: float, random: Random) -> Indices:
    """A share of the images gives way to 20 images and their nearest neighbours."""
    anchors = random.choice(len(pool), ANCHORS, replace=False)
    modes = pool.neighbours(anchors, among=np.arange(len(pool))).flatten()
    lost = random.permutation(len(pool)) < round(share * len(pool))
    return np.where(lost, random.choice(modes, len(pool)), np.arange(len(pool)))


def duplicates(pool: Pool, share: float, random: Random) -> Indices:
    """Only so many of the images are left, each repeated."""
    return np.resize(random.permutation(len(pool))[: round((1 - share) * len(pool))], len(pool))


OF_PIXELS: dict[Callable[[PixelArray, float], PixelArray], tuple[float, ...]] = {
    noise: (5, 10, 20, 40, 80),
    blur: (0.5, 0.75, 1, 1.5, 2),
    shuffled_tiles: (0.125, 0.25, 0.5, 0.75, 1),
    mixed: (0.05, 0.1, 0.2, 0.35, 0.5),
    tinted: (5, 10, 20, 40, 60),
}
OF_SETS: dict[Callable[[Pool, float, Random], Indices], tuple[float, ...]] = {
    dropped_classes: (0.1, 0.2, 0.4, 0.6, 0.8),
    collapsed_classes: (0.1, 0.2, 0.4, 0.7, 1),
    collapsed_modes: (0.1, 0.2, 0.4, 0.6, 0.8),
    duplicates: (0.5, 0.75, 0.9, 0.95, 0.98),
}
OF_CLASSES = (dropped_classes, collapsed_classes)

# --- measuring ---------------------------------------------------------------------------------------------


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-root", type=Path, default=os.environ.get("GANSMITH_DATA"), help="default $GANSMITH_DATA"
    )
    parser.add_argument("--only", default=",".join(DATA), help="data sets, separated by commas")
    parser.add_argument("--extractors", default=",".join(EXTRACTORS), help="likewise")
    parser.add_argument("--nums", default=str(IMAGES), help="images of either kind, separated by commas")
    options = parser.parse_args()
    nums = list(map(int, options.nums.split(",")))
    if options.data_root is None:
        parser.error("--data-root: expected a folder with mnist/, gtsrb/, cifar10/ and folder/")
    for name in options.only.split(","):
        store = prepared(name, Path(options.data_root))
        for extractor in options.extractors.split(","):
            if name in LABELLED or not extractor.startswith("classifier"):
                for measured in measure(name, store, extractor, nums):
                    merged, facts = merge_result("corruptions", measured, place), {"seeds": f"0 to {DRAWS - 1}"}
                    write_results("corruptions", "Corrupted images", merged, page, facts)


def prepared(name: str, root: Path) -> Store:
    """A data set of ``DATA``."""
    path, size = DATA[name]
    source = resolve(str(root / path)) if "/" in path else resolve(path, root / path)
    return prepare(source, Preparation(size=size))


def unlabelled(store: Store) -> Store:
    """The same images without their classes."""
    return dataclasses.replace(store, labels=None, class_names=(), spec=dataclasses.replace(store.spec, num_classes=0))


def measure(name: str, store: Store, extractor: str, nums: list[int]) -> Iterator[dict[str, Any]]:
    """All ways and strengths of spoiling through one network, for each number of images."""
    network, pool, real = looked_at(name, store, extractor, max(nums))
    spoilt = [(kind, each, [features(network, kind(pool.images, s)) for s in each]) for kind, each in OF_PIXELS.items()]
    clean = features(network, pool.images)
    for num in sorted({min(num, len(pool)) for num in nums}):
        yield {
            "data": name,
            "extractor": extractor,
            "digest": network.digest,
            "note": network.note,
            "num_images": num,
            "commit": find_commit(),
            "rows": [row(*each) for each in drawn(spoilt, clean, pool, real, num)],
        }


def drawn(
    spoilt: list[tuple[Callable[..., Any], tuple[float, ...], list[Tensor]]],
    clean: Tensor,
    pool: Pool,
    real: Tensor,
    num: int,
) -> Iterator[tuple[str, tuple[float, ...], list[list[Tensor]], list[Tensor]]]:
    """Name, strengths, the features at each strength of each draw of so many images, and those of real ones."""
    randoms = [np.random.default_rng(seed) for seed in range(DRAWS)]
    ours, theirs = ([np.sort(random.permutation(len(pool))[:num]) for random in randoms] for _ in range(2))
    reals = [real[rows] for rows in theirs]
    for kind, strengths, found in spoilt:
        many = DRAWS if num < len(pool) else 1
        draws = [[clean[rows], *(each[rows] for each in found)] for rows in ours[:many]]
        yield kind.__name__, strengths, draws, reals[:many]
    for choose, strengths in OF_SETS.items():
        if pool.labels is not None or choose not in OF_CLASSES:
            draws = []
            for seed, rows in enumerate(ours):
                part = Pool(pool.images[rows], None if pool.labels is None else pool.labels[rows])
                chosen = [choose(part, s, np.random.default_rng(seed)) for s in strengths]
                draws.append([clean[rows], *(clean[rows][which] for which in chosen)])
            yield choose.__name__, strengths, draws, reals


def looked_at(name: str, store: Store, extractor: str, most: int = IMAGES) -> tuple[FeatureNetwork, Pool, Tensor]:
    """The network, the images to be spoilt, and the features of real ones that it may have learnt from."""
    num = most if len(store) >= 2 * most else len(store) // 4
    training, held_out = split(store, 1.05 * num / len(store))
    random = np.random.default_rng(0)
    chosen, reference = (np.sort(random.permutation(part)[:num]) for part in (held_out, training))
    seen = store if extractor.startswith("classifier") else unlabelled(store)
    length = Duration(1, "min") if extractor.endswith("-light") else None
    network = choose_settings(extractor.removesuffix("-light"), length).network(seen, training)
    labels = store.labels[chosen] if name in LABELLED and store.labels is not None else None
    pool = Pool(Selection(store.images, chosen)[np.arange(num)], labels)
    real, _ = extract(network, Selection(store.images, reference).batches())
    return network, pool, real


def all_spoilt(
    network: FeatureNetwork, pool: Pool, num_draws: int = DRAWS
) -> Iterator[tuple[str, tuple[float, ...], list[list[Tensor]]]]:
    """Name, strengths, and the features of each draw at each strength, strength 0 first."""
    clean = features(network, pool.images)
    for spoil, strengths in OF_PIXELS.items():
        yield spoil.__name__, strengths, [[clean, *(features(network, spoil(pool.images, s)) for s in strengths)]]
    for choose, strengths in OF_SETS.items():
        if pool.labels is not None or choose not in OF_CLASSES:
            draws = [
                [clean, *(clean[choose(pool, s, np.random.default_rng(seed))] for s in strengths)]
                for seed in range(num_draws)
            ]
            yield choose.__name__, strengths, draws


def features(network: FeatureNetwork, images: PixelArray) -> Tensor:
    """Float32 [n d]."""
    return extract(network, [images])[0]


def row(name: str, strengths: tuple[float, ...], draws: list[list[Tensor]], reals: list[Tensor]) -> dict[str, Any]:
    """The figures' means over the draws, and whether they rise with the strength."""
    figures: dict[str, Any] = {"corruption": name, "strengths": [0, *strengths]}
    for figure, distance in FIGURES.items():
        pairs = zip(draws, reals, strict=True)
        values = np.array([[distance(real, fake) for fake in draw] for draw, real in pairs])
        mean = values.mean(axis=0)
        figures[figure] = [float(f"{value:.4g}") for value in mean]
        figures[f"{figure}_rho"] = round(float(spearmanr(figures["strengths"], mean)[0]), 3)
        figures[f"{figure}_ordered"] = round(float((np.diff(values) > 0).mean()), 3)
    return figures


def fid(real: Tensor, fake: Tensor) -> float:
    """The Fréchet distance of two sets of features."""
    one, other = Moments.of(real), Moments.of(fake)
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def mind(real: Tensor, fake: Tensor) -> float:
    """The Monge distance (Berthet et al. 2026) of two sets of as many features: 3 d times the sliced W2 squared."""
    dims = real.shape[1]
    directions = F.normalize(torch.randn(dims, PROJECTIONS, generator=torch.Generator().manual_seed(0)), dim=0)
    one, other = ((rows @ directions).sort(dim=0).values for rows in (real, fake))
    return float(3 * dims * (one - other).square().mean())


def kid(real: Tensor, fake: Tensor) -> float:
    """The kernel distance of two sets of features."""
    return kernel_distance(real, fake)[0]


FIGURES: dict[str, Callable[[Tensor, Tensor], float]] = {"fid": fid, "kid": kid, "mind": mind}

# --- writing -----------------------------------------------------------------------------------------------


def place(result: dict[str, Any]) -> tuple[int, int, int]:
    """Where a result stands among the others."""
    return list(DATA).index(result["data"]), result["num_images"], EXTRACTORS.index(result["extractor"])


def page(results: list[dict[str, Any]]) -> str:
    """All tables, the summary first."""
    return "\n\n".join([summary(results), *map(table, results)])


def summary(results: list[dict[str, Any]]) -> str:
    """Markdown: a line for each data set and network."""
    headings = [f"{figure.upper()} rises always | in order" for figure in FIGURES]
    lines = [f"| data | images | network | how good | {' | '.join(headings)} |"]
    lines.append("|---" * (4 + 2 * len(FIGURES)) + "|")
    for result in results:
        cells = [result["data"], f"{result['num_images']:,}", result["extractor"], result["note"]]
        for figure in FIGURES:
            rising = [bool(np.all(np.diff(row[figure]) > 0)) for row in result["rows"]]
            ordered = np.mean([row[f"{figure}_ordered"] for row in result["rows"]])
            cells += [f"{sum(rising)} of {len(rising)}", f"{ordered:.1%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """Markdown: a line for each way of spoiling."""
    lines = [
        f"**{result['data']}, {result['extractor']}**: {result['note']}; "
        f"{result['num_images']:,} images of either kind, commit {result['commit']}",
        "",
        f"| corruption | strength | {' | '.join(f'{figure.upper()} | rho | in order' for figure in FIGURES)} |",
        "|---|---" + "|---" * 3 * len(FIGURES) + "|",
    ]
    for figures in result["rows"]:
        cells = [figures["corruption"].replace("_", " "), listed(figures["strengths"])]
        for figure in FIGURES:
            cells += [listed(figures[figure]), *(f"{figures[f'{figure}_{k}']:.2f}" for k in ("rho", "ordered"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def listed(values: list[float]) -> str:
    """Figures in a row."""
    return " · ".join(f"{value:.3g}" for value in values)


if __name__ == "__main__":
    main()

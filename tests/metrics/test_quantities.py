"""The names, titles and directions of metrics, which metrics.jsonl, tables and papers share, written down once."""

from __future__ import annotations

from gansmith.metrics.frechet import FID, FIDInfinity, IntraClassFID
from gansmith.metrics.kernel import KID
from gansmith.metrics.manifold import DensityCoverage, PrecisionRecall
from gansmith.metrics.metric import Quantity

WANTED: dict[type, dict[str, tuple[str, str, bool]]] = {
    FID: {"fid": ("FID", "lower", True)},
    FIDInfinity: {"fid_infinity": ("FID∞", "lower", True)},
    IntraClassFID: {"intra_fid": ("FID within classes", "lower", True)},
    KID: {"kid": ("KID", "lower", True)},
    PrecisionRecall: {"precision": ("Precision", "higher", True), "recall": ("Recall", "higher", True)},
    DensityCoverage: {"density": ("Density", "higher", True), "coverage": ("Coverage", "higher", True)},
}


def test_each_metric_has_the_names_of_its_paper() -> None:
    for metric, wanted in WANTED.items():
        quantities: dict[str, Quantity] = metric.quantities  # type: ignore[attr-defined]
        assert {name: (each.title, each.better, each.published) for name, each in quantities.items()} == wanted


def test_neighbours_are_as_many_as_in_the_papers() -> None:
    """3 of Kynkäänniemi et al. 2019, 5 of Naeem et al. 2020."""
    assert (PrecisionRecall().neighbours, DensityCoverage().neighbours) == (3, 5)

"""Metric values with what is needed to trust and compare them: one line of metrics.jsonl."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gansmith.component import from_plain
from gansmith.data.store import Store
from gansmith.errors import GansmithError, MetricError
from gansmith.metrics import list_quantities
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.metric import Estimate, Quantity

__all__ = [
    "PUBLISHED_EXTRACTOR",
    "ExtractorFacts",
    "Generated",
    "Measurement",
    "Reference",
    "Split",
    "describe_seed_effect",
    "describe_unpublished",
    "list_differences",
    "rename_old_keys",
]

Split: TypeAlias = Literal["training", "held-out", "all"]

OLD_KEYS = {"figures": "values", "figure": "metric", "seen": "extractor"}
PUBLISHED_EXTRACTOR = "inception"  # the feature network of published values
MOVED = {  # benchmarks/extractor_seeds.py
    "classifier": (
        "a classifier trained from another seed changed FIDs by 5 to 12 % (medians of three data sets), at most 5.5 "
        "times, in nearly the same order (rank correlation at least 0.97)"
    ),
    "self-supervised": (
        "a network trained from another seed changed FIDs by 5 to 9 % (medians of three data sets), at most 3.7 "
        "times, in nearly the same order (rank correlation at least 0.98)"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Generated:
    """Where the generated images come from.

    Args:
        path: the run folder, folder or file.
        num: number of images.
        snapshot: of a run, "best", "last", or "now" while it trains; None for a folder or file.
        ema: whether the averaged weights were used; None for a folder or file.
        seed: the first image's; None for a folder or file.
        nimg: real images that the discriminator had processed; None for a folder or file.
        step: generator updates so far; None for a folder or file.
        seconds: training time so far; None for a folder or file.
        digest: SHA-256 of the images; empty if it was not computed.
    """

    path: str
    num: int
    snapshot: Literal["best", "last", "now"] | None = None
    ema: bool | None = None
    seed: int | None = None
    nimg: int | None = None
    step: int | None = None
    seconds: float | None = None
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The real images that the generated ones were measured against.

    Args:
        title: the data set's.
        split: "training" (the images that the run was trained on), "held-out" or "all".
        num: number of images.
        digest: SHA-256 of the prepared data set: shape, pixels, labels.
        selection: SHA-256 of the indices of the images.
        part: which part of the data set was read, for example "its folder train/"; "" if all of it.
    """

    title: str
    split: Split
    num: int
    digest: str
    selection: str
    part: str = ""

    @classmethod
    def of(cls, store: Store, split: Split, indices: NDArray[np.int64], part: str = "") -> Reference:
        """Describe a choice of images from a store."""
        selection = hashlib.sha256(indices.tobytes()).hexdigest()
        return cls(
            title=store.title, split=split, num=len(indices), digest=store.digest, selection=selection, part=part
        )


@dataclass(frozen=True, kw_only=True)
class ExtractorFacts:
    """The feature extractor of a measurement; the fields are those of ``FeatureNetwork``."""

    name: str
    digest: str
    note: str = ""
    classifier_digest: str = ""

    @classmethod
    def of(cls, network: FeatureNetwork) -> ExtractorFacts:
        """Describe this network."""
        return cls(
            name=network.name, digest=network.digest, note=network.note, classifier_digest=network.classifier_digest
        )

    def name_for(self, quantity: Quantity) -> str:
        """Return the name of the network that a value was computed with."""
        return "classifier" if quantity.by_classes and self.classifier_digest else self.name


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Metric values of one moment, and what they were measured on.

    Args:
        kind: "evaluation", or "tracking" for the metric that is measured while training.
        when: ISO 8601 with the time zone.
        generated: the images that were measured.
        reference: the real images.
        extractor: the feature extractor that both were given to.
        values: by name.
        failures: why a value could not be computed, by the metric's name.
        gansmith: the version that measured.
    """

    kind: Literal["evaluation", "tracking"]
    when: str
    generated: Generated
    reference: Reference
    extractor: ExtractorFacts
    values: Mapping[str, Estimate]
    failures: Mapping[str, str] = field(default_factory=dict)
    gansmith: str

    def __str__(self) -> str:
        rows = [
            (title, str(estimate) if estimate else f"not computed: {note}") for title, estimate, note in self._rows()
        ]
        width = max((len(title) for title, _ in rows), default=0)
        return "\n".join([self._origin(), *(f"{title:<{width}}  {value}" for title, value in rows)])

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        head = "".join(f"<th>{name}</th>" for name in ("metric", "value", "95 % interval", "note"))
        lines = [_html_row(*row) for row in self._rows()]
        return f"<p>{html.escape(self._origin())}</p><table><tr>{head}</tr>{''.join(lines)}</table>"

    def _origin(self) -> str:
        made, real = self.generated, self.reference
        images = f"{made.num:,} images against {real.num:,} of {real.title}"
        return f"{made.path}: {images}; extractor {self.extractor.name}"

    def _rows(self) -> list[tuple[str, Estimate | None, str]]:
        """Title, estimate and note of each value; then each metric that failed, with the reason as its note."""
        known = list_quantities()
        titles = {
            name: known[name].titled(self.extractor.name_for(known[name])) if name in known else name
            for name in self.values
        }
        measured = [(titles[name], estimate, estimate.note) for name, estimate in self.values.items()]
        return [*measured, *((metric, None, why) for metric, why in self.failures.items())]

    def to_plain(self) -> dict[str, Any]:
        """Return the object of a line of metrics.jsonl."""
        return dataclasses.asdict(self)

    def named_values(self) -> dict[str, float]:
        """Return the bare values under the names that logs use: "metric/fid"."""
        return {f"metric/{name}": estimate.value for name, estimate in self.values.items()}

    @classmethod
    def from_plain(cls, plain: Any) -> Measurement:
        """Read a line of metrics.jsonl, also one that an earlier version wrote.

        Raises:
            MetricError: this is no line of metrics.jsonl.
        """
        try:
            parts = rename_old_keys(dict(plain))
            parts["generated"] = Generated(**parts["generated"])
            parts["reference"] = Reference(**parts["reference"])
            parts["extractor"] = ExtractorFacts(**parts["extractor"])
            parts["values"] = {str(key): Estimate(**value) for key, value in parts["values"].items()}
            measurement = cls(**parts)
            _check(measurement, "metrics.jsonl")
            return measurement
        except (TypeError, KeyError, ValueError, AttributeError, ArithmeticError, GansmithError) as error:
            raise MetricError(f"a line of metrics.jsonl cannot be read ({error}); remove the line") from error


def _html_row(title: str, estimate: Estimate | None, note: str) -> str:
    interval = f"{estimate.low:.4g} to {estimate.high:.4g}" if estimate else ""
    cells = (title, f"{estimate.value:.4g}" if estimate else "not computed", interval, note)
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def rename_old_keys(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of metrics.jsonl or of best/state.json with the keys of today.

    The first files have "figures" for the values, "figure" for the tracked metric, and "seen" for the feature
    extractor, with its name under "extractor".
    """
    renamed = {OLD_KEYS.get(key, key): value for key, value in plain.items()}
    if isinstance(plain.get("seen"), Mapping):
        renamed["extractor"] = {"name" if key == "extractor" else key: value for key, value in plain["seen"].items()}
    return renamed


def list_differences(one: Measurement, other: Measurement) -> list[str]:
    """Return the reasons why two measurements must not be compared, a clause each; empty if they may be."""
    pairs = [
        (
            "the feature extractor",
            (one.extractor.name, one.extractor.digest),
            (other.extractor.name, other.extractor.digest),
        ),
        ("the reference data", one.reference.digest, other.reference.digest),
        ("the reference split", one.reference.split, other.reference.split),
        ("the choice of real images", one.reference.selection, other.reference.selection),
        ("the number of real images", one.reference.num, other.reference.num),
        ("the number of generated images", one.generated.num, other.generated.num),
    ]
    classifiers = one.extractor.classifier_digest, other.extractor.classifier_digest
    pairs += [("the classifier of the classes", *classifiers)] if all(classifiers) else []
    return [f"{what} differs ({_short(left)} and {_short(right)})" for what, left, right in pairs if left != right]


def describe_unpublished(extractor: str) -> str:
    """Say that values of a feature extractor are not comparable with published ones, and how to get those."""
    return (
        f"values marked ({extractor}) are not comparable with published FIDs, which use Inception's features; "
        "for those: --inception FILE, or --extractor inception, which downloads the file"
    )


def describe_seed_effect(extractor: str) -> str:
    """Say how much FID depends on the seed of a feature extractor's training; "" if it is not trained here."""
    return MOVED.get(extractor, "")


def _check(value: Any, where: str) -> None:
    """Check that the fields of a dataclass have the types of their annotations."""
    for name, annotation in typing.get_type_hints(type(value)).items():
        item, place = getattr(value, name), f"{where}: {name}"
        several = typing.get_origin(annotation) is Mapping
        kind = typing.get_args(annotation)[1] if several else annotation
        for entry in item.values() if several else (item,):
            if dataclasses.is_dataclass(kind):
                _check(entry, place)
            else:
                from_plain(kind, entry, place)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_short, value))
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) < 40 else text[:8]

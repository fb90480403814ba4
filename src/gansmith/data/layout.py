"""Which images of a folder are read, and the class of each."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansmith.data.archive import Archive
from gansmith.data.label_search import LabelSearch
from gansmith.data.label_tables import WITHOUT
from gansmith.errors import DataError

__all__ = ["Layout", "use_chosen_tables", "use_likely_tables"]


@dataclass(frozen=True)
class Layout:
    """The images of a folder and their classes.

    Args:
        names: the images that are read.
        labels: int64 [n], or None.
        class_names: names of the classes.
        notes: remarks about how images and classes were found, a sentence each.
        tables: names of the tables that the labels are from.
        digest: digest of the tables that the labels depend on.
    """

    names: Sequence[str]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    digest: str = ""

    def fingerprint(self, archive: Archive) -> str:
        """Return a digest of the archive, the images read and their labels."""
        chosen = "\n".join([archive.fingerprint, self.digest, *self.class_names, *self.names]).encode(
            errors="backslashreplace"
        )
        return hashlib.sha256(chosen + (b"" if self.labels is None else self.labels.tobytes())).hexdigest()


def use_likely_tables(path: Path, names: list[str], search: LabelSearch, otherwise: Layout) -> Layout:
    """Return the layout with labels from tables, or ``otherwise`` if no table has any.

    Raises:
        DataError: a table is malformed, or has no row for some images.
    """
    unlabelled = search.labels is None or bool((search.labels < 0).any())
    if search.flaws and unlabelled:
        raise _with_remedy(search.flaws[0])
    if search.labels is None:
        unread = search.unread  # in the digest too: a store keeps its notes, so other notes need a new store
        return dataclasses.replace(otherwise, notes=otherwise.notes + unread, digest="\n".join(unread))
    doubt = search.doubt()
    if doubt is not None:
        return Layout(names, notes=(doubt,), digest=search.digest)
    return use_chosen_tables(path, names, search, leave_out=False)


def use_chosen_tables(path: Path, names: list[str], search: LabelSearch, *, leave_out: bool) -> Layout:
    """Return the layout with labels from the tables that the user chose.

    Args:
        path: the folder or zip.
        names: the images.
        search: the labels found in tables.
        leave_out: skip images without a row.

    Raises:
        DataError: there are no labels, or some images have no row and ``leave_out`` is False.
    """
    labels = search.labels
    if labels is None:
        if search.flaws:
            raise _with_remedy(search.flaws[0])
        raise DataError(_no_table(path, search))
    if len(search.class_names) < 2:
        raise DataError(f"{path}: {search.doubt()}; {WITHOUT}")
    missing = [name for name, label in zip(names, labels.tolist(), strict=True) if label < 0]
    first = f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
    if missing and not leave_out:
        raise DataError(
            f"{path}: {' and '.join(search.tables)} has no row for {len(missing):,} of {len(names):,} images, "
            f"first {first}; add them, or skip these images with --data.labels table, or {WITHOUT}"
        )
    notes = (f"{len(missing):,} images without a row are skipped: {first}",) if missing else ()
    flaws = tuple(f"a table is skipped: {flaw}" for flaw in search.flaws)
    kept = [name for name, label in zip(names, labels.tolist(), strict=True) if label >= 0]
    return Layout(
        kept,
        labels[labels >= 0],
        search.class_names,
        search.notes + notes + flaws,
        search.tables,
        search.digest,
    )


def _no_table(path: Path, search: LabelSearch) -> str:
    if search.unread:
        return search.unread[0]
    return f"{path}: no table of labels; expected labels.csv, metadata.csv or similar, or --data.labels_table NAME"


def _with_remedy(error: DataError) -> DataError:
    return error if WITHOUT in str(error) else DataError(f"{error}; correct it, or {WITHOUT}")

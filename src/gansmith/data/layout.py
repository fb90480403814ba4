"""What a folder's layout comes to: which images are read, and the class of each."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansmith.data.archive import Archive
from gansmith.data.label_search import Consulted
from gansmith.data.label_tables import WITHOUT
from gansmith.errors import DataError

__all__ = ["Layout", "by_likely_tables", "by_tables_asked_for"]


@dataclass(frozen=True)
class Layout:
    """The images that are read.

    Args:
        names: theirs.
        labels: int64 [n], or None.
        class_names: of the labels.
        notes: what a person should know about how they were found.
        tables: the names of the tables that the labels are from.
        digest: of the tables that decided this.
    """

    names: Sequence[str]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    digest: str = ""

    def fingerprint(self, archive: Archive) -> str:
        """What the archive and the way it is read come to."""
        chosen = "\n".join([archive.fingerprint, self.digest, *self.class_names, *self.names]).encode(
            errors="backslashreplace"
        )
        return hashlib.sha256(chosen + (b"" if self.labels is None else self.labels.tobytes())).hexdigest()


def by_likely_tables(path: Path, names: list[str], consulted: Consulted, otherwise: Layout) -> Layout:
    """The tables' labels, or what the folders say if no table has any.

    Raises:
        DataError: a table is malformed, or has no row for some images.
    """
    unlabelled = consulted.labels is None or bool((consulted.labels < 0).any())
    if consulted.flaws and unlabelled:
        raise _with_remedy(consulted.flaws[0])
    if consulted.labels is None:
        unread = consulted.unread  # a prepared store keeps its notes, so that others make a new one
        return dataclasses.replace(otherwise, notes=otherwise.notes + unread, digest="\n".join(unread))
    doubt = consulted.doubt()
    if doubt is not None:
        return Layout(names, notes=(doubt,), digest=consulted.digest)
    return by_tables_asked_for(path, names, consulted, leave_out=False)


def by_tables_asked_for(path: Path, names: list[str], consulted: Consulted, *, leave_out: bool) -> Layout:
    """The tables' labels, which the user wants.

    Args:
        path: the folder or zip.
        names: the images.
        consulted: what the tables come to.
        leave_out: read the images that have a row, and no others.

    Raises:
        DataError: there are none, or some images have no row and are not to be left out.
    """
    labels = consulted.labels
    if labels is None:
        if consulted.flaws:
            raise _with_remedy(consulted.flaws[0])
        raise DataError(_no_table(path, consulted))
    if len(consulted.class_names) < 2:
        raise DataError(f"{path}: {consulted.doubt()}; {WITHOUT}")
    missing = [name for name, label in zip(names, labels.tolist(), strict=True) if label < 0]
    first = f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
    if missing and not leave_out:
        raise DataError(
            f"{path}: {' and '.join(consulted.tables)} has no row for {len(missing):,} of {len(names):,} images, "
            f"first {first}; add them, or choose --data.labels table to leave these images out, or {WITHOUT}"
        )
    notes = (f"{len(missing):,} images without a row are left out: {first}",) if missing else ()
    flaws = tuple(f"a table is left out: {flaw}" for flaw in consulted.flaws)
    kept = [name for name, label in zip(names, labels.tolist(), strict=True) if label >= 0]
    return Layout(
        kept,
        labels[labels >= 0],
        consulted.class_names,
        consulted.notes + notes + flaws,
        consulted.tables,
        consulted.digest,
    )


def _no_table(path: Path, consulted: Consulted) -> str:
    if consulted.unread:
        return consulted.unread[0]
    return f"{path}: no table of labels; expected labels.csv, metadata.csv or the like, or --data.labels_table NAME"


def _with_remedy(error: DataError) -> DataError:
    return error if WITHOUT in str(error) else DataError(f"{error}; mend it, or {WITHOUT}")

"""What a run records of the trained model that its weights come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from gansmith.component import Between, Component
from gansmith.numerals import kimg

__all__ = ["NewClasses", "Origin"]

NewClasses: TypeAlias = Literal["new", "mean", "nearest"]


@dataclass(frozen=True, kw_only=True)
class Origin(Component):
    """The trained model that a run started from; recorded when training begins, and never read from there again.

    Args:
        run: its folder or name, as given with ``--init``.
        snapshot: "best" or "last": which of its generators was taken.
        nimg: real images that the model had seen.
        digest: SHA-256 of the weights of all its networks that were read.
        taken: which share of each network was taken unchanged.
        adapted: what was adapted, and how.
        new: what was made anew.
    """

    run: str
    snapshot: str = ""
    nimg: Annotated[int, Between(0, 2**63 - 1)] = 0
    digest: str = ""
    taken: str = ""
    adapted: str = ""
    new: str = ""

    def lines(self) -> tuple[str, str, str]:
        """Return what was taken, adapted and made anew, a line each."""
        return (
            f"taken from {self.run} ({self.snapshot} generator, {kimg(self.nimg)}): {self.taken}",
            f"adapted: {self.adapted}",
            f"made anew: {self.new}",
        )

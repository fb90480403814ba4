"""The guard's journal: what it said and did, a line of events.jsonl each, and what is worth another line.

The journal is the guard's only memory. What is going on, and which remedies were tried, is read from it, so that a
resumed training, which has the same lines, goes on as one that never stopped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from gansmith.errors import RunError
from gansmith.training.guard.detectors import Kind, Sighting

__all__ = ["Event", "What", "going_on", "news"]

What: TypeAlias = Literal["began", "worse", "over", "rollback", "stopped"]

MUCH = 3.0  # times the excess that was last said: it is said again


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the journal.

    Args:
        what: a sighting begins, is much worse, is over; or what was done about a failure.
        kind: of the sighting.
        severity: "warning" or "failure".
        sentence: as it was said.
        figure: the sighting's.
        excess: the sighting's.
        nimg: when.
        since: up to when all was well.
        back_to: after a rollback, the images of the checkpoint that training went on from.
        remedy: the one thing that was changed: "rates", "gamma" or "augment"; empty if none was.
        changes: dotted paths of the fields that were changed, each with its old and new value.
    """

    what: What
    kind: Kind
    severity: Literal["warning", "failure"]
    sentence: str
    figure: float
    excess: float
    nimg: int
    since: int
    back_to: int | None = None
    remedy: str = ""
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, what: What, sighting: Sighting) -> Event:
        """What happened about a sighting."""
        return cls(what=what, **dataclasses.asdict(sighting))

    def to_plain(self) -> dict[str, Any]:
        """For a line of events.jsonl."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: Any) -> Event:
        """The inverse.

        Raises:
            RunError: this is no line of events.jsonl.
        """
        try:
            event = cls(**plain)
            numbers = (event.figure, event.excess, event.nimg, event.since, event.back_to or 0)
            texts = (event.kind, event.severity, event.sentence, event.remedy)
            sound = event.what in get_args(What) and all(len(pair) == 2 for pair in dict(event.changes).values())
            if not sound or not all(isinstance(text, str) for text in texts) or not all(map(math.isfinite, numbers)):
                raise ValueError("a field holds something else than its name says")
        except (TypeError, ValueError, OverflowError) as error:
            raise RunError(f"a line of events.jsonl cannot be read ({error}); remove the line") from error
        return event


def going_on(events: Sequence[Event]) -> dict[Kind, Event]:
    """What was last said of each sighting that is not over; a rollback leaves all of them behind."""
    said: dict[Kind, Event] = {}
    for event in events:
        if event.what in ("began", "worse"):
            said[event.kind] = event
        elif event.what == "over":
            said.pop(event.kind, None)
        else:
            said.clear()
    return said


def news(seen: Sequence[Sighting], said: Mapping[Kind, Event], nimg: int) -> list[Event]:
    """What is worth saying of what is seen now: that it begins, is much worse, or is over.

    Args:
        seen: now.
        said: see ``going_on``.
        nimg: now.
    """
    events = []
    for sighting in seen:
        before = said.get(sighting.kind)
        if before is None:
            events.append(Event.of("began", sighting))
        elif sighting.severity != before.severity == "warning" or sighting.excess >= MUCH * before.excess:
            events.append(Event.of("worse", sighting))
    for kind in said.keys() - {sighting.kind for sighting in seen}:
        over = dataclasses.replace(said[kind], what="over", nimg=nimg, sentence=f"over: {kind.replace('-', ' ')}")
        events.append(over)
    return events

"""The guard's journal: what it detected and did, one line of events.jsonl each.

The journal is the guard's only memory: which detections are active and which remedies were tried is read from it.
A resumed training has the same lines, so it continues exactly like one that never stopped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from gansmith.errors import RunError

__all__ = ["Event", "Kind", "What", "find_active_events", "find_new_events"]

Kind: TypeAlias = Literal[
    "not-finite",
    "discriminator-won",
    "discriminator-lost",
    "exploding-gradient",
    "oscillation",
    "mode-collapse",
    "overfitting",
    "copies",
]
What: TypeAlias = Literal["began", "worse", "over", "rollback", "stopped"]

MUCH = 3.0  # times the excess of the last event: it is reported again


@dataclass(frozen=True, kw_only=True)
class Event:
    """A detection, or what was done about one: a line of the journal.

    Args:
        what: a detection begins, is much worse, or is over; or what was done about a failure.
        kind: of problem; that of an earlier version is kept as it is.
        severity: "warning", or "failure" for what ruins the training.
        sentence: the value and a remedy, in one sentence.
        value: what the detector measured.
        excess: 1 at the threshold, larger beyond it.
        nimg: when.
        since: when the value was last good.
        back_to: after a rollback, the images of the checkpoint that training continues from.
        remedy: what was changed: "rates", "gamma" or "augment"; empty if nothing was.
        changes: dotted paths of the fields that were changed, each with its old and new value.
    """

    what: What
    kind: Kind
    severity: Literal["warning", "failure"]
    sentence: str
    value: float
    excess: float
    nimg: int
    since: int
    back_to: int | None = None
    remedy: str = ""
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return the fields for a line of events.jsonl."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: Any) -> Event:
        """Do the inverse of ``to_plain``; earlier versions called ``value`` "figure".

        Raises:
            RunError: this is no line of events.jsonl.
        """
        try:
            event = cls(**{"value" if key == "figure" else key: value for key, value in dict(plain).items()})
            numbers = (event.value, event.excess, event.nimg, event.since, event.back_to or 0)
            texts = (event.kind, event.severity, event.sentence, event.remedy)
            sound = event.what in get_args(What) and all(len(pair) == 2 for pair in dict(event.changes).values())
            if not sound or not all(isinstance(text, str) for text in texts) or not all(map(math.isfinite, numbers)):
                raise ValueError("a field does not hold what its name says")
        except (TypeError, ValueError, OverflowError) as error:
            raise RunError(f"a line of events.jsonl cannot be read ({error}); remove the line") from error
        return event


def find_active_events(events: Sequence[Event]) -> dict[Kind, Event]:
    """Return the last event of each detection that is not over; a rollback ends all of them."""
    active: dict[Kind, Event] = {}
    for event in events:
        if event.what in ("began", "worse"):
            active[event.kind] = event
        elif event.what == "over":
            active.pop(event.kind, None)
        else:
            active.clear()
    return active


def find_new_events(detected: Sequence[Event], active: Mapping[Kind, Event], nimg: int) -> list[Event]:
    """Return what to report: detections that begin, are much worse, or are over.

    Args:
        detected: now; see ``detectors.detect``.
        active: see ``find_active_events``.
        nimg: now.
    """
    events = []
    for event in detected:
        before = active.get(event.kind)
        if before is None:
            events.append(event)
        elif event.severity != before.severity == "warning" or event.excess >= MUCH * before.excess:
            events.append(dataclasses.replace(event, what="worse"))
    for kind in active.keys() - {event.kind for event in detected}:
        sentence = f"over: {kind.replace('-', ' ')}"
        events.append(dataclasses.replace(active[kind], what="over", nimg=nimg, sentence=sentence))
    return events

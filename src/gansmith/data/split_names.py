"""Recognises folders that are splits of a data set (training, validation, test), not classes, by their names."""

from __future__ import annotations

import re

__all__ = ["is_split", "is_training_split"]

_SPLIT = re.compile(
    r"(?:(?:seg|images|imgs|data|dataset)[ _.-]?)?"
    r"(?P<training>train|training)?(?P<other>test|testing|val|valid|validation|dev|eval|evaluation|holdout)?"
    r"(?:[ _.-]?(?:set|data|dataset|images|imgs|split|part|samples))?[0-9]{0,4}"
)


def is_split(folder: str) -> bool:
    """Return whether a folder's name is that of a split: train, Training_Set, test-images, val, ..."""
    found = _SPLIT.fullmatch(folder.casefold())
    return bool(found and (found["training"] or found["other"]) and not (found["training"] and found["other"]))


def is_training_split(folder: str) -> bool:
    """Return whether a folder's name is that of the training split."""
    found = _SPLIT.fullmatch(folder.casefold())
    return bool(found and found["training"] and not found["other"])

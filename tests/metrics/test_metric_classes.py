"""Classes in words."""

from __future__ import annotations

from gansmith.metrics.classes import listed


def test_a_few_classes_are_named_and_the_rest_counted() -> None:
    names = ("stop", "yield", "go", "turn", "left")
    assert listed([4], names) == "left"
    assert listed([0, 1, 2], names) == "stop, yield, go"
    assert listed([0, 1, 2, 3, 4], names) == "stop, yield, go and 2 more"
    assert listed([7, 8], ()) == "class 7, class 8"

"""Classes in words."""

from __future__ import annotations

from gansmith.metrics.classes import name_classes


def test_a_few_classes_are_named_and_the_rest_counted() -> None:
    names = ("stop", "yield", "go", "turn", "left")
    assert name_classes([4], names) == "left"
    assert name_classes([0, 1, 2], names) == "stop, yield, go"
    assert name_classes([0, 1, 2, 3, 4], names) == "stop, yield, go and 2 more"
    assert name_classes([7, 8], ()) == "class 7, class 8"

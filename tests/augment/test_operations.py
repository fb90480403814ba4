"""Which operations are done: what is safe, what is asked for by name, and what cannot be."""

from __future__ import annotations

import pytest

from gansmith.augment import OPERATIONS, SAFE_OPERATIONS, resolve_operations
from gansmith.errors import ConfigError


def test_safe_sets_name_operations_and_keep_meanings() -> None:
    for kind, names in SAFE_OPERATIONS.items():
        assert set(names) <= set(OPERATIONS), kind
        assert not {"quarter-turn", "rotation", "luma-flip", "hue"} & set(names), kind
    assert "mirror" in SAFE_OPERATIONS["photos"]
    assert "mirror" not in (*SAFE_OPERATIONS["digits"], *SAFE_OPERATIONS["signs"])


def test_without_a_name_the_safe_set_is_taken_less_what_gray_has_not() -> None:
    assert resolve_operations((), "photos", 3) == SAFE_OPERATIONS["photos"]
    gray = resolve_operations((), "photos", 1)
    assert gray == tuple(name for name in SAFE_OPERATIONS["photos"] if name != "saturation")


def test_what_is_named_is_done_be_it_safe_or_not() -> None:
    assert resolve_operations(("rotation", "hue"), "digits", 3) == ("rotation", "hue")
    assert resolve_operations(tuple(OPERATIONS), "unknown kind", 4) == tuple(OPERATIONS)


@pytest.mark.parametrize(
    ("names", "kind", "channels", "message"),
    [
        (("miror",), "photos", 3, "here: no operation is called 'miror'; did you mean 'mirror'?"),
        (("mirror", "hue"), "photos", 1, "here: 'hue' has no effect on gray images; omit it"),
        ((), "faces", 3, "here: no safe operations are known for data of kind 'faces'; name the operations"),
    ],
)
def test_a_mistake_is_named(names: tuple[str, ...], kind: str, channels: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_operations(names, kind, channels, "here")
    assert str(caught.value) == message

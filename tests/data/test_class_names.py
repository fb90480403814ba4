"""Which class a name or a number means: the same rule for everyone."""

from __future__ import annotations

import unicodedata

import pytest

from gansmith.data.class_names import find_class
from gansmith.errors import ConfigError

SIGNS = ("00001", "00005", "00014")


@pytest.mark.parametrize(
    ("names", "label", "index"),
    [
        (SIGNS, "1", 0),
        (SIGNS, 5, 1),
        (SIGNS, "00014", 2),
        (SIGNS, 14, 2),
        (tuple(map(str, range(1, 11))), 1, 0),
        (("1", "cat"), "cat", 1),
        (("01", "1"), "1", 1),
        (("cat", "dog"), 1, 1),
        (("cat", "dog"), "0", 0),
        (("cat", "dog"), "dog", 1),
        (("Stop", "stop"), "stop", 1),
        (("Stop", "Yield"), "stop", 0),
        (("speed limit 20", "stop"), "Speed-Limit_20", 0),
        (("überholen", "vorfahrt"), unicodedata.normalize("NFD", "überholen"), 0),
    ],
)
def test_a_name_or_number_means_one_class(names: tuple[str, ...], label: int | str, index: int) -> None:
    assert find_class(names, label) == index


@pytest.mark.parametrize(
    ("names", "label", "error"),
    [
        (SIGNS, 0, "no class is called 0; class names here are numbers, so an index is not accepted"),
        (SIGNS, "2", "no class is called 2; .* not accepted"),
        (("1", "cat"), 0, "not accepted"),
        (("01", "001"), "1", "1 may be 01 or 001; write the full name"),
        (("cat", "dog"), 2, "no class 2; expected 0 to 1, or a class name"),
        (("cat", "dog"), -1, "no class is called '-1'"),
        (("cat", "dog"), "dgo", "did you mean 'dog'"),
        (("Stop", "STOP"), "stop", "no class is called 'stop'"),
        (("cat", "dog"), "9" * 5000, "no class is called"),
    ],
)
def test_what_means_no_class_or_several_is_refused(names: tuple[str, ...], label: int | str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        find_class(names, label)

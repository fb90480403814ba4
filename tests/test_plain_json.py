"""JSON from outside: whatever it holds, reading it ends with a value or with one known error."""

from __future__ import annotations

from pathlib import Path

import pytest

from gansmith.checkpoint import read_state
from gansmith.config import load_config
from gansmith.errors import GansmithError
from gansmith.facts import DataFacts
from gansmith.plain_json import MOST_DEPTH, parse_json, read_json
from gansmith.report.reading import read_object
from gansmith.study.results import read_results


@pytest.mark.parametrize("depth", [MOST_DEPTH + 1, 900, 5_000, 200_000])
@pytest.mark.parametrize("ends", ["[]", ('{"a":', "}")])
def test_what_is_nested_too_deeply_is_refused(depth: int, ends: tuple[str, str]) -> None:
    text = ends[0] * depth + "1" + ends[1] * depth
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        parse_json(text)


def test_what_is_nested_less_deeply_is_read() -> None:
    value = parse_json("[" * MOST_DEPTH + "1" + "]" * MOST_DEPTH)
    for _ in range(MOST_DEPTH):
        (value,) = value
    assert value == 1


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00", b"[" * 50_000, b"9" * 10_000])
def test_every_reader_of_a_file_ends_with_one_line(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(text)
    with pytest.raises(ValueError):
        read_json(path)
    for read in (load_config, DataFacts.read, read_results, read_object, lambda path: read_state(path.parent)):
        with pytest.raises(GansmithError) as caught:
            read(path)
        assert "\n" not in str(caught.value)

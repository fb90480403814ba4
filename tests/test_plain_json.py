"""JSON from outside: whatever it holds, reading it ends with a value or with one known error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gansmith.errors import GansmithError
from gansmith.plain_json import (
    MOST_DEPTH,
    append_line,
    keep_lines,
    parse_json,
    read_json,
    read_lines,
    rewrite_json,
    write_json,
)
from gansmith.report.reading import read_object
from gansmith.study.results import read_results
from gansmith.training.checkpoint_files import read_state
from gansmith.training.config import load_config
from gansmith.training.data_facts import DataFacts


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


# --- digests -----------------------------------------------------------------------------------------------

PLAIN: dict[str, Any] = {"lr": 0.001, "name": "é", "sizes": [1, 2.5, None], "nan": 1e-320}


def test_no_bit_of_a_file_can_flip_unseen(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, PLAIN)
    assert read_json(path) == PLAIN
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(bytes(flipped))
            try:
                read = read_json(path)
            except ValueError:
                continue
            # White space means nothing; a name in place of the seal leaves a field that nothing knows.
            assert read == PLAIN or set(read) - set(PLAIN)


def test_no_bit_of_a_line_can_flip_unseen(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    append_line(path, PLAIN)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(bytes(flipped))
        assert all(line == PLAIN or set(line) - set(PLAIN) for line in read_lines(path, dict))


def test_what_has_no_digest_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(PLAIN))
    (tmp_path / "x.jsonl").write_text(json.dumps(PLAIN) + "\n")
    assert read_json(tmp_path / "x.json") == PLAIN
    assert list(read_lines(tmp_path / "x.jsonl", dict)) == [PLAIN]


def test_lines_that_are_kept_keep_their_checksums(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for i in range(3):
        append_line(path, {"i": i})
    before = path.read_text().splitlines()
    keep_lines(path, lambda line: line["i"] != 1)
    assert path.read_text().splitlines() == [before[0], before[2]]


def test_a_file_that_was_changed_on_purpose_says_how(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, PLAIN)
    path.write_text(path.read_text().replace("0.001", "0.002"))
    with pytest.raises(ValueError, match=r'differs from its digest: .* remove "seal" if you edited it'):
        read_json(path)
    changed = json.loads(path.read_text())
    write_json(path, changed)
    assert read_json(path) == PLAIN | {"lr": 0.002}


def test_a_file_is_written_where_it_is_if_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"state": "running", "a long reason": "x" * 100})

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gansmith.plain_json.write_json", full)
    rewrite_json(path, {"state": "failed"})
    assert read_json(path) == {"state": "failed"}
    with pytest.raises(OSError, match="No space"):
        rewrite_json(tmp_path / "new.json", {})

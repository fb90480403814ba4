"""A small share of the faults of ``make faults``, and that the suite sees faults where there are some."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import mutated
from processes import Ended

HOME = Path(__file__).parent
ROW = re.compile(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the faults need fork")
def test_a_share_of_all_faults() -> None:
    words = [sys.executable, str(HOME), "--short", "--jobs", "1", "--seed", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {found[1]: list(map(int, found.groups()[1:])) for found in ROW.finditer(done.stdout)}
    assert len(rows) == 9  # eight kinds, and all
    for kind, (tried, survived, refused, lost, wrong, tracebacks, skipped) in rows.items():
        assert tried == survived + refused and tried + skipped > 0, kind
        assert lost == wrong == tracebacks == 0, kind
    assert rows["all"][0] > 70


@pytest.mark.parametrize(
    ("ended", "fault"),
    [
        (Ended(0, "fine"), ""),
        (Ended(2, "note\nerror: one: line; remedy"), ""),
        (Ended(2, "error: one\nerror: two"), "2 lines of errors"),
        (Ended(2, ""), "0 lines of errors"),
        (Ended(1, "Traceback (most recent call last):"), "exit 1"),
        (Ended(0, "Traceback (most recent call last):"), "exit 0"),
        (Ended(-11, ""), "exit -11"),
        (Ended(None, ""), "hung"),
    ],
)
def test_what_counts_as_a_fault(ended: Ended, fault: str) -> None:
    assert (fault in ended.fault) if fault else not ended.fault


def test_mutations_follow_from_the_seed_and_change_something() -> None:
    whole = b'{"a": [1, 2, {"b": "c"}], "d": 0.5}'
    first, second = ([mutated(whole, random.Random(seed)) for seed in range(200)] for _ in range(2))
    assert first == second
    assert sum(each != whole for each in first) > 190

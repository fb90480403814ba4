"""The guard reads lines of 5,000 images, however many lines a short run writes."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from gansmith.schedules import Duration, Progress
from gansmith.training.config import Config
from gansmith.training.guard.guardian import Guardian
from gansmith.training.guard.lines import average_lines, group_lines
from gansmith.training.guard.settings import Guard
from gansmith.training.loop import choose_log_interval
from gansmith.training.presets import configure

LINES: list[dict[str, float]] = [
    {"progress/nimg": nimg, "loss/discriminator": float(nimg), "skipped/discriminator": 0.0, "skipped/generator": 0.0}
    for nimg in range(1000, 13_000, 1000)
]


def test_lines_are_averaged_over_5000_images() -> None:
    averaged, rest = group_lines(LINES)
    assert [line["progress/nimg"] for line in averaged] == [5000, 10_000]
    assert [line["loss/discriminator"] for line in averaged] == [3000, 8000]
    assert rest == LINES[10:]
    with_probes = [LINES[0], {**LINES[1], "guard/diversity": 0.5}]
    assert average_lines(with_probes)["guard/diversity"] == 0.5


def guardian(**fields: Any) -> Guardian:
    return Guardian(
        guard=Guard(), probes=Mock(), run=Mock(), chance_loss=1.0, operations=lambda: (), every_line=False, **fields
    )


def test_the_guard_sees_the_same_in_one_session_and_in_two() -> None:
    whole = guardian()
    for line in LINES:
        whole.detect(line)
    history, lines = group_lines(LINES[:7])
    resumed = guardian(history=history, lines=lines)
    for line in LINES[7:]:
        resumed.detect(line)
    assert resumed.history == whole.history == group_lines(LINES)[0]
    assert resumed.lines == whole.lines


def test_the_last_line_ends_an_interval_early() -> None:
    one = guardian()
    one.detect(LINES[0])
    assert one.history == []
    one.detect(LINES[1], last=True)
    assert [line["progress/nimg"] for line in one.history] == [2000]


@pytest.mark.parametrize(
    ("length", "nimg", "interval"),
    [("100 kimg", 500, "2 %"), ("1000 kimg", 500, "5 kimg"), ("10 epochs", 100, "2 %"), ("1 h", 3600, "5 kimg")],
)
def test_statistics_come_every_5_kimg_or_50_times_a_run(length: str, nimg: int, interval: str) -> None:
    config: Config = configure("digits", overrides={"length": length})
    now = Progress(nimg=nimg, step=nimg // 10, seconds=10.0, epoch_size=1000)
    assert str(choose_log_interval(config, now)) == interval
    mine: Config = configure("digits", overrides={"length": length, "log_every": "7 steps"})
    assert choose_log_interval(mine, now) == Duration(7, "steps")

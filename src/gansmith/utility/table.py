"""The tables of a utility test: for the terminal, and as Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gansmith.console import print_lines
from gansmith.numerals import count, number, plural
from gansmith.study.results import Interval
from gansmith.utility.arms import ARMS
from gansmith.utility.results import MEASURES, UtilityResults
from gansmith.utility.verdict import describe_amount, points

__all__ = ["show_utility", "to_html", "to_markdown"]

DASH = "\N{EN DASH}"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #8888; padding: .3rem .7rem; text-align: left; white-space: nowrap }
.first { font-weight: 600; font-size: 1.1rem }
"""


@dataclass(frozen=True, kw_only=True)
class _Plate:
    """A table as text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show_utility(results: UtilityResults, console: Console) -> None:
    """Print the tables and the sentence."""
    for plate in _plates(results):
        table = Table(title=plate.title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
        for place, words in enumerate(plate.head):
            table.add_column(words, justify="right" if place else "left")
        for row in plate.rows:
            table.add_row(*map(escape, row))
        console.print(table)
    print_lines(console, [*_facts(results), "", results.sentence])


def to_markdown(results: UtilityResults) -> str:
    """Return the whole result as a Markdown page."""
    lines = ["# Does synthetic data help?", "", results.sentence, ""]
    for fact in _facts(results):
        lines.append(f"- {fact}")
    for plate in _plates(results):
        rows = [plate.head, tuple("---" for _ in plate.head), *plate.rows]
        lines += ["", f"## {plate.title}", "", *(f"| {' | '.join(map(_escape, row))} |" for row in rows)]
    return "\n".join([*lines, ""])


def to_html(results: UtilityResults) -> str:
    """Return the whole result as one self-contained page."""
    parts = [f"<p class='first'>{html.escape(results.sentence)}</p>", "<ul>"]
    parts += [f"<li>{html.escape(fact)}</li>" for fact in _facts(results)]
    parts.append("</ul>")
    for plate in _plates(results):
        head = "".join(f"<th>{html.escape(words)}</th>" for words in plate.head)
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in plate.rows)
        parts.append(f"<h2>{html.escape(plate.title)}</h2><table><tr>{head}</tr>{rows}</table>")
    title = "Does synthetic data help?"
    viewport = "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    head = f"<meta charset='utf-8'>{viewport}<title>{title}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body><h1>{title}</h1>{''.join(parts)}</body></html>\n"


def _plates(results: UtilityResults) -> Iterator[_Plate]:
    measured = [name for name, _ in zip(MEASURES, results.summaries[0].values, strict=False)]
    for amount in dict.fromkeys(entry.amount for entry in results.summaries):
        yield _Plate(
            title=f"{describe_amount(amount).capitalize()}: right in %, mean of {plural(results.seeds, 'seed')}",
            head=("arm", "real", "synthetic", *measured),
            rows=tuple(
                (
                    ARMS[entry.arm].title,
                    count(entry.num_real),
                    count(entry.num_synthetic),
                    *(_percent(value) for value in entry.values),
                )
                for entry in results.summaries
                if entry.amount == amount
            ),
        )
    if results.comparisons:
        yield _comparisons(results)
    if results.gains:
        yield _gains(results)


def _comparisons(results: UtilityResults) -> _Plate:
    rows = [
        (
            f"{ARMS[entry.paired.second].title} \N{MINUS SIGN} {ARMS[entry.paired.first].title}"
            f"{' *' if entry.headline else ''}",
            entry.amount,
            _change(entry.paired.difference),
            _range(entry.over_test),
            _p(entry.paired.p_t),
            _p(entry.paired.p_holm),
            ("yes" if entry.shown else "no") if entry.headline else DASH,
        )
        for entry in results.comparisons
        if entry.paired.measure == "accuracy"
    ]
    return _Plate(
        title="Difference of accuracy in points, with 95 % intervals over seeds and over test images (* headline)",
        head=("arms", "real a class", "over seeds", "over test", "p", "Holm", "shown"),
        rows=tuple(rows),
    )


def _gains(results: UtilityResults) -> _Plate:
    others = results.gainers[1:]
    return _Plate(
        title="Rare classes at all real images: right in %, and change of it in points",
        head=("class", "real images", "tested", ARMS[results.gainers[0]].title, *(ARMS[arm].title for arm in others)),
        rows=tuple(
            (
                entry.name,
                count(entry.num_real),
                count(entry.num_test),
                number(100 * entry.recall[0], 1),
                *(points(value - entry.recall[0]) for value in entry.recall[1:]),
            )
            for entry in results.gains
        ),
    )


def _facts(results: UtilityResults) -> list[str]:
    return [
        f"Generator: {results.run}, {results.run_facts}.",
        f"Tested on {results.tested_on}.",
        f"Every classifier: {results.training}.",
        *results.notes,
        *results.left_out,
        f"{results.when[:10]}, gansmith {results.gansmith}, {results.machine}; {results.command}",
    ]


def _percent(value: Interval) -> str:
    text = number(100 * value.value, 1)
    return text if value.low is None or value.high is None else f"{text} ({_ends(value, sign=False)})"


def _change(value: Interval | None) -> str:
    if value is None:
        return DASH
    return points(value.value) if value.low is None else f"{points(value.value)} ({_ends(value)})"


def _range(value: Interval | None) -> str:
    return DASH if value is None or value.low is None else _ends(value)


def _ends(value: Interval, *, sign: bool = True) -> str:
    assert value.low is not None and value.high is not None
    low, high = (max(0.0, value.low), min(1.0, value.high)) if not sign else (value.low, value.high)
    return f"{points(low, sign=sign)} to {points(high, sign=sign)}"


def _p(value: float | None) -> str:
    return DASH if value is None else "< 0.001" if value < 0.001 else number(value, 3)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")

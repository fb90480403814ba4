"""gansmith agent-docs [TOPIC]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from gansmith.cli.agent_topics import TOPICS
from gansmith.cli.options import Flag, parse, print_json
from gansmith.errors import ConfigError, did_you_mean

__all__ = ["main"]

SHORT = [name for name, topic in TOPICS.items() if topic.short]
LONG = [name for name in TOPICS if name not in SHORT]


@dataclass(frozen=True)
class AgentDocsOptions:
    """Print the pages that a coding agent needs, as Markdown, from this version's code.

    They also serve people who know GANs and want everything in one place.
    """

    topic: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[TOPIC]", help_behavior_hint=f"(default: all but {' and '.join(LONG)})"),
    ] = ""
    """one page: start, verbs, python, run-folder, config, errors, extend, options or components"""
    schema: Flag = False
    """print the JSON schema (draft 2020-12) of config.json instead"""
    json: Flag = False
    """print JSON only: each page's summary and text"""


def main(arguments: Sequence[str]) -> None:
    """Print the pages."""
    options = parse(AgentDocsOptions, "agent-docs", arguments)
    if options.schema:
        _print_schema(options.topic)
        return
    if options.topic and options.topic not in TOPICS:
        raise ConfigError(
            f"gansmith agent-docs: no topic is called '{options.topic}'; {did_you_mean(options.topic, TOPICS)}"
        )
    chosen = [options.topic] if options.topic else SHORT
    if options.json:
        print_json({name: {"summary": TOPICS[name].summary, "text": TOPICS[name].write()} for name in chosen})
        return
    print("\n".join(TOPICS[name].write() for name in chosen).rstrip())
    if not options.topic:
        rest = "; ".join(f"`gansmith agent-docs {name}`: {TOPICS[name].summary}" for name in LONG)
        print(f"\n# More\n\n{rest}; `gansmith agent-docs --schema`: the JSON schema of config.json")


def _print_schema(topic: str) -> None:
    from gansmith.training.config import build_config_schema

    if topic:
        raise ConfigError(f"gansmith agent-docs {topic} --schema: the schema has no topics; leave out '{topic}'")
    print_json(build_config_schema())

"""gansmith agent-docs: what the pages say is what the code does."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import gansmith
from gansmith import api
from gansmith.cli import COMMANDS, main
from gansmith.cli.agent_topics import TOPICS, write_options
from gansmith.cli.listing import FAMILIES, family
from gansmith.component import members
from gansmith.component.values import list_fields
from gansmith.training.config import Config, build_config_schema

PAGES = Path(gansmith.__file__).parent / "cli" / "pages"
TINY = {"batch_size": 4, "preparation.size": [8, 8], "guard": None, "tracking": None, "model": "dense"}


@pytest.fixture(scope="module")
def options() -> str:
    return write_options()


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def test_all_short_pages_are_printed_and_the_long_ones_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent-docs"]) == 0
    text = capsys.readouterr().out
    for name, topic in TOPICS.items():
        assert (topic.write().strip() in text) == topic.short
        assert topic.short or f"gansmith agent-docs {name}" in text
    assert len(text) < 30_000  # an agent reads it all


def test_json_has_each_page_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent-docs", "--json"]) == 0
    pages = json.loads(capsys.readouterr().out)
    assert list(pages) == [name for name, topic in TOPICS.items() if topic.short]
    assert all(set(each) == {"summary", "text"} and each["text"].startswith("# ") for each in pages.values())
    assert main(["agent-docs", "errors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"errors": pages["errors"]}


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent-docs", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == build_config_schema()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["optionss"], "gansmith agent-docs: no topic is called 'optionss'; did you mean 'options'?"),
        (["config", "--schema"], "gansmith agent-docs config --schema: the schema has no topics; leave out 'config'"),
    ],
)
def test_a_wrong_topic_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent-docs", *words]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_every_option_of_every_verb_is_a_line(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    sections = dict(re.findall(r"^## gansmith (\S+)\n(.*?)(?=^## |\Z)", options, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(COMMANDS)
    for verb in ("sample", "train", "evaluate"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        listed = set(re.findall(r"^[│ ] (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
        assert listed <= set(re.findall(r"^- (--[a-z-]+)", sections[verb], re.MULTILINE))
    wanted = "- --num N  number of images (default: 64), or of seeds in a sweep (default: 4)"
    assert wanted in sections["sample"].splitlines()
    assert "## gansmith export onnx\n" in options
    assert not re.search("[│╭╰]", options)


@pytest.mark.parametrize("name", ["start", "run-folder", "extend"])
def test_commands_of_the_pages_exist(name: str, options: str) -> None:
    for words in re.findall(r"gansmith ((?:[a-z-]+ )[^#`\n]*)", "\n".join(blocks_and_code(page(name)))):
        verb = words.split()[0]
        assert verb in COMMANDS
        section = options.partition(f"## gansmith {verb}\n")[2].partition("\n## gansmith ")[0]
        for option in re.findall(r"--([a-z_]+)", words):
            assert f"--{option}" in section or option in list_fields(Config), words


def blocks_and_code(text: str) -> list[str]:
    return [*re.findall(r"```\n(.*?)```", text, re.DOTALL), *re.findall(r"`(gansmith [^`\n]+)`", text)]


def test_every_field_and_component_is_listed() -> None:
    config, components = TOPICS["config"].write(), TOPICS["components"].write()
    assert [name for name in list_fields(Config) if f"- `{name}`" not in config] == []
    assert "- `batch_size` = 64 (>= 2, <= 65536): images a step, over all processes." in config.splitlines()
    for topic in FAMILIES:
        section = components.partition(f"## {topic}\n")[2].partition("\n## ")[0]
        assert [name for name in members(family(topic)) if f"- `{name}`: " not in section] == []


def test_every_public_name_is_listed() -> None:
    text = TOPICS["python"].write()
    assert [name for name in gansmith.__all__ if f"`gansmith.{name}" not in text] == []
    assert "- `.sample(num=64, *, seed=0, label=None, truncation=1.0)`: Generate the images" in text
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(example, "example", "exec")


def test_the_pages_components_train_and_the_run_has_the_files_that_the_pages_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", page("extend"), re.DOTALL)
    (tmp_path / "mymodule.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mymodule", raising=False)  # that of another page
    changes = {**TINY, "loss": "mymodule:Exponential", "loss.scale": 0.5, "penalties": "mymodule:LogitSize"}
    run = api.train("digits", preset="dcgan-r1", length="2 steps", run=tmp_path / "run", overrides=changes)
    assert run.stats()[-1]["penalty/logitsize"] > 0
    config = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    Draft202012Validator(build_config_schema()).validate(config)
    described = dict(re.findall(r"^\| (`.*?`) \| (.*) \|$", page("run-folder"), re.MULTILINE))
    for name in ("data", "status"):
        fields = json.loads((run.path / f"{name}.json").read_text(encoding="utf-8"))
        assert set(re.findall(r"`(\w+)`", described[f"`{name}.json`"])) <= set(fields)
    assert set(re.findall(r"`(\w+/\w+)`", described["`stats.jsonl`"])) <= set(run.stats()[-1])
    for name in ("environment.json", "images", "losses.png", "training_checkpoints"):
        assert any(name in row for row in described) and (run.path / name).exists()


def test_the_classes_to_derive_from_have_what_must_be_defined() -> None:
    rows = re.findall(r"^\| .* \| `(gansmith\.\S+)` \| (.*) \|$", page("extend"), re.MULTILINE)
    assert len(rows) == 10
    for path, told in rows:
        module, _, name = path.rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        names = set(re.findall(r"`(\w+)`", told)) - {"Listener"}
        assert set(inspect.get_annotations(cls)) | set(dir(cls)) >= names
        assert set(cls.__abstractmethods__) <= names

"""The JSON schema of the configuration accepts what gansmith reads, and refuses what gansmith refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import gansmith
from gansmith.augment import Augment
from gansmith.cli.listing import FAMILIES, family
from gansmith.component import Component, build_schema, from_plain, member, members, to_plain
from gansmith.component.values import list_fields
from gansmith.errors import ConfigError
from gansmith.training.config import Config, build_config_schema
from gansmith.training.guard.settings import Guard
from gansmith.training.presets import PRESETS
from gansmith.training.tracking import Tracking
from gansmith.trust import trust_user_input

ZOO = sorted(Path(gansmith.__file__).parent.glob("zoo/entries/*/config.json"))
SCHEMA = build_config_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
# At, inside and beyond the bounds of every field, in every type that JSON has.
PROBES: list[Any] = [
    *(
        None,
        "none",
        True,
        False,
        -1,
        0,
        1,
        2,
        64,
        2.0,
        -0.5,
        0.5,
        0.999,
        1.001,
        1e9,
        2**63 - 1,
        2**63,
        65_537,
        1_000_001,
    ),
    *("", "text", "cpu", "10 min", "5 %", "0 min", "1e3 kimg", "10 parsecs", "3", "64x48", "0x48", "a.b:c", "a b:c"),
    *("hinge", "r1", "r1,r2", "r1,r9", "auto", "mean", "adam", "dcgan", "fid", "folder", "bfloat16"),
    *([], [1, 1], [0, 1], [1], [4096, 4097], [0.5, 2], ["r1"], ["flip"], [None], {}, {"name": "r1"}, {"name": "hing"}),
    *({"name": "hinge", "gama": 1}, {"name": "adam", "lr": 0}, {"every": "5 %"}, {"size": 64}, {"name": "folder"}),
    *(
        {"name": "folder", "path": "x"},
        {"name": "classifier", "width": 0},
        {"name": "r1", "schedule": {"name": "cosine"}},
    ),
]


def classes() -> Iterator[type[Component]]:
    yield from (Config, Tracking, Guard)
    for topic in FAMILIES:
        for name in members(family(topic)):
            yield member(family(topic), name, topic)


def test_the_schema_is_one_of_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert not SCHEMA["additionalProperties"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid(name: str) -> None:
    VALIDATOR.validate(json.loads(json.dumps(to_plain(PRESETS[name].config))))


@pytest.mark.parametrize("file", ZOO, ids=lambda file: file.parent.name)
def test_the_configurations_of_trained_runs_are_valid(file: Path) -> None:
    assert "seal" in json.loads(file.read_text(encoding="utf-8"))
    VALIDATOR.validate(json.loads(file.read_text(encoding="utf-8")))


def test_defaults_are_those_of_the_code() -> None:
    properties = SCHEMA["properties"]
    defaults = {name: properties[name]["default"] for name in list_fields(Config)}
    assert from_plain(Config, defaults, "config") == Config()


def test_every_field_and_family_is_described() -> None:
    bare = [name for name in list_fields(Config) if not SCHEMA["properties"][name].get("description")]
    assert bare == []
    assert SCHEMA["properties"]["seed"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**63 - 1,
        "default": 0,
        "description": "decides the initial weights, the order of the data and all noise.",
    }
    named = {cls.__name__ for cls in classes()} - {"Config"}
    metrics_and_data = named - set(SCHEMA["$defs"])
    assert metrics_and_data == set()


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("sead", 1, "$"),
        ("seed", "one", "$.seed"),
        ("seed", -1, "$.seed"),
        ("balance", 1.5, "$.balance"),
        ("batch_size", 1, "$.batch_size"),
        ("length", "5 %", "$.length"),
        ("length", "0 min", "$.length"),
        ("precision", "float16", "$.precision"),
        ("loss", "hing", "$.loss"),
        ("loss", {"name": "hing"}, "$.loss.name"),
        ("loss", {}, "$.loss"),
        ("model", {"name": "dcgan", "widht": 64}, "$.model"),
        ("model", {"name": "dcgan", "width": 0}, "$.model.width"),
        ("generator_optimizer", {"name": "adam", "betas": [0.5]}, "$.generator_optimizer.betas"),
        ("penalties", [{"name": "r1", "every": 0}], "$.penalties[0].every"),
    ],
)
def test_a_wrong_field_is_refused_where_it_is(field: str, value: object, place: str) -> None:
    plain = to_plain(Config()) | {field: value}
    with pytest.raises(ConfigError):
        from_plain(Config, copy.deepcopy(plain), "config")
    errors = [error for top in VALIDATOR.iter_errors(plain) for error in (top, *(top.context or ()))]
    assert place in [error.json_path for error in errors]


def test_the_schema_agrees_with_the_reader_on_every_field() -> None:
    """All fields of all components: what one of the two takes, the other takes as well."""
    seen: set[str] = set()
    disagreements = []
    for cls in classes():
        schema = build_schema(cls)
        for name, annotation in list_fields(cls).items():
            about = {
                key: value for key, value in schema["properties"][name].items() if key not in ("default", "description")
            }
            if (key := json.dumps(about, sort_keys=True)) in seen:
                continue
            seen.add(key)
            validator = Draft202012Validator({**about, "$defs": schema["$defs"]})
            disagreements += [
                f"{cls.__name__}.{name}: {probe!r}"
                for probe in PROBES
                if validator.is_valid(probe) != reads(annotation, probe)
            ]
    assert len(seen) > 40
    assert disagreements == []


def reads(annotation: Any, plain: Any) -> bool:
    """Whether gansmith accepts a value, apart from code of other packages, which the schema knows nothing of."""
    if isinstance(plain, str) and plain == "a.b:c":
        return any(takes_code(part) for part in parts(annotation))
    with trust_user_input():
        try:
            from_plain(annotation, copy.deepcopy(plain), "config")
        except ConfigError:
            return False
    return True


def parts(annotation: Any) -> list[Any]:
    found = [annotation]
    for inner in getattr(annotation, "__args__", ()):
        found += parts(inner)
    return found


def takes_code(part: Any) -> bool:
    return part is str or getattr(part, "__name__", "") in ("FunctionPath", "Path") or bool(getattr(part, "table", ""))


def test_a_family_takes_the_names_of_its_members() -> None:
    validator = Draft202012Validator({**SCHEMA["properties"]["augment"], "$defs": SCHEMA["$defs"]})
    assert all(validator.is_valid({"name": name}) for name in members(Augment))
    assert validator.is_valid({"name": "mymodule:Mine", "anything": 1})

"""Components: what is written down comes back the same, and whatever does not fit is refused in one line."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import sys
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from gansmith.component import (
    AtLeast,
    Between,
    Component,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    ReadAs,
    fields_set,
    from_plain,
    member,
    member_name,
    members,
    override,
    to_plain,
)
from gansmith.errors import ConfigError
from gansmith.schedules import Duration
from gansmith.trust import trust_user_input


@dataclass(frozen=True, kw_only=True)
class Shape(Component):
    table: ClassVar[str] = f"{__name__}:SHAPES"

    @abstractmethod
    def area(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Circle(Shape):
    radius: Positive = 1.0

    def area(self) -> float:
        return 3 * self.radius**2


@dataclass(frozen=True, kw_only=True)
class Box(Shape):
    sides: tuple[PositiveInt, PositiveInt] = (1, 2)
    corner: Literal["round", "sharp"] = "sharp"

    def area(self) -> float:
        return float(self.sides[0] * self.sides[1])


@dataclass(frozen=True, kw_only=True)
class Hexagon(Circle):
    """In no table: a member from outside."""


SHAPES: dict[str, type[Shape] | str] = {"circle": Circle, "box": f"{__name__}:Box"}


@dataclass(frozen=True, kw_only=True)
class Drawing(Component):
    title: str
    shape: Shape = Circle()
    more: tuple[Shape, ...] = ()
    path: Path | None = None
    length: Duration = Duration(10, "min")
    width: int | None = None
    ink: Fraction = 0.5
    weight: NonNegative | Literal["auto"] = "auto"
    filled: bool = False


FULL = Drawing(
    title="x",
    shape=Box(sides=(3, 4), corner="round"),
    more=(Circle(radius=0.1), Box(), Hexagon()),
    path=Path("a/b"),
    length=Duration(5, "epochs"),
    width=7,
    filled=True,
)


@pytest.mark.parametrize("drawing", [FULL, Drawing(title="")])
def test_a_tree_survives_json(drawing: Drawing) -> None:
    with trust_user_input():
        assert from_plain(Drawing, json.loads(json.dumps(to_plain(drawing))), "drawing") == drawing


def test_plain_data_are_readable() -> None:
    plain = to_plain(FULL)
    assert plain["shape"] == {"name": "box", "sides": [3, 4], "corner": "round"}
    assert plain["more"][2]["name"] == f"{__name__}:Hexagon"
    assert (plain["path"], plain["length"]) == ("a/b", "5 epochs")


def test_a_component_is_a_frozen_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.title = "y"
    assert hash(dataclasses.replace(FULL)) == hash(FULL) and dataclasses.replace(FULL, width=8) != FULL


def test_fields_are_checked_and_brought_to_their_type_when_made_in_python() -> None:
    circle = Circle(radius=2)
    assert circle.radius == 2.0 and isinstance(circle.radius, float)
    assert Drawing(title="x", width=7.0).width == 7
    assert Drawing(title="x", length="3 h").length == Duration(3, "h")
    with pytest.raises(ConfigError, match=r"^Circle\.radius: -1\.0 is out of range; expected more than 0$"):
        Circle(radius=-1)


def test_a_family_itself_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Shape()


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"shape": "circel"}, "d.shape: no shape is called 'circel'; did you mean 'circle'?"),
    ({"shape": "zzz"}, "d.shape: no shape is called 'zzz'; expected one of box, circle"),
    ({"shape": {"radius": 1}}, "d.shape: 'name' is missing; expected one of box, circle"),
    ({"shape": {"name": "circle", "raduis": 1}}, "d.shape.raduis: no such field of Circle; did you mean 'radius'?"),
    ({"shape": 3}, "d.shape: expected a Shape, got 3"),
    ({"more": ["box", "bx"]}, "d.more[1]: no shape is called 'bx'; did you mean 'box'?"),
    ({"more": 1}, "d.more: expected a list, got 1"),
    ({"shape": {"name": "circle", "radius": 0}}, "d.shape.radius: 0.0 is out of range; expected more than 0"),
    (
        {"shape": {"name": "box", "sides": [1, 0]}},
        "d.shape.sides[1]: 0 is out of range; expected from 1 to 1000000",
    ),
    ({"shape": {"name": "box", "sides": [1, 2, 3]}}, "d.shape.sides: expected 2 entries, got 3"),
    (
        {"shape": {"name": "box", "corner": "rond"}},
        "d.shape.corner: 'rond' is not known; did you mean 'round'?",
    ),
    ({"titel": "x"}, "d.titel: no such field of Drawing; did you mean 'title'?"),
    ({"filled": 1}, "d.filled: expected true or false, got 1"),
    ({"width": True}, "d.width: expected a whole number, got True"),
    ({"width": 1.5}, "d.width: expected a whole number, got 1.5"),
    ({"ink": 1.01}, "d.ink: 1.01 is out of range; expected from 0 to 1"),
    ({"ink": float("nan")}, "d.ink: nan is out of range; expected from 0 to 1"),
    ({"ink": False}, "d.ink: expected a number, got False"),
    ({"title": None}, "d.title: expected text, got None"),
    (
        {"length": "5 parsecs"},
        "d.length: '5 parsecs' is not a duration; "
        'write "50 epochs", "3000 steps", "500 kimg", "10 min" or "2 h"',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), MISTAKES)
def test_mistakes_are_named_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_plain(Drawing, {"title": "x", **fields}, "d")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("plain", "message"),
    [({}, "d.title: missing; Drawing needs a value"), ("x", "d: expected a Drawing, got 'x'")],
)
def test_a_required_field_is_missed(plain: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_plain(Drawing, plain, "d")
    assert str(caught.value) == message


@pytest.mark.parametrize("name", [3, None, [], {}])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^d\.shape"):
        from_plain(Drawing, {"title": "x", "shape": {"name": name}}, "d")


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "text"),
    [
        (AtLeast(1), [1, 2, 1e9], [0.999, -1, float("nan")], "at least 1"),
        (Between(0, 1), [0, 0.5, 1], [-1e-9, 1.0001, float("nan")], "from 0 to 1"),
        (Between(0, 1, open_high=True), [0, 0.999], [1, -0.1], "from 0 to below 1"),
        (Between(0, 1, open_low=True), [1e-9, 1], [0, 1.1], "more than 0 to 1"),
        (Between(0, float("inf"), open_low=True, open_high=True), [1e-9, 1e9], [0, float("inf")], "more than 0"),
    ],
)
def test_bounds(bound: AtLeast | Between, inside: list[float], outside: list[float], text: str) -> None:
    assert all(value in bound for value in inside) and not any(value in bound for value in outside)
    assert str(bound) == text


def test_every_bound_of_an_annotation_holds() -> None:
    even_lower = Annotated[int, AtLeast(0), Between(0, 4)]
    assert from_plain(even_lower, 4, "n") == 4
    with pytest.raises(ConfigError, match="n: 5 is out of range; expected from 0 to 4"):
        from_plain(even_lower, 5, "n")


# --- members from outside ----------------------------------------------------------------------------------


def test_members_are_found_by_name_and_named_again() -> None:
    assert list(members(Shape)) == ["circle", "box"]
    for name in members(Shape):
        assert member_name(member(Shape, name, "d")()) == name
    outside = f"{__name__}:Hexagon"
    with trust_user_input():
        assert member(Shape, outside, "d") is Hexagon
    assert member_name(Hexagon()) == outside


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pathlib:Path", f"d: pathlib:Path is not a Shape; derive it from {__name__}.Shape"),
        ("pathlib:nothing", "d: cannot import 'pathlib:nothing' "),
        ("no_such_module:X", "d: cannot import 'no_such_module:X' "),
    ],
)
def test_what_is_no_member_is_refused(name: str, message: str) -> None:
    with trust_user_input(), pytest.raises(ConfigError) as caught:
        member(Shape, name, "d")
    assert str(caught.value).startswith(message)


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "stranger.py").write_text("raise RuntimeError('it ran')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("GANSMITH_TRUST", raising=False)
    yield
    assert "stranger" not in sys.modules


@pytest.mark.usefixtures("stranger")
def test_code_from_outside_runs_only_where_it_is_trusted() -> None:
    refusal = "d: 'stranger:X' would run code from outside gansmith; allow it with GANSMITH_TRUST=stranger"
    for read in (
        lambda: member(Shape, "stranger:X", "d"),
        lambda: from_plain(Shape, {"name": "stranger:X"}, "d"),
        lambda: override(FULL, {"shape": "stranger:X"}, "d"),
        lambda: Drawing(title="x", shape="stranger:X"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError) as caught:
            read()
        assert str(caught.value).partition(": ")[2] == refusal.partition(": ")[2]


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("trust", ["", ",", " ", "stranger.deeper", "strange"])
@pytest.mark.parametrize("path", ["stranger:X", "stranger.deeper:X"])
def test_an_empty_or_other_trust_trusts_nothing(path: str, trust: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_TRUST", trust)
    with pytest.raises(ConfigError, match="would run code from outside gansmith; allow it with GANSMITH_TRUST=strange"):
        member(Shape, path, "d")


@pytest.mark.parametrize("path", [":", ":Y", ".x:Y", "x:", "..:Y", "x..y:Z", "x.:Y", "x y:Z", "x:Y:Z", "x:.Y", "1:2"])
@pytest.mark.parametrize("trust", ["", "x", ".x", ",", "x,"])
def test_what_names_nothing_is_refused(path: str, trust: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_TRUST", trust)
    message = f"d: '{path}' cannot be imported; write it as package.module:name"
    with pytest.raises(ConfigError) as caught:
        member(Shape, path, "d")
    assert str(caught.value) == message
    with trust_user_input(), pytest.raises(ConfigError) as caught:
        member(Shape, path, "d")
    assert str(caught.value) == message


def test_trust_is_given_by_package_and_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{__name__}:Hexagon"
    monkeypatch.setenv("GANSMITH_TRUST", f"other,{__name__}")
    assert member(Shape, name, "d") is Hexagon and member(Shape, "box", "d") is Box
    monkeypatch.setenv("GANSMITH_TRUST", "other")
    with trust_user_input():
        assert member(Shape, name, "d") is Hexagon
        assert override(FULL, {"shape": name}).shape == Hexagon()
    with pytest.raises(ConfigError):
        member(Shape, name, "d")


def test_a_component_from_outside_that_is_there_already_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANSMITH_TRUST", raising=False)
    own = Drawing(title="x", shape=Hexagon())
    assert override(own, {"title": "y"}) == Drawing(title="y", shape=Hexagon())
    assert override(FULL, {"shape": Hexagon()}).shape == Hexagon()


# --- overrides ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"width": 3}, {"width": 3}),
        ({"shape": "circle"}, {"shape": Circle()}),
        ({"shape.corner": "sharp"}, {"shape": Box(sides=(3, 4))}),
        ({"shape": "circle", "shape.radius": 2}, {"shape": Circle(radius=2)}),
        ({"shape.radius": 2, "shape": "circle"}, {"shape": Circle(radius=2)}),
        ({"more": "circle,box", "more.0.radius": 2}, {"more": (Circle(radius=2), Box())}),
        ({"more": "circle", "more.0.radius": 2}, {"more": (Circle(radius=2),)}),
        ({"more.1": "circle", "more.1.radius": 2}, {"more": (FULL.more[0], Circle(radius=2), FULL.more[2])}),
        ({"more": []}, {"more": ()}),
        ({"path": None, "length": "2 h"}, {"path": None, "length": Duration(2, "h")}),
        ({"shape": Circle(radius=3)}, {"shape": Circle(radius=3)}),
    ],
)
def test_overrides_swap_first_and_set_fields_then(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert override(FULL, changes) == dataclasses.replace(FULL, **expected)


def test_what_was_overridden_is_remembered_beside_the_value() -> None:
    same = override(override(FULL, {"title": FULL.title}), {"shape.corner": "round"})
    assert fields_set(FULL) == frozenset() and fields_set(same) == {"title", "shape.corner"}
    assert (same, repr(same), to_plain(same), hash(same)) == (FULL, repr(FULL), to_plain(FULL), hash(FULL))
    for kept in (dataclasses.replace(same, width=8), copy.deepcopy(same), pickle.loads(pickle.dumps(same))):
        assert fields_set(kept) == fields_set(same)
    with pytest.raises(ConfigError, match="no such field"):
        override(FULL, {"_set": ["title"]})


def test_overriding_leaves_the_changes_alone() -> None:
    changes = {"shape": {"name": "circle"}, "shape.radius": 2}
    given = copy.deepcopy(changes)
    override(FULL, changes)
    assert changes == given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shap": "box"}, "config.shap: no such field; did you mean 'shape'?"),
        ({"shape.cornr": "sharp"}, "config.shape.cornr: no such field of Box; did you mean 'corner'?"),
        (
            {"shape": "circle", "shape.corner": 1},
            "config.shape.corner: no such field of Circle; expected one of radius",
        ),
        ({"more.3.radius": 1}, "config.more: no entry '3'; expected a number from 0 to below 3"),
        ({"more.radius": 1}, "config.more: no entry 'radius'; expected a number from 0 to below 3"),
        ({"width.x": 1}, "config.width: it has no fields, so 'x' cannot be set"),
        ({"ink": 2}, "config.ink: 2.0 is out of range; expected from 0 to 1"),
    ],
)
def test_wrong_overrides_are_named_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(FULL, changes)
    assert str(caught.value) == message


def test_a_field_may_read_a_text_in_its_own_way() -> None:
    def read(text: str, where: str) -> list[int]:
        if text.isdigit():
            return [int(text)] * 2
        raise ConfigError(f"{where}: no number")

    annotation = Annotated[tuple[PositiveInt, PositiveInt], ReadAs(read)] | None
    assert [from_plain(annotation, value, "x") for value in ("3", 3, [1, 2], "none", None)] == [
        (3, 3),
        (3, 3),
        (1, 2),
        None,
        None,
    ]
    for value, message in (("a", "x: no number"), (0, r"x\[0\]: 0 is out of range"), ([1], "x: expected 2 entries")):
        with pytest.raises(ConfigError, match=message):
            from_plain(annotation, value, "x")

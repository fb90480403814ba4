"""Make mutants of a module: each is the module with one thing changed.

What is changed: operators, constants, conditions, arguments by name, statements without a value, returned values,
``with`` blocks. What is not: annotations, docstrings, messages (text with a space in it, and whatever is raised),
decorators of classes, ``__all__`` and type variables.
"""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Mutant", "make_mutants", "make_named"]

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.RShift: ast.LShift,
    ast.LShift: ast.RShift, ast.MatMult: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, what it is, and the whole changed module.

    Args:
        module: its path without the ending, below the package.
        line: its number.
        text: the line before the change.
        change: in a few words.
        function: the outermost function whose body is changed; "" for what runs when the module is imported.
        make_tree: makes the changed module, with the line numbers of the original.
    """

    module: str
    line: int
    text: str
    change: str
    function: str
    make_tree: Callable[[], ast.Module]

    def __str__(self) -> str:
        return f"{self.module}.py:{self.line}: {self.change}: {self.text}"


def make_mutants(module: str, source: str) -> list[Mutant]:
    """Make all mutants of a module, in the order of its lines."""
    lines, found = source.splitlines(), []
    for i, (node, function) in enumerate(_behaviour(ast.parse(source))):
        for change in _changes(node):
            text, make = lines[node.lineno - 1].strip(), functools.partial(_changed, source, i, change)
            found.append(Mutant(module, node.lineno, text, change, function, make))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.change))


def make_named(module: str, source: str, old: str, new: str) -> Mutant:
    """Make the mutant that has ``new`` in place of ``old``, which the source holds once, on one line."""
    if source.count(old) != 1 or "\n" in old + new:
        raise ValueError(f"{module}: holds {old!r} {source.count(old)} times; expected once")
    line = source[: source.index(old)].count("\n") + 1
    inside = (function for node, function in _behaviour(ast.parse(source)) if node.lineno == line and function)
    text, changed = source.splitlines()[line - 1].strip(), source.replace(old, new)
    return Mutant(module, line, text, f"{old} -> {new}", next(inside, ""), lambda: ast.parse(changed))


def _behaviour(node: ast.AST, function: str = "", room: str = "") -> Iterator[tuple[Any, str]]:
    """Yield the nodes that decide what a program does, each with the outermost function that it is in the body of."""
    if isinstance(node, (ast.expr, ast.stmt)):
        yield node, function
    if isinstance(node, ast.ClassDef):
        room = f"{room}{node.name}."
    for name, value in ast.iter_fields(node):
        silent = name in ("annotation", "returns") or (name == "decorator_list" and isinstance(node, ast.ClassDef))
        if silent or isinstance(node, (ast.Raise, ast.JoinedStr)) or _is_declaration(node):
            continue
        named = isinstance(node, ast.FunctionDef) and name == "body" and not function
        inside = f"{room}{node.name}" if named else function  # type: ignore[attr-defined]
        for child in value if isinstance(value, list) else [value]:
            documents = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if isinstance(child, ast.AST) and not documents:
                yield from _behaviour(child, inside, room)


def _is_declaration(node: ast.AST) -> bool:
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation) == "TypeAlias"
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "TypeVar"
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _changes(node: ast.AST) -> list[str]:
    """Say what can be changed at this node, in words that ``_apply`` reads."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        known = type(node.op) in OPERATORS
        swap = [f"{type(node.op).__name__} -> {OPERATORS[type(node.op)].__name__}"] if known else []
        return swap + (["drop"] if isinstance(node, ast.AugAssign) else [])
    if isinstance(node, ast.Compare):
        return [f"{type(node.ops[0]).__name__} -> {OPERATORS[type(node.ops[0])].__name__}"]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [f"without {type(node.op).__name__}"]
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        message = isinstance(node.value, str) and " " in node.value
        return [] if message else [f"{node.value!r} -> {_other(node.value)!r}"]
    if isinstance(node, (ast.If, ast.IfExp)):
        refuses = isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise) and not node.orelse
        return ["always"] if refuses else ["always", "never"]  # never: what is raised is dropped anyway
    if isinstance(node, ast.Call):
        return [f"without {keyword.arg}=" for keyword in node.keywords if keyword.arg]
    if isinstance(node, ast.Return):
        return [] if node.value is None or ast.unparse(node) == "return None" else ["return None"]
    if isinstance(node, ast.With):
        return ["without the context"]
    places = isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Attribute, ast.Subscript))
    return ["drop"] if places or isinstance(node, (ast.Expr, ast.Raise)) else []


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}?"
    return value + 1 if isinstance(value, int) or value == 0 else value * 1.1


def _changed(source: str, number: int, change: str) -> ast.Module:
    """Parse a module, and change the node of this number."""
    tree = ast.parse(source)
    _apply(tree, next(itertools.islice(_behaviour(tree), number, None))[0], change)
    return tree


def _apply(tree: ast.AST, node: Any, change: str) -> None:
    if change in ("drop", "without the context"):
        _replace(tree, node, [ast.Pass()] if change == "drop" else node.body)
    elif change in ("always", "never"):
        node.test = ast.Constant(change == "always")
    elif change == "return None":
        node.value = None
    elif change.endswith("="):
        node.keywords = [keyword for keyword in node.keywords if change != f"without {keyword.arg}="]
    elif isinstance(node, ast.UnaryOp):
        _replace(tree, node, node.operand)
    elif isinstance(node, ast.Constant):
        node.value = _other(node.value)
    elif isinstance(node, ast.Compare):
        node.ops[0] = OPERATORS[type(node.ops[0])]()  # type: ignore[call-overload]
    else:
        node.op = OPERATORS[type(node.op)]()
    ast.fix_missing_locations(tree)


def _replace(tree: ast.AST, node: ast.AST, new: Any) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(each is node for each in value):
                at = next(i for i, each in enumerate(value) if each is node)
                value[at : at + 1] = new if isinstance(new, list) else [new]

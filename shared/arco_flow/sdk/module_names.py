"""A file as names and the statements that give them their meaning, read from its text."""

from __future__ import annotations

import ast
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from arco_flow.domain.wire import sha256_hex

Chain = tuple[str, ...]
"""A name and the attributes that follow it: `helper.rates.of` is ("helper", "rates", "of")."""

_COMPOUND = (ast.If, ast.Try, ast.With, ast.For, ast.While)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass(frozen=True, slots=True)
class ModuleNames:
    """path: absolute. functions: by the first line that the compiler gives them. bound: top-level
    statements by each name that they bind or change. stars: `from … import *`."""

    path: str
    lines: list[str]
    functions: dict[int, ast.stmt]
    bound: dict[str, list[ast.stmt]]
    stars: list[ast.ImportFrom]

    def digest(self, node: ast.stmt, *, decorators: bool) -> str:
        """Digest of a statement's text without its indentation; line ends are normalised."""
        start = node.lineno
        if decorators:
            start = min([start, *(mark.lineno for mark in getattr(node, "decorator_list", ()))])
        text = textwrap.dedent("\n".join(self.lines[start - 1 : node.end_lineno]))
        return sha256_hex(text.encode())


def read_module_names(path: str) -> ModuleNames | None:
    """The names of a file, None when it is no Python that can be read."""
    try:
        with tokenize.open(path) as handle:
            text = handle.read()
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return None
    functions = {
        min([node.lineno, *(mark.lineno for mark in node.decorator_list)]): node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    bound: dict[str, list[ast.stmt]] = {}
    stars: list[ast.ImportFrom] = []
    for statement in tree.body:
        for name, meaning in _bindings(statement):
            if name == "*" and isinstance(meaning, ast.ImportFrom):
                stars.append(meaning)
            else:
                bound.setdefault(name, []).append(meaning)
    return ModuleNames(path, text.split("\n"), dict(functions), bound, stars)


def _bindings(statement: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """(name, statement) of all that a top-level statement binds or changes."""
    if isinstance(statement, _IMPORTS):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0], statement
    elif isinstance(statement, _DEFINITIONS):
        yield statement.name, statement
    elif isinstance(statement, _COMPOUND):
        # A name that is bound under a condition means all of the condition, but for an import.
        for child in ast.iter_child_nodes(statement):
            for inner in [child] if isinstance(child, ast.stmt) else ast.iter_child_nodes(child):
                if isinstance(inner, ast.stmt):
                    for name, meaning in _bindings(inner):
                        yield name, meaning if isinstance(meaning, _IMPORTS) else statement
    else:
        yield from ((name, statement) for name in _changed(statement))


def _changed(statement: ast.stmt) -> set[str]:
    """Names that are assigned, or whose item, attribute or method is: `RATES.update(…)`."""
    found = {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    places: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        places = list(statement.targets)
    elif isinstance(statement, ast.AugAssign | ast.AnnAssign):
        places = [statement.target]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        places = [statement.value.func]
    for place in places:
        base = place
        while isinstance(base, ast.Attribute | ast.Subscript):
            base = base.value
        if isinstance(base, ast.Name) and base is not place:
            found.add(base.id)
    return found


def chains_in(node: ast.AST) -> set[Chain]:
    """Every name that a piece of code mentions, with the attributes that follow it."""
    found: set[Chain] = set()
    waiting: list[ast.AST] = [node]
    while waiting:
        current = waiting.pop()
        chain, base = _chain_of(current)
        if chain:
            found.add(chain)
        else:
            waiting.extend(ast.iter_child_nodes(base))
    return found


def _chain_of(node: ast.AST) -> tuple[Chain, ast.AST]:
    parts: list[str] = []
    base = node
    while isinstance(base, ast.Attribute):
        parts.insert(0, base.attr)
        base = base.value
    return ((base.id, *parts) if isinstance(base, ast.Name) else ()), base


def imports_in(node: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """Import statements inside a piece of code."""
    return [one for one in ast.walk(node) if isinstance(one, _IMPORTS)]


def is_asset(statement: ast.stmt) -> bool:
    """Whether a function is declared by something called `asset`."""
    for mark in getattr(statement, "decorator_list", ()):
        called = mark.func if isinstance(mark, ast.Call) else mark
        name = getattr(called, "attr", getattr(called, "id", ""))
        if name == "asset":
            return True
    return False

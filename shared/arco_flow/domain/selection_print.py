"""Selection to canonical text: one way to write each tree, which parses back to the same tree."""

from __future__ import annotations

from typing import Final, assert_never

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.selection_ast import (
    All,
    And,
    Around,
    Attribute,
    Downstream,
    Key,
    KeyPattern,
    Not,
    Or,
    Roots,
    Selection,
    Sinks,
    Tag,
    Upstream,
)
from arco_flow.domain.selection_lexer import BARE, KEYWORDS, QUOTABLE

_JOINED: Final = (And, Or)
_OPERATORS: Final = (And, Or, Not)
_TRAVERSALS: Final = (Upstream, Downstream, Around)


def to_text(selection: Selection) -> str:
    """The canonical text. Values are quoted, parentheses stand wherever operators mix.

    Raises InvalidInput for a value that the language can not quote.
    """
    match selection:
        case All():
            return "*"
        case Key() | KeyPattern() | Tag() | Attribute():
            return _leaf(selection)
        case Not(of):
            return f"not {_parenthesized(of, _JOINED)}"
        case And(operands):
            return " and ".join(_parenthesized(operand, _OPERATORS) for operand in operands)
        case Or(operands):
            return " or ".join(_parenthesized(operand, _OPERATORS) for operand in operands)
        case Upstream(of, depth):
            return f"{_depth(depth)}+{_traversed(of)}"
        case Downstream(of, depth):
            return f"{_traversed(of)}+{_depth(depth)}"
        case Around(of, up, down):
            return f"{_depth(up)}+{_traversed(of)}+{_depth(down)}"
        case Roots(of):
            return f"roots({to_text(of)})"
        case Sinks(of):
            return f"sinks({to_text(of)})"
        case _:
            assert_never(selection)


def _leaf(selection: Key | KeyPattern | Tag | Attribute) -> str:
    match selection:
        case Key(key):
            return key if _is_bare(key) else _quoted(key)
        case KeyPattern(pattern):
            return f"key:{_quoted(pattern)}"
        case Tag(key, value):
            return f"tag:{_quoted(key)}" + (f"={_quoted(value)}" if value else "")
        case Attribute(name, value):
            return f"{name}:{value if name == 'is' else _quoted(value)}"


def _traversed(of: Selection) -> str:
    return _parenthesized(of, (*_OPERATORS, *_TRAVERSALS))


def _parenthesized(selection: Selection, kinds: tuple[type, ...]) -> str:
    text = to_text(selection)
    return f"({text})" if isinstance(selection, kinds) else text


def _depth(depth: int | None) -> str:
    return "" if depth is None else str(depth)


def _is_bare(key: str) -> bool:
    fits = BARE.fullmatch(key) is not None
    return fits and "*" not in key and not key.isdecimal() and key not in KEYWORDS


def _quoted(value: str | None) -> str:
    if value is None:
        return "<null>"
    if not QUOTABLE.fullmatch(value):
        raise InvalidInput(
            f"{value!r} can not be written in a selection",
            fix="quotes, backslashes and line ends can not be quoted; match them by '*'",
        )
    return f'"{value}"'

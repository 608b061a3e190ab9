"""The words of the selection language, each with its column, and how its errors look."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from arco_flow.domain.errors import InvalidInput

WORD: Final = "word"
QUOTED: Final = "quoted"
NULL: Final = "null"
VALUE: Final = "value"
SYMBOL: Final = "symbol"
END: Final = "end"

KEYWORDS: Final = {"and": "and", "AND": "and", "or": "or", "OR": "or", "not": "not", "NOT": "not"}
QUOTABLE: Final = re.compile(r'[^"\\\r\n]*')
"""What can stand between double quotes; the language has no escapes."""
BARE: Final = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_*./-]*")

_SPACE: Final = re.compile(r"[ \t\r\n]+")
_QUOTED: Final = re.compile(rf'"({QUOTABLE.pattern})"')
# an owner is an e-mail address or team:name, so more characters may go unquoted there
_OWNER: Final = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_*./:@%-]*")
_SYMBOLS: Final = "()+:="
_HINTS: Final = {
    "&": "write 'and'",
    "|": "write 'or'",
    ",": "write 'or' between selections",
    "!": "write 'not'",
    "?": "only '*' is a wildcard",
    "'": 'quote with double quotes: "…"',
    '"': "close the double quote; quotes, backslashes and line ends can not be quoted",
    "<": "only <null> is written so, after an attribute and a colon",
}
_SHOWN_CHARS: Final = 60


class Token(NamedTuple):
    """A word of the expression. column counts characters from 1."""

    kind: str
    text: str
    column: int


def tokenize(text: str) -> list[Token]:
    """The tokens of an expression, closed by one of kind END. Raises InvalidInput."""
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        space = _SPACE.match(text, position)
        if space:
            position = space.end()
            continue
        token, position = _next_token(text, position, tokens)
        tokens.append(token)
    tokens.append(Token(END, "", len(text) + 1))
    return tokens


def _next_token(text: str, position: int, before: list[Token]) -> tuple[Token, int]:
    column = position + 1
    quoted = _QUOTED.match(text, position)
    if quoted:
        return Token(QUOTED, quoted[1], column), quoted.end()
    if before and before[-1].text in (":", "=") and before[-1].kind == SYMBOL:
        if text.startswith("<null>", position):
            return Token(NULL, "<null>", column), position + len("<null>")
        of_owner = len(before) > 1 and before[-2].text == "owner"
        value = (_OWNER if of_owner else BARE).match(text, position)
        if value:
            return Token(VALUE, value[0], column), value.end()
    word = BARE.match(text, position)
    if word:
        return Token(WORD, word[0], column), word.end()
    if text[position] in _SYMBOLS:
        return Token(SYMBOL, text[position], column), column
    hint = _HINTS.get(text[position], 'put names with other characters in quotes: key:"…"')
    raise syntax_error(text, column, f"{_shown(text[position])} has no meaning here", hint)


def syntax_error(text: str, column: int, problem: str, fix: str) -> InvalidInput:
    """What is wrong, the expression, and a caret under the column; long ones are cut around it."""
    start = max(0, column - _SHOWN_CHARS)
    shown = "".join(map(_plain, text[start : column + _SHOWN_CHARS]))
    left = "…" if start else ""
    right = "…" if column + _SHOWN_CHARS < len(text) else ""
    caret = " " * (len(left) + column - 1 - start) + "^"
    return InvalidInput(
        f"selection can not be read: {problem}\n  {left}{shown}{right}\n  {caret}",
        where=f"column {column}",
        fix=fix,
        reason="BAD_SELECTION",
        details={"column": column, "problem": problem},
    )


def describe(token: Token) -> str:
    """The token as an error message names it."""
    return "the end" if token.kind == END else f"'{token.text}'"


def _plain(character: str) -> str:
    """One visible character for one, so that the caret stays under its column."""
    if character.isprintable():
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"


def _shown(character: str) -> str:
    return f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"

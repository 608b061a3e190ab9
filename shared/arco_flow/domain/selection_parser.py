"""Text to selection, by recursive descent.

    expression = conjunction ("or" conjunction)*
    conjunction = negation ("and" negation)*
    negation = "not" negation | traversal
    traversal = [[N] "+"] operand ["+" [N]]
    operand = "(" expression ")" | ("roots" | "sinks") "(" expression ")"
            | attribute ":" value | "*" | key

The grammar is Dagster's (1.13) with a bare key as an operand like any other. Every selection that
Dagster's own grammar reads is read alike; what only its older parser reads is refused where the
two languages would disagree (`++x`, `*x`).
"""

from __future__ import annotations

from typing import Final, cast

from arco_flow.domain.errors import InvalidInput, did_you_mean
from arco_flow.domain.normal_form import nfc
from arco_flow.domain.selection_ast import (
    ATTRIBUTES,
    IS_VALUES,
    All,
    And,
    Around,
    Attribute,
    AttributeName,
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
    join,
)
from arco_flow.domain.selection_lexer import (
    END,
    KEYWORDS,
    NULL,
    QUOTED,
    SYMBOL,
    VALUE,
    WORD,
    Token,
    describe,
    syntax_error,
    tokenize,
)

MAX_SELECTION_CHARS: Final = 16_384
MAX_NESTING: Final = 50
"""Parentheses, functions and `not` inside each other: bounded, so that the stack is too."""
MAX_DEPTH_DIGITS: Final = 19

_FUNCTIONS: Final[dict[str, type[Roots] | type[Sinks]]] = {"roots": Roots, "sinks": Sinks}
_OF_OTHER_TOOLS: Final = frozenset(
    {
        "status",
        "column",
        "column_tag",
        "table_name",
        "changed_in_branch",
        "code_location",
        "automation_type",
        "sensor",
        "schedule",
        "job",
        "not_materialized_in_hours",
    }
)
"""Attributes that Dagster's pages know and that are no property of an asset here."""
_OPERAND: Final = "a key, an attribute such as group:…, '*' or '('"
_ONE_PLUS: Final = "one '+' already means every level; for some levels write 2+x or x+2"


def parse(text: str) -> Selection:
    """The selection that a text means.

    Raises InvalidInput whose message shows the text with a caret under the column, says what was
    expected and how to mend it, and whose details hold the column (from 1).
    """
    if not isinstance(text, str):
        raise InvalidInput(f"a selection is text, not {type(text).__name__}")
    if len(text) > MAX_SELECTION_CHARS:
        raise InvalidInput(
            f"selection of {len(text)} characters; at most {MAX_SELECTION_CHARS} are read",
            fix="use wildcards, groups or tags, or give a list of keys",
            reason="BAD_SELECTION",
            details={"column": MAX_SELECTION_CHARS + 1},
        )
    return _Parser(nfc(text)).whole()


class _Parser:
    """Reads tokens from left to right; one method for each rule of the grammar."""

    __slots__ = ("nesting", "position", "text", "tokens")

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.position = 0
        self.nesting = 0

    def whole(self) -> Selection:
        found = self.expression()
        token = self.peek()
        if token.kind != END:
            raise self.unexpected("'and', 'or' or the end", _hint_after(token, self.before()))
        return found

    def expression(self) -> Selection:
        operands = [self.conjunction()]
        while self.take_keyword("or"):
            operands.append(self.conjunction())
        return join(Or, operands)

    def conjunction(self) -> Selection:
        operands = [self.negation()]
        while self.take_keyword("and"):
            operands.append(self.negation())
        return join(And, operands)

    def negation(self) -> Selection:
        if not self.take_keyword("not"):
            return self.traversal()
        self.enter()
        negated = Not(self.negation())
        self.nesting -= 1
        return negated

    def traversal(self) -> Selection:
        up, upward = self.upward()
        of = self.operand()
        downward = self.take_symbol("+")
        down = self.depth() if downward else 0
        if downward and self.at_symbol("+"):
            raise self.unexpected("'and', 'or' or the end", _ONE_PLUS)
        if upward:
            return Around(of, up, down) if downward else Upstream(of, up)
        return of if down == 0 else Downstream(of, down)

    def upward(self) -> tuple[int | None, bool]:
        """Depth and presence of a leading `+` or `N+`."""
        counted = self.peek().text.isdecimal() and self.at_symbol("+", ahead=1)
        depth = self.depth() if counted else None
        if not self.take_symbol("+"):
            return None, False
        if self.at_symbol("+"):
            raise self.unexpected(_OPERAND, _ONE_PLUS)
        return depth, True

    def depth(self) -> int | None:
        token = self.peek()
        if token.kind != WORD or not token.text.isdecimal():
            return None
        if len(token.text) > MAX_DEPTH_DIGITS:
            raise self.fail(token, "depth is beyond every graph", "leave it out for all levels")
        self.position += 1
        return int(token.text)

    def operand(self) -> Selection:
        token = self.peek()
        if self.take_symbol("("):
            return self.inside()
        if token.kind == QUOTED:
            self.position += 1
            return Key(token.text)
        if token.kind != WORD or token.text in KEYWORDS:
            raise self.unexpected(_OPERAND, _hint_for(token))
        self.position += 1
        if self.at_symbol(":"):
            return self.attribute(token)
        if self.take_symbol("("):
            return self.function(token)
        return self.bare(token)

    def inside(self) -> Selection:
        self.enter()
        found = self.expression()
        if not self.take_symbol(")"):
            token = self.peek()
            raise self.unexpected("')', 'and' or 'or'", _hint_after(token, self.before()))
        self.nesting -= 1
        return found

    def function(self, name: Token) -> Selection:
        kind = _FUNCTIONS.get(name.text)
        if kind is None:
            hint = did_you_mean(name.text.lower(), _FUNCTIONS)
            raise self.fail(
                name, f"'{name.text}' is no function{hint}", "roots(…) and sinks(…) are"
            )
        return kind(self.inside())

    def bare(self, token: Token) -> Selection:
        if token.text == "*":
            return All()
        if "*" in token.text:
            plain = token.text.strip("*")
            fix = f"key:{token.text} for keys of this pattern, +{plain} or {plain}+ for a lineage"
            raise self.fail(token, "a bare key holds no '*'", fix)
        if token.text.isdecimal():
            fix = f'{token.text}+x for levels upstream, "{token.text}" for a key of this name'
            raise self.fail(token, f"{token.text} is a number", fix)
        return Key(token.text)

    def attribute(self, name: Token) -> Selection:
        if name.text not in ATTRIBUTES:
            raise self.fail(name, *_unknown_attribute(name.text))
        self.position += 1
        value = self.peek()
        if value.kind not in (VALUE, QUOTED, NULL):
            raise self.unexpected(f"a value after '{name.text}:'", f'e.g. {name.text}:"…"')
        self.position += 1
        text = None if value.kind == NULL else value.text
        if name.text == "key":
            if text is None:
                raise self.fail(value, "every asset has a key", 'key:"*" matches all')
            return KeyPattern(text)
        if name.text == "tag":
            return Tag(text, self.tag_value(value))
        if name.text == "is" and text not in IS_VALUES:
            hint = did_you_mean(value.text, IS_VALUES)
            raise self.fail(
                value, f"nothing 'is:{value.text}'{hint}", f"one of {', '.join(IS_VALUES)}"
            )
        return Attribute(cast("AttributeName", name.text), text)

    def tag_value(self, key: Token) -> str:
        if key.kind == NULL or not self.take_symbol("="):
            return ""
        value = self.peek()
        if value.kind == NULL:
            fix = f"not tag:{key.text}=* for assets without this tag"
            raise self.fail(value, "a tag has a value or is absent", fix)
        if value.kind not in (VALUE, QUOTED):
            raise self.unexpected("a value after '='", f'e.g. tag:{key.text}="…"')
        self.position += 1
        return value.text

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[min(self.position + ahead, len(self.tokens) - 1)]

    def before(self) -> Token:
        return self.tokens[self.position - 1]

    def at_symbol(self, symbol: str, ahead: int = 0) -> bool:
        token = self.peek(ahead)
        return token.kind == SYMBOL and token.text == symbol

    def take_symbol(self, symbol: str) -> bool:
        found = self.at_symbol(symbol)
        self.position += found
        return found

    def take_keyword(self, keyword: str) -> bool:
        token = self.peek()
        found = token.kind == WORD and KEYWORDS.get(token.text) == keyword
        self.position += found
        return found

    def enter(self) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            problem = f"more than {MAX_NESTING} levels inside each other"
            raise self.fail(self.before(), problem, "take out parentheses that change nothing")

    def unexpected(self, expected: str, fix: str) -> InvalidInput:
        token = self.peek()
        return self.fail(token, f"expected {expected}, found {describe(token)}", fix)

    def fail(self, token: Token, problem: str, fix: str) -> InvalidInput:
        return syntax_error(self.text, token.column, problem, fix)


def _unknown_attribute(name: str) -> tuple[str, str]:
    known = ", ".join(f"{attribute}:" for attribute in ATTRIBUTES)
    if name in _OF_OTHER_TOOLS:
        return f"assets are not selected by '{name}:' here", f"known are {known}"
    return (
        f"'{name}:' is no attribute{did_you_mean(name.lower(), ATTRIBUTES)}",
        f"known are {known}",
    )


def _hint_for(token: Token) -> str:
    if token.kind == END:
        return "an expression ends with a selection; '*' selects all assets"
    if token.text in KEYWORDS:
        return f'write "{token.text}" in quotes for a key of this name'
    return "e.g. group:marts or +raw.events"


def _hint_after(token: Token, before: Token) -> str:
    if token.text == ")":
        return "there is no '(' that it closes"
    if token.text == "=":
        return f"write {before.text}:… for an attribute, tag:key=value for a tag"
    return "put 'and' or 'or' between two selections"

"""Filters of subscriptions: which messages they want, by attributes.

attributes:key                      the message has the attribute
attributes.key = "v"  != "v"        it has, or has not, this value; a missing one is not equal
hasPrefix(attributes.key, "p")      its value begins so
NOT f   -f   f AND g   f OR g       AND beside OR needs parentheses
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping

Wanted = Callable[[Mapping[str, str]], bool]

MAX_BYTES = 256

_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|!=|[=():.,-]|[A-Za-z0-9_][A-Za-z0-9_-]*)')


def parsed(text: str) -> Wanted:
    """What tells whether a message with these attributes is wanted; an empty filter wants all.

    Errors: ValueError for a filter that the service would refuse.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"a filter has at most {MAX_BYTES} bytes, and this one has more: {text}")
    if not text.strip():
        return lambda _: True
    parser = _Parser(text)
    wanted = parser.expression()
    parser.expect("")
    return wanted


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._words = self._split(text)
        self._at = 0

    def expression(self) -> Wanted:
        terms = [self._term()]
        operator = self._peek()
        while operator in ("AND", "OR") and self._peek() in ("AND", "OR"):
            if self._next() != operator:
                raise self._wrong("AND beside OR needs parentheses")
            terms.append(self._term())
        return _all(terms) if operator == "AND" else _any(terms)

    def expect(self, word: str) -> None:
        found = self._next()
        if found != word:
            raise self._wrong(f"{word or 'the end'!r} is expected, not {found or 'the end'!r}")

    def _term(self) -> Wanted:
        word = self._next()
        if word in ("NOT", "-"):
            return _not(self._term())
        if word == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        if word == "hasPrefix":
            return self._prefix()
        if word != "attributes":
            raise self._wrong(f"{word or 'the end'!r} stands where a condition is expected")
        return self._condition()

    def _condition(self) -> Wanted:
        access = self._next()
        if access == ":":
            return _has(self._key())
        if access != ".":
            raise self._wrong("after attributes comes . or :")
        key = self._key()
        operator = self._next()
        if operator not in ("=", "!="):
            raise self._wrong("after the key comes = or !=")
        same = _is(key, self._value())
        return same if operator == "=" else _not(same)

    def _prefix(self) -> Wanted:
        for word in ("(", "attributes", "."):
            self.expect(word)
        key = self._key()
        self.expect(",")
        prefix = self._value()
        self.expect(")")
        return _begins(key, prefix)

    def _key(self) -> str:
        word = self._next()
        if word.startswith('"'):
            return self._unquoted(word)
        if not re.fullmatch(r"[A-Za-z0-9_-]+", word):
            raise self._wrong(f"{word or 'the end'!r} is no key")
        return word

    def _value(self) -> str:
        word = self._next()
        if not word.startswith('"'):
            raise self._wrong(f"a value stands in quotation marks, and {word!r} does not")
        return self._unquoted(word)

    def _unquoted(self, word: str) -> str:
        try:
            return str(ast.literal_eval(word))
        except (SyntaxError, ValueError):
            raise self._wrong(f"{word} can not be read") from None

    def _split(self, text: str) -> list[str]:
        words, at, end = [], 0, len(text.rstrip())
        while at < end:
            found = _WORD.match(text, at)
            if found is None:
                raise self._wrong(f"{text[at:].strip()[:20]!r} can not be read")
            words.append(found[1])
            at = found.end()
        return words

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _next(self) -> str:
        word = self._peek()
        self._at += 1
        return word

    def _wrong(self, problem: str) -> ValueError:
        return ValueError(f"filter {self._text!r}: {problem}")


def _all(terms: list[Wanted]) -> Wanted:
    return lambda attributes: all(term(attributes) for term in terms)


def _any(terms: list[Wanted]) -> Wanted:
    return lambda attributes: any(term(attributes) for term in terms)


def _not(term: Wanted) -> Wanted:
    return lambda attributes: not term(attributes)


def _has(key: str) -> Wanted:
    return lambda attributes: key in attributes


def _is(key: str, value: str) -> Wanted:
    return lambda attributes: attributes.get(key) == value


def _begins(key: str, prefix: str) -> Wanted:
    return lambda attributes: key in attributes and attributes[key].startswith(prefix)

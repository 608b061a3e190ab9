"""Input that grows: the same hostile document at any size, to see how work grows with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from fuzz.table import Decoder

MARKS = "\u0300" * 50 + "\u0316" * 50
"""Combining characters in an order that a normal form has to turn round."""


def _marks(size: int) -> str:
    return "a" + "\u0300" * (size // 4) + "\u0316" * (size // 4)


TEXTS: dict[str, Callable[[int], str]] = {
    "letters": lambda size: "a" * size,
    "digits": lambda size: "9" * size,
    "marks": _marks,
    "commas": lambda size: "1," * (size // 2),
    "words": lambda size: "a " * (size // 2),
    "parts": lambda size: "a." * (size // 2),
    "percents": lambda size: "%41" * (size // 3),
    "spaces inside": lambda size: "filter=x" + " " * size + "x",
    "directives": lambda size: "%Y-" * (size // 3),
}
BYTES: dict[str, Callable[[int], bytes]] = {
    "lists": lambda size: b"[" * size,
    "objects": lambda size: b'{"a":' * (size // 5),
    "strings": lambda size: b'"a",' * (size // 4),
    "pluses": lambda size: b"+" * size,
    "stars": lambda size: b"*" * size,
    "parentheses": lambda size: b"(" * size,
    "quotes": lambda size: b'"' * size,
    "lines": lambda size: b"a:b\r\n" * (size // 5),
    "pairs": lambda size: b"a=b&" * (size // 4),
    "negations": lambda size: b"not " * (size // 4),
    "steps": lambda size: b"*/1," * (size // 4),
    **{name: lambda size, make=make: make(size).encode() for name, make in TEXTS.items()},
}


def inflations(decoder: Decoder) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """(what grows, document of a size in bytes), for a decoder."""
    yield from BYTES.items()
    for sample in decoder.samples[:2]:
        yield "sample", lambda size, sample=sample: sample * (size // max(len(sample), 1) + 1)
        if decoder.json and sample.startswith((b"{", b"[")):
            yield from _inside(sample)


def _inside(sample: bytes) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """One value of the sample grows: a text, a list by its first item, an object by its names."""
    for path, value in _values(json.loads(sample)):
        shown = "/".join(map(str, path))
        for name in ("letters", "marks", "directives") if isinstance(value, str) else ():
            yield f"{shown} {name}", lambda size, p=path, n=name: _with(sample, p, TEXTS[n](size))
        if isinstance(value, list) and value:
            unit = len(json.dumps(value[0]))
            yield (
                f"{shown} items",
                lambda size, p=path, v=value, u=unit: _with(sample, p, v[:1] * (size // u + 1)),
            )
        if isinstance(value, dict) and value:
            yield f"{shown} names", lambda size, p=path, v=value: _with(sample, p, _wide(v, size))


def _values(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield path, value
    inner = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else inner:
        yield from _values(item, (*path, key))


def _with(sample: bytes, path: tuple[Any, ...], value: Any) -> bytes:
    document: Any = [json.loads(sample)]
    at, *rest = document, *(0, *path)
    for key in rest[:-1]:
        at = at[key]
    at[rest[-1]] = value
    return json.dumps(document[0], ensure_ascii=False).encode()


def _wide(value: dict[str, Any], size: int) -> dict[str, Any]:
    first = next(iter(value.values()))
    unit = len(json.dumps(first)) + 10
    return value | {f"name_{number}": first for number in range(size // unit + 1)}

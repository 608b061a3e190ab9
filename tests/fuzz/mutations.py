"""Documents that are nearly right: bits flipped, parts cut, doubled and inserted, values swapped
for others of a wrong type, size or depth, keys repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from fuzz.table import Decoder

DEEP: Final = 300
"""Levels of a nested value: beyond every limit of ours, within what JSON readers take."""

PIECES: Final = (
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\xc3", b"\xef\xbb\xbf", b'"\\ud800"'),
    *(b"NaN", b"1e999", b"-0", b"9" * 30, b"9" * 4500, b"[" * DEEP),
    *(bytes([byte]) for byte in b'[]{}"\\,:=|/%+*( #@~-TZ'),
    *(b"..", b"%00", b"%y%y", b"\r\n"),
    *(text.encode() for text in ("e\u0301", "\u0663", "\u2028", "\u202e", "\U0001f600")),
    "\u0300\u0316".encode() * 40,
)

SCALARS: Final = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30),
    *(0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", " ", "\0", "\ud800", "...", "x" * 300, "1", "true", "9" * 30, "e\u0301", "a:b", "a|b"),
    *("0001-01-01", "9999-12-31T23:59:59.999999+23:59", "2026-02-30", "* * * * *", "0 0 30 2 *"),
    *("Europe/Nowhere", "../../etc/passwd", "%Y%m%d%d", "%", "identity", "multi"),
)


def _nested(kind: str) -> Any:
    value: Any = 1
    for _ in range(DEEP):
        value = [value] if kind == "list" else {"dims": {"a": value}, "kind": "multi"}
    return value


VALUES: Final = st.one_of(
    st.sampled_from(SCALARS),
    st.sampled_from(SCALARS).map(lambda value: [value]),
    st.sampled_from(SCALARS).map(lambda value: [value] * 70),
    st.sampled_from(SCALARS).map(lambda value: {"a": value}),
    st.just([]),
    st.just({}),
    st.sampled_from(["list", "object"]).map(_nested),
)


def _span(draw: st.DrawFn, raw: bytes) -> tuple[int, int]:
    start = draw(st.integers(0, len(raw)))
    return start, draw(st.integers(start, min(len(raw), start + 40)))


def _flipped(draw: st.DrawFn, raw: bytes) -> bytes:
    if not raw:
        return raw
    place, bit = draw(st.integers(0, len(raw) - 1)), draw(st.integers(0, 7))
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def _cut_short(draw: st.DrawFn, raw: bytes) -> bytes:
    return raw[: draw(st.integers(0, len(raw)))]


def _cut_out(draw: st.DrawFn, raw: bytes) -> bytes:
    start, end = _span(draw, raw)
    return raw[:start] + raw[end:]


def _doubled(draw: st.DrawFn, raw: bytes) -> bytes:
    start, end = _span(draw, raw)
    return raw[:end] + raw[start:end] * draw(st.sampled_from([1, 2, 80])) + raw[end:]


def _inserted(draw: st.DrawFn, raw: bytes) -> bytes:
    place, piece = draw(st.integers(0, len(raw))), draw(st.sampled_from(PIECES))
    return raw[:place] + piece + raw[place:]


OF_BYTES: Final[tuple[Callable[[st.DrawFn, bytes], bytes], ...]] = (
    _flipped,
    _cut_short,
    _cut_out,
    _doubled,
    _inserted,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += _places(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _places(item, (*path, index))
    return found


def _with_other_value(draw: st.DrawFn, document: Any) -> Any:
    path = draw(st.sampled_from(_places(document)))
    value = draw(VALUES)
    if not path:
        return value
    at = document
    for key in path[:-1]:
        at = at[key]
    change = draw(st.sampled_from(["replace", "drop", "add"]))
    if change == "replace":
        at[path[-1]] = value
    elif change == "drop":
        del at[path[-1]]
    elif isinstance(at, dict):
        at[draw(st.sampled_from(["kind", "type", "", "a b", "fieldOfTomorrow"]))] = value
    else:
        at.insert(path[-1], value)
    return document


def _with_repeated_key(draw: st.DrawFn, text: str) -> str:
    opened = [place for place, character in enumerate(text) if character == "{"]
    if not opened:
        return text
    place = draw(st.sampled_from(opened)) + 1
    key = text[place : text.find(":", place)] or '"a"'
    return f"{text[:place]}{key}:{json.dumps(draw(VALUES))},{text[place:]}"


def _other_document(draw: st.DrawFn, raw: bytes) -> bytes:
    try:
        document = json.loads(raw)
    except ValueError:  # a compressed sample, or none at all
        return raw
    for _ in range(draw(st.integers(1, 2))):
        document = _with_other_value(draw, document)
    text = json.dumps(document)
    return (_with_repeated_key(draw, text) if draw(st.booleans()) else text).encode()


@st.composite
def hostile(draw: st.DrawFn, decoder: Decoder) -> bytes:
    """Input for a decoder: noise, or one of its samples with a few changes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.binary(max_size=60), st.text(max_size=30).map(_utf8)))
    raw = draw(st.sampled_from(decoder.samples))
    if decoder.json and draw(st.booleans()):
        return _other_document(draw, raw)
    for _ in range(draw(st.integers(1, 3))):
        raw = draw(st.sampled_from(OF_BYTES))(draw, raw)
    return raw


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

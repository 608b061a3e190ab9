"""The head of an HTTP/1.1 request, read strictly (RFC 9112).

Whatever two readers could take differently is refused and the connection closed, because that
is what request smuggling lives on: folded lines, spaces before a colon, bare line feeds, two
lengths, a length beside a transfer coding, targets that are no path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.http.app import MAX_HEADER_CHARS, MAX_HEADERS, MAX_TARGET_CHARS
from arco_flow.http.refusals import (
    ExpectationFailed,
    HeadersTooLarge,
    LengthRequired,
    PathTooLong,
    VersionNotSupported,
)

MAX_HEAD_BYTES: Final = 32 * 1024
HEAD_END: Final = b"\r\n\r\n"

_REQUEST_LINE: Final = re.compile(r"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/(\d\.\d)", re.ASCII)
_HEADER: Final = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
    r"[\x21-\x7e\x80-\xff])?)?[ \t]*"
)
_LENGTH: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_ONCE: Final = frozenset({"host", "content-length", "authorization", "content-type"})
"""Headers that must not be sent twice: a proxy and we could believe different ones."""


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers. length: of the body, in bytes. keep_alive: as the client wants."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    length: int
    keep_alive: bool
    expects_continue: bool


def parse_head(raw: bytes) -> Head:
    """Read a head without its final empty line.

    Raises InvalidInput, PathTooLong, HeadersTooLarge, LengthRequired, ExpectationFailed,
    VersionNotSupported; after any of these the connection can not be read on.
    """
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, version = _request_line(first)
    if len(lines) > MAX_HEADERS:
        raise HeadersTooLarge(f"more than {MAX_HEADERS} headers")
    headers = _headers(lines)
    path, _, query = target.partition("?")
    if version == "1.1" and not headers.get("host"):
        raise _malformed("no Host header")
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection and (version == "1.1" or "keep-alive" in connection)
    return Head(
        method, path, query, headers, _length(headers), keep_alive, _expects_continue(headers)
    )


def _request_line(line: str) -> tuple[str, str, str]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _malformed("malformed request line")
    method, target, version = match.groups()
    if version not in ("1.1", "1.0"):
        raise VersionNotSupported(f"HTTP/{version} is not spoken here", fix="use HTTP/1.1")
    if len(target) > MAX_TARGET_CHARS:
        raise PathTooLong(f"the URL is longer than {MAX_TARGET_CHARS} characters")
    if "#" in target:
        raise _malformed("malformed request line")
    return method, target, version


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        if len(line) > MAX_HEADER_CHARS:
            raise HeadersTooLarge(f"a header is longer than {MAX_HEADER_CHARS} characters")
        match = _HEADER.fullmatch(line)
        if match is None:
            raise _malformed("malformed header")
        name = match[1].lower()
        value = match[2] or ""
        if name in headers:
            if name in _ONCE:
                raise _malformed(f"header {name} is sent twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _length(headers: dict[str, str]) -> int:
    length = headers.get("content-length")
    if "transfer-encoding" in headers:
        if length is not None:
            raise _malformed("both Content-Length and Transfer-Encoding")
        raise LengthRequired(
            "a transfer coding is not read here", fix="send the body whole, with Content-Length"
        )
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        if length.isascii() and length.isdigit():
            raise TooLarge(
                "Content-Length is longer than any number of bytes that is read here",
                fix="send less at a time",
                reason="BODY_TOO_LARGE",
            )
        raise _malformed("malformed Content-Length")
    return int(length)


def _expects_continue(headers: dict[str, str]) -> bool:
    expected = headers.get("expect", "").lower()
    if expected not in ("", "100-continue"):
        raise ExpectationFailed(f"expectation '{expected[:80]}' can not be met")
    return bool(expected)


def _malformed(problem: str) -> InvalidInput:
    return InvalidInput(problem, fix="speak HTTP/1.1 (RFC 9112)", reason="MALFORMED_REQUEST")

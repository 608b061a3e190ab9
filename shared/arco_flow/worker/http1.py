"""Just enough of HTTP/1.1 for two peers that we write ourselves: framing, nothing else.

Measured: `http.client` costs 130 µs of CPU per call, most of it in the e-mail parser that reads
the header lines; this costs 30. A no-op task makes two calls and answers one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_DIGITS = 15
_RECV_BYTES = 64 * 1024


class Malformed(ValueError):
    """The peer does not speak HTTP/1.1 as this module reads it."""


class Closed(ConnectionError):
    """The peer closed the connection; `partial` when in the middle of a message."""

    def __init__(self, partial: bool) -> None:
        self.partial = partial
        super().__init__("closed in the middle of a message" if partial else "closed")


class Source(Protocol):
    """Where bytes come from: a connected socket."""

    def recv(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response: its first line, headers by lower-case name, and the body."""

    start: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def status(self) -> int:
        """Status code of a response. Raises Malformed."""
        parts = self.start.split(" ", 2)
        code = parts[1] if len(parts) > 1 else ""
        if not parts[0].startswith("HTTP/1.") or len(code) != 3 or not _is_number(code):
            raise Malformed(f"'{self.start[:80]}' is no status line")
        return int(code)

    @property
    def method_and_path(self) -> tuple[str, str]:
        """(method, path) of a request. Raises Malformed."""
        parts = self.start.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise Malformed(f"'{self.start[:80]}' is no request line")
        return parts[0], parts[1]

    @property
    def closes(self) -> bool:
        """Whether the peer will close the connection after this message."""
        return self.headers.get("connection", "").lower() == "close" or self.start.startswith(
            "HTTP/1.0"
        )


class Reader:
    """Messages of one connection, in order; keeps what came after the end of the last one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = b""

    def read(self) -> Message:
        """The next message. Raises Closed, Malformed, or what the socket raises."""
        end = self._buffer.find(b"\r\n\r\n")
        while end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise Malformed(f"header lines of over {MAX_HEAD_BYTES} bytes")
            self._more()
            end = self._buffer.find(b"\r\n\r\n")
        start, headers = parse_head(self._buffer[:end])
        self._buffer = self._buffer[end + 4 :]
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return Message(start, headers, self._chunks())
        return Message(start, headers, self._take(body_length(headers)))

    def _more(self) -> None:
        data = self._source.recv(_RECV_BYTES)
        if not data:
            raise Closed(partial=bool(self._buffer))
        self._buffer += data

    def _take(self, size: int) -> bytes:
        if len(self._buffer) < size:
            parts, missing = [self._buffer], size - len(self._buffer)
            while missing > 0:
                data = self._source.recv(_RECV_BYTES)
                if not data:
                    raise Closed(partial=True)
                parts.append(data)
                missing -= len(data)
            self._buffer = b"".join(parts)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise Malformed("a chunk header without end")
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            size = _hex_size(self._line())
            total += size
            if total > MAX_BODY_BYTES:
                raise Malformed(f"a body of over {MAX_BODY_BYTES} bytes")
            if size == 0:
                break
            parts.append(self._take(size))
            self._line()
        while self._line():  # trailers, up to the empty line
            pass
        return b"".join(parts)


def parse_head(head: bytes) -> tuple[str, dict[str, str]]:
    """(first line, headers by lower-case name) of the bytes before the empty line."""
    lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise Malformed(f"'{line[:80]}' is no header line")
        headers[name.lower()] = value.strip()
    return lines[0], headers


def body_length(headers: dict[str, str]) -> int:
    """Value of content-length, 0 without one. Raises Malformed."""
    text = headers.get("content-length", "0")
    if not _is_number(text) or int(text) > MAX_BODY_BYTES:
        raise Malformed(f"content-length '{text[:40]}' is no length up to {MAX_BODY_BYTES} bytes")
    return int(text)


def _is_number(text: str) -> bool:
    """Whether a text is a number that `int` reads: it refuses thousands of digits by an error."""
    return len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit()


def _hex_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    try:
        size = int(text, 16)
    except ValueError as error:
        raise Malformed(f"'{text[:40]!r}' is no chunk size") from error
    if size < 0:
        raise Malformed("a negative chunk size")
    return size


def response_bytes(status: int, body: bytes = b"{}", *, retry_after: int = 0) -> bytes:
    """A JSON response; retry_after in seconds, 0 = none."""
    extra = b"Retry-After: %d\r\n" % retry_after if retry_after else b""
    return (
        b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
        % (status, _REASONS.get(status, b"Status"), extra, len(body))
    ) + body


_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    503: b"Service Unavailable",
}


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A request with a JSON body; header values must not hold line breaks."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise Malformed("a header value holds a line break")
    lines.append(f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1") + body

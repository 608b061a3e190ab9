"""What a server hands to the application and what it gets back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from arco_flow.http.refusals import too_large

JSON_TYPE: Final = "application/json"
LIVE_PATH: Final = "/health/live"
READY_PATH: Final = "/health/ready"

ReadBody = Callable[[int], Awaitable[bytes]]
"""Reads a body of at most so many bytes from the socket. Raises TooLarge, and InvalidInput when it
ends before it is whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. body: b"" as long as it was not read: see `with_body`.

    path: as it was sent, percent-encoded, without the query. query: without the question mark.
    headers: by lower-case name; a name that was sent twice holds both values joined by ", ".
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        """Value of a header by its lower-case name, "" when it is absent."""
        return self.headers.get(name, "")

    async def with_body(self, read_body: ReadBody | None, limit: int) -> Request:
        """The request with its body, which is read now; None = it has it. Raises TooLarge over
        `limit` bytes, and what read_body raises."""
        body = self.body if read_body is None else await read_body(limit)
        if len(body) > limit:
            raise too_large(limit)
        return self if read_body is None else replace(self, body=body)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, whole. headers: beyond content-type and content-length, in order."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()

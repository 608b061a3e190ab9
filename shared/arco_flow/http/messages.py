"""What a server hands to the application and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

JSON_TYPE: Final = "application/json"
LIVE_PATH: Final = "/health/live"
READY_PATH: Final = "/health/ready"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole.

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


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, whole. headers: beyond content-type and content-length, in order."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()

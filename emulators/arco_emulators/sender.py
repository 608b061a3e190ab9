"""Send HTTP requests to targets over connections that stay open."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from google.rpc import code_pb2
from yarl import URL

IDLE_SECONDS = 4.0
"""How long a connection waits for its next request: less than servers wait (uvicorn: 5), so that
a request does not meet a connection that its server is closing."""

_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp adds by itself, and the services do not."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is sent; header names go out in the case that they have here."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    deadline_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: an HTTP status, or 0 and why there is none."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    code: int = code_pb2.OK
    """google.rpc.Code of the attempt."""
    problem: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the target took it: 200 to 299."""
        return 200 <= self.status < 300


class Sender:
    """Keeps connections to targets; one per event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: HttpRequest) -> Answer:
        """Send it once. A redirect is an answer; no answer by the deadline is none. No errors."""
        try:
            async with asyncio.timeout(request.deadline_seconds):
                return await self._exchange(request)
        except TimeoutError:
            problem = f"no answer within {request.deadline_seconds:g} s"
            return Answer(code=code_pb2.DEADLINE_EXCEEDED, problem=problem)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(code=code_pb2.UNAVAILABLE, problem=str(error) or type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    async def _exchange(self, request: HttpRequest) -> Answer:
        async with self._connections().request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            # As a file: aiohttp warns of more than a megabyte of bytes, which is sent at once.
            data=io.BytesIO(request.body) if request.body else None,
            allow_redirects=False,
        ) as response:
            await response.read()
            return Answer(
                status=response.status,
                headers=response.headers,
                code=code_of(response.status),
                problem="" if response.ok else f"HTTP status code {response.status}",
            )

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None),
                skip_auto_headers=_AUTOMATIC,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


_CODES = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    409: code_pb2.ABORTED,
    416: code_pb2.OUT_OF_RANGE,
    429: code_pb2.RESOURCE_EXHAUSTED,
    499: code_pb2.CANCELLED,
    500: code_pb2.INTERNAL,
    501: code_pb2.UNIMPLEMENTED,
    503: code_pb2.UNAVAILABLE,
    504: code_pb2.DEADLINE_EXCEEDED,
}


def code_of(status: int) -> int:
    """The google.rpc.Code that goes with an HTTP status."""
    if 200 <= status < 300:
        return int(code_pb2.OK)
    return int(_CODES.get(status, code_pb2.UNKNOWN))

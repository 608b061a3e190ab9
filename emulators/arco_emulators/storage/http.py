"""Requests and answers of the storage emulator, over bare ASGI."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from uvicorn.protocols.http.h11_impl import H11Protocol

from arco_emulators.storage.errors import StorageError, invalid

Message = MutableMapping[str, Any]


class Disconnected(Exception):
    """The caller went before all of its request had come; `received` is what came of the body."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"disconnected after {len(received)} bytes")
        self.received = received


@dataclass(slots=True)
class Request:
    """One request. Path segments are decoded, so that one may hold a slash."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    client: tuple[str, int] | None
    _receive: Callable[[], Any]
    _more: bool = True

    @classmethod
    def of(cls, scope: Mapping[str, Any], receive: Callable[[], Any]) -> Request:
        """Read an ASGI scope."""
        raw = scope.get("raw_path", b"").decode("ascii", "replace")
        query = parse_qsl(scope["query_string"].decode("ascii", "replace"), keep_blank_values=True)
        return cls(
            method=scope["method"],
            path=tuple(unquote(part) for part in raw.strip("/").split("/")),
            query=dict(query),
            headers={
                name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
            },
            client=scope.get("client"),
            _receive=receive,
        )

    @property
    def base_url(self) -> str:
        """Scheme and host by which the caller reached us."""
        return f"http://{self.headers.get('host', 'localhost')}"

    async def body(self) -> bytes:
        """The whole body, or what is left of it. Errors: Disconnected."""
        taken = bytearray()
        while self._more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected(bytes(taken))
            self._more = message.get("more_body", False)
            taken += message.get("body", b"")
        return bytes(taken)

    async def gone(self) -> None:
        """Return once the caller is not there any more. The body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty object. Errors: StorageError 400."""
        return json_object(await self.body())


@dataclass(slots=True)
class Response:
    """An answer. The body comes in chunks; `length` is the sum of their lengths."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterator[bytes] | bytes = b""
    length: int | None = None

    @classmethod
    def json(cls, content: object, *, status: int = 200) -> Response:
        """A JSON answer."""
        body = json.dumps(content).encode()
        return cls(status, {"content-type": "application/json; charset=UTF-8"}, body)

    @classmethod
    def failed(cls, error: StorageError) -> Response:
        """The answer that an error stands for."""
        return cls(error.status, {"content-type": "application/json; charset=UTF-8"}, error.body())

    async def send(self, send: Callable[[Message], Any]) -> None:
        """Send it."""
        whole = self.body if isinstance(self.body, bytes) else None
        length = self.length if whole is None else len(whole)
        headers = {**self.headers, "content-length": str(length)}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        if whole is None:
            for chunk in self.body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": whole or b""})


@dataclass(frozen=True, slots=True)
class Operation:
    """A request that was read and understood, and is to be carried out in one step.

    name: as the statistics count it, such as `objects.insert`.
    path: the bucket, or the bucket and the object.
    apply: does it; raises StorageError.
    writes: whether it changes the object of the path.
    """

    name: str
    path: tuple[str, ...]
    apply: Callable[[], Response]
    writes: bool = False


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object; nothing at all is an empty one. Errors: StorageError 400."""
    if not raw.strip():
        return {}
    try:
        content = json.loads(raw)
    except ValueError:
        raise invalid("Parse Error") from None
    if not isinstance(content, dict):
        raise invalid("Parse Error")
    return content


class ResettableProtocol(H11Protocol):
    """HTTP/1.1 whose connections can be reset, as by a proxy that dies."""

    by_client: dict[tuple[str, int], ResettableProtocol]
    """Open connections by the caller's address."""

    def connection_made(self, transport: Any) -> None:
        """Remember the connection."""
        super().connection_made(transport)
        if self.client is not None:
            self.by_client[self.client] = self

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self.client is not None:
            self.by_client.pop(self.client, None)
        super().connection_lost(exc)

    def reset(self) -> None:
        """End the connection with RST, without an answer."""
        connection = self.transport.get_extra_info("socket")
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


def resettable() -> type[ResettableProtocol]:
    """A protocol class with connections of its own, for one server."""

    class Protocol(ResettableProtocol):
        by_client: dict[tuple[str, int], ResettableProtocol] = {}  # noqa: RUF012

    return Protocol

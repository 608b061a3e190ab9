"""The application behind an ASGI server such as uvicorn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from arco_flow.http.messages import ReadBody, Request, Response
from arco_flow.http.refusals import cut_short, too_large

if TYPE_CHECKING:
    from arco_flow.http.app import App

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiApp:
    """ASGI 3 entry point of an App: HTTP and lifespan, no WebSockets."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            answer = await self._app.handle(head_of(scope), body_reader(receive))
            await _send(send, answer)


def head_of(scope: Message) -> Request:
    """A request without its body; the path as it was sent, percent-encoded."""
    path = scope["raw_path"].decode("latin-1").partition("?")[0]
    query = scope["query_string"].decode("latin-1")
    return Request(scope["method"], path, query, _headers(scope["headers"]))


def body_reader(receive: Receive) -> ReadBody:
    """Reads the body of a request, once. Raises TooLarge without reading on."""

    async def read(limit: int) -> bytes:
        parts = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise cut_short()
            parts += message.get("body", b"")
            if len(parts) > limit:
                raise too_large(limit)
            if not message.get("more_body", False):
                return bytes(parts)

    return read


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def _send(send: Send, response: Response) -> None:
    pairs = (
        ("content-type", response.content_type),
        ("content-length", str(len(response.body))),
        *response.headers,
    )
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in pairs]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})

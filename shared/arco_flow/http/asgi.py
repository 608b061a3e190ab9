"""The application behind an ASGI server such as uvicorn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from arco_flow.domain.errors import TooLarge
from arco_flow.http.messages import Request, Response
from arco_flow.http.outcomes import api_error
from arco_flow.http.refusals import too_large

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
            await _send(send, await self._answer(scope, receive))

    async def _answer(self, scope: Message, receive: Receive) -> Response:
        limit = self._app.body_limit(scope["method"], path_of(scope))
        try:
            request = await read_request(scope, receive, limit)
        except TooLarge as error:
            return api_error(error)
        return await self._app.handle(request)


def path_of(scope: Message) -> str:
    """The path of a request as it was sent, percent-encoded."""
    path: str = scope["raw_path"].decode("latin-1")
    return path.partition("?")[0]


async def read_request(scope: Message, receive: Receive, limit: int) -> Request:
    """A request, read whole. Raises TooLarge over `limit` bytes, without reading on."""
    body = await _body(receive, limit)
    query = scope["query_string"].decode("latin-1")
    return Request(scope["method"], path_of(scope), query, headers_of(scope), body)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive, limit: int) -> bytes:
    parts = bytearray()
    while True:
        message = await receive()
        parts += message.get("body", b"")
        if len(parts) > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return bytes(parts)


def headers_of(scope: Message) -> dict[str, str]:
    """The headers of a request by lower-case name."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
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

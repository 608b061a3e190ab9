"""An emulator of Google Cloud Storage's JSON API that honours preconditions.

The official client works unchanged with STORAGE_EMULATOR_HOST set to its address. At the same
port stands its administration:

    GET    /health
    GET    /admin/stats     numbers since start; DELETE counts from zero
    GET    /admin/faults    the knobs; PATCH changes those that a JSON object names, DELETE all off
    POST   /admin/reset     forgets all buckets
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.storage.errors import StorageError, invalid
from arco_emulators.storage.http import (
    Disconnected,
    Message,
    Operation,
    Request,
    ResettableProtocol,
    Response,
    resettable,
)
from arco_emulators.storage.resources import RangeNotSatisfiable
from arco_emulators.storage.routes import Routes
from arco_emulators.storage.state import Storage
from arco_emulators.storage.trouble import Fault, Trouble, refusal, unavailable
from arco_emulators.web import serving

DEFAULT_PORT = 8127

_ADMINISTRATION = {
    ("health",),
    ("admin", "stats"),
    ("admin", "faults"),
    ("admin", "reset"),
}


class StorageApp:
    """The ASGI application: reads a request, lets faults strike, carries it out, counts it."""

    def __init__(
        self, storage: Storage, trouble: Trouble, protocol: type[ResettableProtocol]
    ) -> None:
        """`protocol` serves the application, and knows its open connections."""
        self.storage = storage
        self.trouble = trouble
        self.counters = Counters()
        self._routes = Routes(storage)
        self._protocol = protocol

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Message], Any]
    ) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = Request.of(scope, receive)
        try:
            response = await self._answer(request)
            # What is left of a body must be read, or the connection can not be used again.
            await request.body()
        except Disconnected:
            return
        if response is None:
            await self._reset_connection(request)
        else:
            await response.send(send)

    async def _answer(self, request: Request) -> Response | None:
        """The answer; None for a connection that is reset instead."""
        try:
            if request.path in _ADMINISTRATION:
                return await self._administer(request)
            operation = await self._routes.read(request)
        except StorageError as error:
            return _refused(error)
        return await self._carry_out(operation)

    async def _carry_out(self, operation: Operation) -> Response | None:
        delay = self.trouble.delay_seconds()
        if delay:
            await asyncio.sleep(delay)
        fault = self.trouble.draw(operation.name, operation.path, writes=operation.writes)
        if fault is not None:
            self.counters.add("faults", fault)
        refused = refusal(fault, operation.path)
        try:
            response = _refused(refused) if refused else operation.apply()
        except StorageError as error:
            response = _refused(error)
        self.counters.add(operation.name, str(response.status))
        if fault is Fault.LANDED:
            return _refused(unavailable())
        return None if fault is Fault.LANDED_RESET else response

    async def _administer(self, request: Request) -> Response:
        match request.method, request.path[-1]:
            case "GET", "health":
                return Response.json({"status": "ok"})
            case "DELETE", "stats":
                self.counters.reset()
            case "DELETE", "faults":
                self.trouble.reset()
            case "PATCH", "faults":
                settings = await request.json()
                try:
                    self.trouble.change(settings)
                except ValueError as error:
                    raise invalid(str(error)) from error
            case "POST", "reset":
                self.storage.buckets.clear()
        is_faults = request.path[-1] == "faults"
        return Response.json(self.trouble.as_json() if is_faults else self._stats())

    def _stats(self) -> dict[str, Any]:
        """Numbers by operation and status, faults that struck, and what is stored."""
        objects = [
            found for bucket in self.storage.buckets.values() for found in bucket.objects.values()
        ]
        return {
            **self.counters.as_json(),
            "buckets": len(self.storage.buckets),
            "objects": len(objects),
            "bytes": sum(found.content.size for found in objects),
        }

    async def _reset_connection(self, request: Request) -> None:
        connection = self._protocol.by_client.get(request.client or ("", 0))
        if connection is not None:
            connection.reset()
            await request.gone()


@contextlib.asynccontextmanager
async def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    folder: Path | None = None,
    chaos: Chaos | None = None,
) -> AsyncIterator[int]:
    """Serve an empty storage while the block runs. Yields the port; port 0 takes a free one.

    folder: where objects of a mebibyte and more lie; None keeps them in memory. It is a place
    to work in: when the emulator ends, what it held is gone.
    Errors: OSError when the port is taken.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    protocol = resettable()
    app = StorageApp(Storage(folder), Trouble(chaos or Chaos()), protocol)
    async with serving(app, host=host, port=port, http=protocol) as taken:
        yield taken


def _refused(error: StorageError) -> Response:
    response = Response.failed(error)
    if isinstance(error, RangeNotSatisfiable):
        response.headers["content-range"] = error.content_range
    return response


async def _lifespan(receive: Callable[[], Any], send: Callable[[Message], Any]) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})

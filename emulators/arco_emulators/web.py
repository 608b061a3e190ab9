"""Serve an ASGI application beside other servers of one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

IDLE_SECONDS = 240
"""How long a connection stays open between two requests: minutes, as those of Google's services do,
so that a client with a pool does not meet one that is being closed."""


class _Server(uvicorn.Server):
    """A server that leaves signals to its process, and waits to be stopped without polling."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stop.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at the port. Errors: OSError that names the port."""
    try:
        return socket.create_server((host, port), backlog=512)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise OSError(f"port {port} of {host} can not be served: {why}; choose another") from error


@contextlib.asynccontextmanager
async def serving(
    app: Any, *, host: str = "127.0.0.1", port: int = 0, http: Any = "auto"
) -> AsyncIterator[int]:
    """Answer at the port while the block runs; port 0 takes a free one. Yields the port.

    http: the protocol class of uvicorn that reads the requests.
    Errors: OSError when the port is taken.
    """
    listener = listening(host, port)
    listener.setblocking(False)
    # asyncio sets this only on sockets that name their protocol; those that are accepted inherit
    # it. Without it every answer of two packets waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        http=http,
        log_level="warning",
        lifespan="on",
        access_log=False,
        date_header=False,
        timeout_keep_alive=IDLE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.stop()
        await task
        listener.close()

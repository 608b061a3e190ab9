"""A small HTTP/1.1 server for the embedded plane, on asyncio's protocols.

It exists because the base install has no web framework. One request of a connection is served
at a time; what a client sends ahead waits in the buffer, and the buffer is bounded by no longer
reading from the socket. There is one timer for the whole server, which looks at every
connection's deadline: a client that sends a byte now and then runs into it like a silent one.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, cast

from arco_flow.domain.errors import ArcoError
from arco_flow.http.app import App
from arco_flow.http.messages import Request, Response
from arco_flow.http.parsing import HEAD_END, MAX_HEAD_BYTES, Head, parse_head
from arco_flow.http.refusals import HeadersTooLarge, RequestTimedOut, cut_short, too_large

_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds unless the name says otherwise.

    head: from the first byte of a request to the end of its headers. body: from there to its
    last byte. idle: between two requests. write: a client must take an answer within this.
    sweep: how often deadlines are looked at. close: for requests in progress when the server
    closes. linger: how long the rest of a refused request is read. connections: open at one time.
    """

    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    write_seconds: float = 60.0
    sweep_seconds: float = 1.0
    close_seconds: float = 3.0
    linger_seconds: float = 2.0
    connections: int = 1000


class HttpServer:
    """Serves an App on a socket until it is closed."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.date = b""
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        """Listen; port 0 takes a free one. Answers the port. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, loop), host, port, reuse_address=True, backlog=256
        )
        self._sweep()
        return cast("int", self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, let requests in progress end within close_seconds, then cut them."""
        if self._server is None:
            return
        self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.drain()
        if self.connections:
            self._idle.clear()
            try:
                await asyncio.wait_for(self._idle.wait(), self.limits.close_seconds)
            except TimeoutError:
                for connection in list(self.connections):
                    connection.cut()
        self._server = None

    def forget(self, connection: _Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._idle.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.date = formatdate(usegmt=True).encode()
        for connection in list(self.connections):
            if connection.deadline < now:
                connection.expire()
        self._sweeper = loop.call_later(self.limits.sweep_seconds, self._sweep)


_SCRATCH = memoryview(bytearray(64 * 1024))
"""What every connection reads into, one after the other: the loop's own buffer of 256 KiB is
mapped, shrunk and unmapped for each read, three system calls that this spares."""


class _Connection(asyncio.BufferedProtocol):
    """One client. deadline: loop time at which it has to have moved on, infinite while we work."""

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._buffer = bytearray()
        self._head: Head | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._draining = False
        self._discarding = False
        self._reading = True
        self._is_read = False
        self.deadline = loop.time() + server.limits.head_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; one too many is turned away."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._server.connections) >= self._server.limits.connections:
            self._transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client has gone. What it asked for is finished all the same: it may be a write."""
        self._draining = True
        self._writable.set()
        if self._task is None:
            self._server.forget(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where the next bytes go; they are taken out before another connection reads."""
        return _SCRATCH

    def buffer_updated(self, nbytes: int) -> None:
        """Collect bytes and serve the next request as soon as it is whole."""
        if self._discarding:
            return
        if not self._buffer and self._head is None and self._task is None:
            self.deadline = self._loop.time() + self._server.limits.head_seconds
        self._buffer += _SCRATCH[:nbytes]
        if self._task is None:
            self._advance()
        elif self._reading and len(self._buffer) > MAX_HEAD_BYTES:
            # The client sends ahead of its answers: the kernel holds it back from here on.
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for is still answered, and a part is refused."""
        if self._task is None and not self._discarding and (self._buffer or self._head):
            self._refuse(cut_short())
        self._draining = True
        return self._task is not None

    def pause_writing(self) -> None:
        """The client takes its answers slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable.set()

    def drain(self) -> None:
        """Close after the request in progress; at once when there is none, or when it is a read
        (it may be a long poll) whose client sends no more: most likely it has left."""
        was_left, self._draining = self._draining, True
        if self._task is None:
            self._transport.close()
        elif was_left and self._is_read:
            self.cut()

    def cut(self) -> None:
        """Close now."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    def expire(self) -> None:
        """The deadline has passed: tell a client in mid-request, drop a silent one."""
        if self._task is not None or self._discarding:
            self.cut()
        elif self._buffer or self._head is not None:
            self._refuse(RequestTimedOut("the request did not arrive in time"))
        else:
            self._transport.close()

    def _advance(self) -> None:
        try:
            request, keep_alive = self._next_request()
        except ArcoError as error:
            self._refuse(error)
            return
        if request is not None:
            self.deadline = float("inf")
            self._is_read = request.method == "GET"
            self._task = self._loop.create_task(self._serve(request, keep_alive))

    def _next_request(self) -> tuple[Request | None, bool]:
        """The next whole request of the buffer, taken out of it. Raises ArcoError."""
        head = self._head or self._take_head()
        if head is None or len(self._buffer) < head.length:
            return None, False
        body = bytes(self._buffer[: head.length])
        del self._buffer[: head.length]
        self._head = None
        return Request(head.method, head.path, head.query, head.headers, body), head.keep_alive

    def _take_head(self) -> Head | None:
        end = self._buffer.find(HEAD_END)
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
            raise HeadersTooLarge(f"the headers are longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            return None
        head = parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + len(HEAD_END)]
        if head.length:
            self._expect_body(head)
        return head

    def _expect_body(self, head: Head) -> None:
        self._head = head
        app = self._server.app
        if head.length > app.least_body_bytes:
            limit = app.body_limit(head.method, head.path)
            if head.length > limit:
                raise too_large(limit)
        self.deadline = self._loop.time() + self._server.limits.body_seconds
        if head.expects_continue and not self._buffer:
            self._transport.write(_CONTINUE)

    async def _serve(self, request: Request, keep_alive: bool) -> None:
        try:
            response = await self._server.app.handle(request)
            keep_alive = keep_alive and not self._draining
            self._write(response, keep_alive)
            if not self._writable.is_set():
                self.deadline = self._loop.time() + self._server.limits.write_seconds
                await self._writable.wait()
        finally:
            self._task = None
            if self._transport.is_closing():
                self._server.forget(self)
        if not keep_alive or self._draining:
            self._transport.close()
            return
        self._read_on()

    def _read_on(self) -> None:
        limits = self._server.limits
        seconds = limits.head_seconds if self._buffer else limits.idle_seconds
        self.deadline = self._loop.time() + seconds
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        if self._buffer:
            self._advance()

    def _refuse(self, error: ArcoError) -> None:
        """Answer and close: after a request that can not be read there is no next one.

        A socket that is closed with bytes unread is reset, and a client in mid-body would lose
        the answer. So our side is closed first, and what still comes is thrown away.
        """
        head, self._head = self._head, None
        self._buffer.clear()
        self._draining = self._discarding = True
        read = Request(head.method, head.path) if head else None
        self._write(self._server.app.refuse(error, read), keep_alive=False)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self.deadline = self._loop.time() + self._server.limits.linger_seconds

    def _write(self, response: Response, keep_alive: bool) -> None:
        if self._transport.is_closing():
            return
        head = _response_head(response.status, response.content_type, response.headers, keep_alive)
        length = b"%d\r\ndate: " % len(response.body)
        self._transport.write(b"".join((head, length, self._server.date, HEAD_END, response.body)))


@lru_cache(maxsize=64)
def _response_head(
    status: int, content_type: str, headers: tuple[tuple[str, str], ...], keep_alive: bool
) -> bytes:
    """The head of an answer up to its length: a few of them are most of all answers."""
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}"]
    lines += [f"{name}: {_one_line(value)}" for name, value in headers]
    lines += [
        f"content-type: {content_type}",
        f"connection: {'keep-alive' if keep_alive else 'close'}",
        "content-length: ",
    ]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _one_line(value: str) -> str:
    """A header value without line breaks, so that no answer can be split in two."""
    return value.replace("\r", " ").replace("\n", " ")

"""One kept-alive client connection to the plane."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from arco_flow.worker.http1 import Malformed, Message, Reader, request_bytes

IDLE_SECONDS = 90.0
"""A connection that was not used for longer is opened anew, which is longer than between two signs
of life: while an instance has no processor it may be dropped unheard."""


class Trouble(Exception):
    """No answer came; whether the request was acted upon is unknown."""


class Connection:
    """POSTs to one host at a time, reconnecting when the host changes or hung up.

    TLS trusts what the system trusts. Not for several threads.
    """

    def __init__(self, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout_seconds
        self._clock = clock
        self._used_at = 0.0
        self._origin = ""
        self._socket: socket.socket | None = None
        self._reader: Reader | None = None

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._reader = None

    def post(self, url: str, headers: dict[str, str], body: bytes) -> Message:
        """Send and await the answer. Raises Trouble.

        A connection that was idle may have been closed by the other side, which shows only when
        it is used: it is opened anew once, before that counts as trouble.
        """
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        path = parts.path or "/"
        data = request_bytes("POST", path, {"Host": parts.netloc, **headers}, body)
        if self._clock() - self._used_at > IDLE_SECONDS:
            self.close()
        reused = self._socket is not None and origin == self._origin
        try:
            return self._exchange(origin, data)
        except (OSError, Malformed) as error:
            self.close()
            if not reused or isinstance(error, TimeoutError):
                raise Trouble(_describe(error, origin)) from error
        try:
            return self._exchange(origin, data)
        except (OSError, Malformed) as error:
            self.close()
            raise Trouble(_describe(error, origin)) from error

    def _exchange(self, origin: str, data: bytes) -> Message:
        if self._socket is None or self._reader is None or origin != self._origin:
            self._socket, self._reader = self._open(origin)
        self._socket.sendall(data)
        message = self._reader.read()
        self._used_at = self._clock()
        if message.closes:
            self.close()
        return message

    def _open(self, origin: str) -> tuple[socket.socket, Reader]:
        self.close()
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        address = (parts.hostname or "", parts.port or (443 if secure else 80))
        opened = socket.create_connection(address, timeout=self._timeout)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                opened = _secured(opened, address[0])
        except BaseException:
            opened.close()
            raise
        self._origin = origin
        return opened, Reader(opened)


def _secured(plain: socket.socket, host: str) -> socket.socket:
    import ssl

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _describe(error: Exception, origin: str) -> str:
    return f"{origin}: {error or type(error).__name__}"

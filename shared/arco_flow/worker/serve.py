"""The worker process: requests over one inherited socket, user code in the main thread.

There is no listening port, so that nobody but the pool that made the socket can dispatch. The
other end closing it means that the plane is gone: an idle worker exits at once, a busy one stops
its attempt at the next heartbeat, and what user code started ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable
from types import FrameType

from arco_flow.worker.dispatch import Dispatcher, Reply
from arco_flow.worker.http1 import Closed, Malformed, Reader, response_bytes


class _Stop(BaseException):
    """SIGTERM while no attempt runs."""


class SocketServer:
    """Serves dispatches one after the other until the socket's end or SIGTERM."""

    def __init__(self, connection: socket.socket, dispatcher: Dispatcher) -> None:
        self._connection = connection
        self._dispatcher = dispatcher
        self._busy = False
        self._stopping = False
        self._said_ready = False

    def install_signals(self) -> None:
        """SIGTERM: finish the attempt, then exit. SIGINT: the terminal's, not ours."""
        signal.signal(signal.SIGTERM, self._on_term)
        # A handler, not SIG_IGN, which the children of user code would inherit.
        signal.signal(signal.SIGINT, _ignore)

    def run(self) -> None:
        """Serve until there is nothing more to serve."""
        reader = Reader(self._connection)
        with contextlib.suppress(_Stop, Closed, ConnectionError):
            while not self._stopping:
                try:
                    message = reader.read()
                    self._busy = True
                    if not self._said_ready:
                        self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                        self._said_ready = True
                    reply = self._dispatcher.handle(*message.method_and_path, message.body)
                except Malformed as error:
                    self._connection.sendall(_bytes(Reply.refused(400, "malformed", str(error))))
                    return
                self._connection.sendall(_bytes(reply))
                self._busy = False

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if not self._busy:
            raise _Stop


def orphan_test(connection: socket.socket) -> Callable[[], bool]:
    """A function that tells whether the other end of the socket is closed."""

    def is_orphaned() -> bool:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if not poll.poll(0):
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return is_orphaned


def end_with_plane(plane_pid: int) -> None:
    """End this process and all that user code left running, when the plane is gone.

    A plane that lives does it for a worker that has ended; of one that died nobody else does.
    Only where this process leads its group, as the pool starts it: then the group is ours.
    """
    if os.getppid() != plane_pid and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def _bytes(reply: Reply) -> bytes:
    return response_bytes(reply.status, reply.body, retry_after=reply.retry_after_seconds)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    return None

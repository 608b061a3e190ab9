"""An HTTP server that records what it is sent and answers as it is told."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 15
"""Longest wait for something that comes at once on a machine that is free."""


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    """Names in the case in which they came."""
    body: bytes
    at: float


@dataclass
class Inbox:
    """One address of the target."""

    url: str
    received: queue.Queue = field(default_factory=queue.Queue)
    answers: deque = field(default_factory=deque)
    """Statuses, or pairs of a status and headers, for the next requests; then 200 for all."""
    held: threading.Event | None = None
    """While it is unset, answers wait."""

    def receive(self):
        """The next request; fails when none comes."""
        return self.received.get(timeout=SECONDS)

    def hold(self):
        self.held = threading.Event()
        return self.held


class Target:
    def __init__(self):
        self._inboxes = {}
        self._numbers = itertools.count()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"

    def inbox(self):
        """An address that no other test has."""
        path = f"/inbox-{next(self._numbers)}"
        return self._inboxes.setdefault(path, Inbox(self.base_url + path))

    def close(self):
        for inbox in self._inboxes.values():
            if inbox.held:
                inbox.held.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(target):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self):
                inbox = target._inboxes["/" + self.path.lstrip("/").partition("?")[0]]
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = inbox.answers.popleft() if inbox.answers else 200
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                inbox.received.put(
                    Received(self.command, self.path, dict(self.headers.items()), body, time.time())
                )
                if inbox.held:
                    inbox.held.wait(SECONDS)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

            def log_message(self, *_):
                pass

        return Handler

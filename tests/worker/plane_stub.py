"""What a worker meets in its tests: a callback server, a code location, real processes."""

from __future__ import annotations

import http.server
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.domain.ids import Scope, log_prefix, version_prefix
from arco_flow.worker.http1 import Message, Reader

SCOPE = Scope("t", "w")
PATIENCE_SECONDS = 20.0


class CallbackServer:
    """Answers callbacks as told and keeps them, in order.

    answer(kind, body) gives (status, body); `calls` receives (task id, kind, body, token).
    """

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, str, dict[str, Any], str]] = queue.Queue()
        self.answer: Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]] = accept
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                _, _, _, task, kind = self.path.split("/")
                token = self.headers["Authorization"]
                status, answer = outer.answer(kind, body)
                outer.calls.put((task, kind, body, token))
                raw = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def next(self, *kinds: str) -> dict[str, Any]:
        """The body of the next callback of these kinds; others are skipped."""
        while True:
            _, kind, body, _ = self.calls.get(timeout=PATIENCE_SECONDS)
            if not kinds or kind in kinds:
                return body

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def accept(kind: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return 200, {"acknowledged": True, "serverTime": "2026-01-01T00:00:00Z", "shouldCancel": False}


def cancel(kind: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    told = {"acknowledged": True, "serverTime": "", "shouldCancel": kind == "heartbeat"}
    return 200, {**told, "cancelReason": "user_requested"}


class Bench:
    """A code location, an object folder, a callback server, and envelopes for them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self.objects_folder = folder / "objects"
        self.objects = LocalObjects(self.objects_folder)
        self.server = CallbackServer()

    def write(self, source: str, name: str = "sales.py") -> Path:
        path = self.root / name
        path.write_text(source)
        return path

    def envelope(self, asset: str, attempt_id: str = "att_1", **payload: Any) -> dict[str, Any]:
        return {
            "tenantId": "t",
            "workspaceId": "w",
            "taskId": f"ct1_{attempt_id}",
            "taskKey": asset,
            "runId": "run_1",
            "attempt": 1,
            "attemptId": attempt_id,
            "dispatchId": f"dispatch:{attempt_id}",
            "callbackBaseUrl": self.server.url,
            "taskToken": "the-token",
            "tokenExpiresAt": "2999-01-01T00:00:00Z",
            "payload": {"assetKey": asset, **payload},
        }

    def prefix(self, asset: str, attempt_id: str = "att_1", partition: str = "") -> str:
        return version_prefix(SCOPE, asset, partition, attempt_id)

    def marker(self, asset: str, attempt_id: str = "att_1") -> dict[str, Any] | None:
        stored = self.objects.get(self.prefix(asset, attempt_id) + "_commit")
        return None if stored is None else json.loads(stored.data)

    def log_lines(self, attempt_id: str = "att_1") -> list[dict[str, Any]]:
        metas = self.objects.list(log_prefix(SCOPE, "run_1", attempt_id))
        chunks = [self.objects.get(meta.key) for meta in metas]
        return [json.loads(line) for chunk in chunks if chunk for line in chunk.data.splitlines()]

    def messages(self, attempt_id: str = "att_1") -> list[str]:
        return [line["message"] for line in self.log_lines(attempt_id)]

    @contextmanager
    def worker(self, target: Path, *options: str, **environment: str) -> Iterator[Worker]:
        worker = Worker(self, target, options, environment)
        try:
            yield worker
        finally:
            worker.close()

    def close(self) -> None:
        self.server.close()


class Worker:
    """A worker process and our end of its socket."""

    def __init__(
        self, bench: Bench, target: Path, options: tuple[str, ...], environment: dict[str, str]
    ) -> None:
        self._bench = bench
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE_SECONDS)
        arguments = ["--target", str(target), "--root", str(bench.root)]
        arguments += ["--objects", str(bench.objects_folder), "--worker-id", "worker-1"]
        arguments += ["--fd", str(theirs.fileno()), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "arco_flow.worker", *arguments],
            cwd=bench.root,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        self._reader = Reader(self.socket)

    def send(self, envelope: dict[str, Any] | bytes, path: str = "/dispatch") -> None:
        body = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
        head = f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def answer(self) -> Message:
        """The next final answer; the interim one says that the worker is ready."""
        while (message := self._reader.read()).status == 100:
            continue
        return message

    def dispatch(self, asset: str, attempt_id: str = "att_1", **payload: Any) -> dict[str, Any]:
        """Dispatch, await the end, return the body of `completed`."""
        self.send(self._bench.envelope(asset, attempt_id, **payload))
        assert self.answer().status == 200
        return self._bench.server.next("completed")

    def close(self) -> str:
        """End the process; what it wrote outside of attempts."""
        self.socket.close()
        try:
            output, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
            raise
        return output.decode()


def wait_until(check: Callable[[], bool]) -> None:
    """Poll what can not be awaited: another process's visible state."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)

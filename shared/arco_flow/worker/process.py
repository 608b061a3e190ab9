"""One worker process as the pool sees it: started, spoken to over a socket, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from arco_flow.domain.errors import Unavailable
from arco_flow.worker.http1 import body_length, parse_head

_TAIL_BYTES = 4 * 1024
_SECRET_VARIABLES = ("ARCO_FLOW_TOKEN", "ARCO_FLOW_TENANT_SECRET")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What workers run: the code location, its root folder, the object folder, the scope.

    scope: `tenant/workspace`, "" = any. environment: None = this process's, less its secrets.
    callback_base_url: the plane that envelopes must report to, "" = any.
    """

    target: str
    root: str
    objects: str
    scope: str = ""
    environment: Mapping[str, str] | None = None
    callback_base_url: str = ""


# An interim answer: the process has loaded the code and reads its first request.
_READY = "100"


class WorkerDied(Unavailable):
    """The process ended before it answered."""

    reason = "WORKER_DIED"


class WorkerProcess(asyncio.BufferedProtocol):
    """A child process and the plane's end of its socket.

    on_exit is called once, in the event loop, when the socket ends: the process has exited or is
    about to.
    """

    def __init__(self, worker_id: str, on_exit: Callable[[WorkerProcess], None]) -> None:
        self.worker_id = worker_id
        self.attempt_id = ""
        self.served = 0
        self.is_ready = False
        self.generation = 0
        self.stopped_because = ""
        self.born = time.monotonic()
        self._on_exit = on_exit
        self._buffer = b""
        self._scratch = bytearray(4 * 1024)
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    async def start(self, spec: WorkerSpec) -> None:
        """Spawn the process. Raises OSError."""
        ours, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile(prefix="arco-flow-worker-")  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                _command(spec, self.worker_id, theirs.fileno()),
                cwd=spec.root,
                env=worker_environment(spec.environment),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, sock=ours)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs, asked of the system."""
        return self._process is not None and self._process.poll() is None

    async def request(self, envelope: bytes) -> int:
        """Send one dispatch and await the status of its answer. Raises WorkerDied."""
        assert self._answer is None, "a worker serves one dispatch at a time"
        if self._transport is None or self._transport.is_closing():
            raise WorkerDied("the worker's socket is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(
            b"POST /dispatch HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(envelope) + envelope
        )
        try:
            return await self._answer
        finally:
            self._answer = None
            self.served += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is ours."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        """asyncio: where the next bytes go. Answers are short."""
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: a part of an answer."""
        self._buffer += self._scratch[:nbytes]
        head, empty_line, rest = self._buffer.partition(b"\r\n\r\n")
        if not empty_line:
            return
        start, headers = parse_head(head)
        if start[9:12] == _READY:
            self.is_ready = True
            self._buffer = rest
            self.buffer_updated(0)
            return
        if len(rest) < body_length(headers):
            return
        self._buffer = rest[body_length(headers) :]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(int(start[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the process closed its end, which only its exit does."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WorkerDied(f"the worker hung up: {exc or 'end of stream'}"))
        self._on_exit(self)

    def hang_up(self) -> None:
        """Close the socket: an idle worker exits at once, a busy one after its attempt."""
        if self._transport is not None:
            self._transport.close()

    def terminate(self) -> None:
        """SIGTERM: finish the attempt, then exit."""
        if self.is_alive and self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the process and to all that it started in its session's group."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self, seconds: float) -> int | None:
        """Exit code, waiting at most so long; None when it still runs."""
        assert self._process is not None
        try:
            return await asyncio.to_thread(self._process.wait, seconds)
        except subprocess.TimeoutExpired:
            return None

    def release(self) -> None:
        """Give back what is left of an ended process: children of user code, its output.

        The group's id is the dead process's; the system does not give it away again while one
        of the group lives, nor soon after.
        """
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._output is not None:
            self._output.close()
            self._output = None

    def tail(self) -> str:
        """The last lines that the process wrote outside of attempts: why it could not start, or
        where it crashed."""
        if self._output is None:
            return ""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _TAIL_BYTES))
        return self._output.read().decode("utf-8", "replace").strip()


def worker_environment(base: Mapping[str, str] | None) -> dict[str, str]:
    """The environment of a worker: no secret of the plane is in it."""
    given = os.environ if base is None else base
    return {name: value for name, value in given.items() if not name.startswith(_SECRET_VARIABLES)}


def describe_exit(code: int | None) -> str:
    """What an exit code means, for people."""
    if code is None:
        return "worker process hung up without exiting"
    if code == -signal.SIGKILL:
        return "worker process exited with signal 9 (killed; out of memory?)"
    if code < 0:
        name = signal.Signals(-code).name if -code in _SIGNALS else "unknown"
        return f"worker process exited with signal {-code} ({name})"
    return f"worker process exited with code {code}"


_SIGNALS = frozenset(number.value for number in signal.Signals)


def _command(spec: WorkerSpec, worker_id: str, descriptor: int) -> list[str]:
    # -P: the working folder holds user code, which must not shadow what the worker imports.
    options = {
        "--target": spec.target,
        "--root": spec.root,
        "--objects": spec.objects,
        "--worker-id": worker_id,
        "--fd": str(descriptor),
    }
    if spec.scope:
        options["--scope"] = spec.scope
    if spec.callback_base_url:
        options["--callback-base-url"] = spec.callback_base_url
    flat = [part for pair in options.items() for part in pair]
    return [sys.executable, "-P", "-m", "arco_flow.worker", *flat]

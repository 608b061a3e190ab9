"""The log of one attempt: lines in order, written as immutable NDJSON chunks.

A chunk is `{log_prefix}{seq:08d}.ndjson`, named by the number of its first line, so that a reader
goes on after the last chunk that it knows. An attempt that prints nothing writes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from arco_flow.domain.errors import OutcomeUnknown
from arco_flow.ports.objects import Objects
from arco_flow.worker.redaction import Redactor

FLUSH_SECONDS = 1.0
CHUNK_BYTES = 64 * 1024
MAX_LINE_BYTES = 32 * 1024
"""Longer lines are continued in the next record."""
MAX_ATTEMPT_BYTES = 64 * 1024 * 1024
"""More than this of one attempt is not kept; an explicit last line says so."""
_FINAL_TRIES = 3

_encode = msgspec.json.Encoder().encode


class LogLine(msgspec.Struct, frozen=True):
    """One record of a chunk. seq: from 1. stream: stdout, stderr or log; level: of log records
    only. time: ISO 8601, UTC."""

    seq: int
    time: str
    stream: str
    level: str
    message: str


class LineSplitter:
    """Cuts one stream's bytes into lines; carriage returns of progress bars end a line too."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._pending = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now."""
        *whole, self._pending = (self._pending + data).replace(b"\r\n", b"\n").split(b"\n")
        lines = [self._text(line) for line in whole]
        while len(self._pending) > MAX_LINE_BYTES + self._redactor.longest_bytes:
            lines.append(self._cut())
        return lines

    def rest(self) -> list[str]:
        """What is left without a line end, when the attempt is over."""
        pending, self._pending = self._pending, b""
        return [self._text(pending)] if pending else []

    def _cut(self) -> str:
        """A part of an endless line, such that no character and no secret is cut in two."""
        text = self._redactor.clean(self._pending.decode("utf-8", "surrogateescape"))
        data = text.encode("utf-8", "surrogateescape")
        at = min(MAX_LINE_BYTES, max(len(data) - self._redactor.longest_bytes, 1))
        while at > 1 and at < len(data) and data[at] & 0xC0 == 0x80:
            at -= 1
        self._pending = data[at:]
        return data[:at].decode("utf-8", "replace")

    def _text(self, line: bytes) -> str:
        return self._redactor.clean(line.decode("utf-8", "replace"))


class AttemptLog:
    """Numbers lines and writes them away in chunks; safe for several threads."""

    def __init__(
        self,
        objects: Objects,
        prefix: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = MAX_ATTEMPT_BYTES,
    ) -> None:
        self._objects = objects
        self._prefix = prefix
        self._clock = clock
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lines: list[bytes] = []
        self._size = 0
        self._total = 0
        self._seq = 1
        self._first = 1
        self._oldest = 0.0
        self._truncated = False
        self.trouble = ""
        """Why lines could not be stored; empty when all went well."""

    def add(self, stream: str, level: str, message: str) -> None:
        """Append one message; long ones become several records, none is dropped below the cap."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        # Half of a surrogate pair has no UTF-8.
        whole = message if message.isascii() else message.encode("utf-8", "replace").decode()
        with self._lock:
            for part in _parts(whole):
                self._append(now, stream, level, part)

    def _append(self, now: str, stream: str, level: str, message: str) -> None:
        if self._truncated:
            return
        line = _encode(LogLine(self._seq, now, stream, level, message)) + b"\n"
        if self._total + len(line) > self._max_bytes:
            self._truncated = True
            text = f"log truncated: one attempt keeps at most {self._max_bytes} bytes"
            line = _encode(LogLine(self._seq, now, "log", "WARNING", text)) + b"\n"
        if not self._lines:
            self._oldest = self._clock()
        self._lines.append(line)
        self._seq += 1
        self._size += len(line)
        self._total += len(line)

    def is_due(self) -> bool:
        """Whether a chunk should be written now, by its size or its age."""
        with self._lock:
            if not self._lines:
                return False
            return self._size >= CHUNK_BYTES or self._clock() - self._oldest >= FLUSH_SECONDS

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that waits to be written."""
        return not self._lines

    def flush(self, *, final: bool = False) -> None:
        """Write what waits as one chunk; what can not be stored now waits for the next time.

        final: try several times, then give the lines up and say so in `trouble`: a log must not
        fail the task that it is about.
        """
        if self.is_empty:
            return
        with self._writing:
            for _ in range(_FINAL_TRIES if final else 1):
                if self._write():
                    return

    def _write(self) -> bool:
        with self._lock:
            lines, first = self._lines, self._first
            self._lines, self._size, self._first = [], 0, self._seq
        if not lines:
            return True
        try:
            self._create(first, b"".join(lines))
        except Exception as error:
            self._keep(lines, first)
            self.trouble = f"{len(lines)} log lines could not be stored: {error}"
            return False
        self.trouble = ""
        return True

    def _create(self, first: int, data: bytes) -> None:
        name = first
        while True:
            key = f"{self._prefix}{name:08d}.ndjson"
            try:
                if self._objects.put_if_absent(key, data) is not None:
                    return
            except OutcomeUnknown:
                if self._objects.get(key) is None:
                    raise
            standing = self._objects.get(key)
            if standing is not None and standing.data == data:
                return
            # Left by an earlier run of this very attempt: go on behind it.
            name += 1

    def _keep(self, lines: list[bytes], first: int) -> None:
        with self._lock:
            self._lines = lines + self._lines
            self._size = sum(map(len, self._lines))
            self._first = first
            self._oldest = self._clock()


def _parts(message: str) -> list[str]:
    if len(message) * 4 <= MAX_LINE_BYTES:
        return [message]
    data = message.encode("utf-8", "replace")
    parts: list[str] = []
    while len(data) > MAX_LINE_BYTES:
        at = MAX_LINE_BYTES
        while data[at] & 0xC0 == 0x80:
            at -= 1
        parts.append(data[:at].decode("utf-8", "replace"))
        data = data[at:]
    return [*parts, data.decode("utf-8", "replace")]

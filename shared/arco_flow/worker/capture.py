"""Everything that is printed, by whomever: Python, C libraries and child processes.

Descriptors 1 and 2 of the process are pipes of ours. One thread reads them; at the end of an
attempt the main thread itself reads what is left, so that a task without output costs two system
calls and no hand-over. The pipes hold a megabyte where the system allows: code that printed more
than that without ever releasing the interpreter lock would wait for ever, and its heartbeats
would end it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import select
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from arco_flow.sdk.logs import ASSET_LOGGER
from arco_flow.worker.interrupt import Interrupter
from arco_flow.worker.logs import FLUSH_SECONDS, AttemptLog, LineSplitter
from arco_flow.worker.redaction import Redactor

_READ_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024


class Capture:
    """Turns what this process prints into lines of the attempt that runs.

    Output between two attempts (a background thread, the import of user code) goes to the
    original stderr.
    """

    def __init__(self, redactor: Redactor, interrupter: Interrupter) -> None:
        self._redactor = redactor
        self._interrupter = interrupter
        self._lock = threading.RLock()
        self._log: AttemptLog | None = None
        self._original = os.dup(2)
        self._forked = False
        self._closed = False
        self._streams: dict[int, tuple[str, LineSplitter]] = {}
        self._ends: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe()
        for number, name in ((1, "stdout"), (2, "stderr")):
            read_end, self._ends[number] = _replace(number)
            self._streams[read_end] = (name, LineSplitter(redactor))
        self._texts = _line_buffered()
        self._handler = _Handler(self)
        logging.getLogger().addHandler(self._handler)
        if logging.getLogger().level == logging.WARNING:
            # The default level would hide the INFO lines that users write on purpose.
            logging.getLogger().setLevel(logging.INFO)
        os.register_at_fork(after_in_child=self._after_fork)
        self._c_flush = ctypes.CDLL(None).fflush
        threading.Thread(target=self._run, name="log-capture", daemon=True).start()

    @property
    def original_stderr(self) -> int:
        """The descriptor that was stderr before the capture."""
        return self._original

    @contextlib.contextmanager
    def attempt(self, log: AttemptLog) -> Iterator[None]:
        """Inside, all output belongs to this log; at the end it is stored completely."""
        self._restore()
        with self._lock:
            self._drain()
            self._end_lines()
            self._log = log
        try:
            yield
        finally:
            self._restore()
            self.flush_streams()
            with self._lock:
                self._drain()
                self._end_lines()
                self._log = None
            log.flush(final=True)

    def _restore(self) -> None:
        """Undo what user code did to stdout and stderr: closed, replaced, set to None."""
        for number, end in self._ends.items():
            if not _is_same(number, end):
                os.dup2(end, number)
        for name, stream in self._texts.items():
            if getattr(sys, name) is not stream or stream.closed:
                self._texts.update(_line_buffered())
                return

    def rescue(self) -> None:
        """Store what there is of an attempt's log whose process is about to be ended."""
        with self._lock:
            self._drain()
            log = self._log
        if log is not None:
            log.flush(final=True)

    def record(self, level: str, message: str) -> None:
        """A line of `context.log` or of logging, after what was printed before it."""
        if self._forked:
            # Locks and threads of ours do not live on in a forked child; its stderr does.
            os.write(2, f"{level} {message}\n".encode("utf-8", "replace"))
            return
        with self._interrupter.shielded(), self._lock:
            self._drain()
            if self._log is None:
                self._stray("log", f"{level} {message}")
                return
            asleep = self._log.is_empty
            self._log.add("log", level, self._redactor.clean(message))
            if asleep:
                os.write(self._wake_write, b"x")

    def flush_streams(self) -> None:
        """Push out what Python and the C library still hold in their buffers."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        self._c_flush(None)

    def close(self) -> None:
        """Restore the original descriptors; what was printed till now is not lost."""
        self.flush_streams()
        logging.getLogger().removeHandler(self._handler)
        # The thread ends before the pipes do, which it would take for endless input.
        self._closed = True
        os.write(self._wake_write, b"x")
        for number in (1, 2):
            os.dup2(self._original, number)
        with self._lock:
            self._drain()
            self._end_lines()

    def _after_fork(self) -> None:
        self._forked = True

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (*self._streams, self._wake_read):
            poll.register(descriptor, select.POLLIN)
        while not self._closed:
            log = self._log
            waits = log is not None and not log.is_empty
            ready = poll.poll(FLUSH_SECONDS * 1000 if waits else None)
            if (self._wake_read, select.POLLIN) in ready:
                os.read(self._wake_read, 4096)
            with self._lock:
                self._drain()
                log = self._log
            if log is not None and log.is_due():
                log.flush()

    def _drain(self) -> None:
        for descriptor, (name, splitter) in self._streams.items():
            # One pipeful: all that was printed before the call, and an end in sight when
            # something prints without end.
            left = _PIPE_BYTES
            while left > 0 and (data := _read(descriptor)):
                left -= len(data)
                self._add(name, splitter.feed(data))

    def _end_lines(self) -> None:
        """What has no line end yet belongs to whoever printed it, not to what comes next."""
        for name, splitter in self._streams.values():
            self._add(name, splitter.rest())

    def _add(self, name: str, lines: list[str]) -> None:
        for line in lines:
            if self._log is not None:
                self._log.add(name, "", line)
            else:
                self._stray(name, line)

    def _stray(self, name: str, line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._original, f"[{name}] {line}\n".encode("utf-8", "replace"))


class _Handler(logging.Handler):
    def __init__(self, capture: Capture) -> None:
        super().__init__()
        self._capture = capture
        self._named = logging.Formatter("%(name)s: %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            own = record.name == ASSET_LOGGER
            text = self.format(record) if own else self._named.format(record)
            self._capture.record(record.levelname, text)
        except Exception:
            self.handleError(record)


def _is_same(number: int, other: int) -> bool:
    """Whether two descriptors are one pipe; a closed one is none."""
    try:
        return os.path.sameopenfile(number, other)
    except OSError:
        return False


def _replace(number: int) -> tuple[int, int]:
    """Make a descriptor the writing end of a new pipe.

    Returns the reading end, and a second writing end: it keeps the pipe open when user code
    closes the first, and brings that back.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    os.dup2(write_end, number)
    return read_end, write_end


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except BlockingIOError:
        return b""


def _line_buffered() -> dict[str, TextIO]:
    """New text streams over the descriptors: the interpreter's own believe that they are files
    (the pool gives a worker one), and changing them asks a pipe for its position."""
    made: dict[str, TextIO] = {}
    for name, number in (("stdout", 1), ("stderr", 2)):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            getattr(sys, name).flush()
        stream = open(  # noqa: SIM115 - it lives as long as the process
            number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        made[name] = stream
    return made

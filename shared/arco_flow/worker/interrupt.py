"""Stopping user code from outside: a signal that raises in the main thread.

A signal is the one means that also ends a blocking call (a sleep, a read, a wait for a child).
It raises only while user code is exposed to it, never in the middle of a commit or a report.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOP_SIGNAL = signal.SIGUSR2
"""Left alone by the usual libraries; SIGUSR1 is what profilers and servers take."""


class Interrupted(BaseException):
    """The attempt must stop. No Exception, so that `except Exception` does not swallow it."""


class CancelInterrupt(Interrupted):
    """The plane asked the attempt to stop, or no longer knows it."""


class TimeoutInterrupt(Interrupted):
    """The attempt ran longer than its execution time-out."""


class Interrupter:
    """Raises into user code of the main thread, at most once per attempt.

    `install` must be called in the main thread. Where user code runs in another thread (a
    function served by threads), nothing is raised and only `context.cancelled` tells.
    """

    def __init__(self) -> None:
        self._wanted: Interrupted | None = None
        self._exposed = False
        self._thread_id = 0

    def install(self) -> None:
        """Take the signal. Call it once, in the main thread."""
        signal.signal(STOP_SIGNAL, self._on_signal)
        self._thread_id = threading.get_ident()

    def reset(self) -> None:
        """Forget the last attempt."""
        self._wanted = None
        self._exposed = False

    @property
    def wanted(self) -> Interrupted | None:
        """Why the attempt shall stop; None as long as it may go on."""
        return self._wanted

    def interrupt(self, reason: Interrupted) -> None:
        """From any thread: stop the attempt. The first reason stands."""
        if self._wanted is not None:
            return
        self._wanted = reason
        if self._thread_id:
            signal.pthread_kill(self._thread_id, STOP_SIGNAL)

    @contextlib.contextmanager
    def exposed(self) -> Iterator[None]:
        """Inside, an interrupt is raised, also one that was asked for before."""
        self._exposed = True
        try:
            if self._wanted is not None:
                self._raise()
            yield
        finally:
            self._exposed = False

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Inside, nothing is raised: for code of ours that user code calls and that holds locks.

        What was asked for meanwhile is raised at the end. Other threads are never interrupted.
        """
        if not self._exposed or threading.get_ident() != self._thread_id:
            yield
            return
        self._exposed = False
        try:
            yield
        finally:
            self._exposed = True
        if self._wanted is not None:
            self._raise()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._exposed and self._wanted is not None:
            self._raise()

    def _raise(self) -> None:
        # Once: what user code does to clean up must not be interrupted again.
        self._exposed = False
        assert self._wanted is not None
        raise self._wanted

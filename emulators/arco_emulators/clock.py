"""The time of the emulators, which tests may move forward, and timers that follow it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Clock:
    """The clock of this machine, ahead of it by what was added."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        """UTC seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time jump forward; what became due by it is due now.

        Errors: ValueError for a step backwards.
        """
        if seconds < 0:
            raise ValueError(f"the clock only moves forward, and {seconds} is a step backwards")
        self._ahead += seconds
        for watcher in tuple(self._watchers):
            watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call the watcher after each jump."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call the watcher no more."""
        self._watchers.remove(watcher)


def after(clock: Clock, seconds: float, do: Callable[[], None]) -> None:
    """Do something once, when these seconds of the clock are over."""
    due = clock.now() + seconds

    def ring() -> None:
        if clock.now() < due:
            alarm.set(due)
            return
        alarm.close()
        do()

    alarm = Alarm(clock, ring)
    alarm.set(due)


class Alarm:
    """One timer, moved to whatever is due next; rings after each jump of the clock too."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._due: float | None = None
        clock.watch(self._rung)

    def set(self, due: float | None) -> None:
        """Ring at this time of the clock, and at no other; None stops the timer."""
        if due == self._due and self._handle is not None:
            return
        self._stop()
        if due is not None:
            self._due = due
            delay = max(0.0, due - self._clock.now())
            self._handle = asyncio.get_running_loop().call_later(delay, self._rung)

    def close(self) -> None:
        """Ring no more."""
        self._stop()
        self._clock.unwatch(self._rung)

    def _rung(self) -> None:
        self._stop()
        self._ring()

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._due = None

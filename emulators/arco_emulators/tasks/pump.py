"""Hand out the due tasks of one queue, within its rate and its number at once."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from arco_emulators.clock import Alarm, Clock
from arco_emulators.tasks.bucket import TokenBucket
from arco_emulators.tasks.entry import Entry
from arco_emulators.tasks.queue_config import RUNNING


class Pump:
    """A heap of tasks by due time, a token bucket and a timer for what comes next."""

    def __init__(self, queue: Any, clock: Clock, start: Callable[[Entry], None]) -> None:
        """`start` begins an attempt; whoever ends it calls `release`."""
        self._clock = clock
        self._start = start
        self._heap: list[tuple[float, int, int, Entry]] = []
        self._pushed = 0
        self._alarm = Alarm(clock, self.run)
        self.bucket = TokenBucket(*_rate(queue), clock.now())
        self.busy = 0
        self._most = 0
        self._running = False
        self.configure(queue)

    def configure(self, queue: Any) -> None:
        """Follow the queue's limits and state from now on."""
        self.bucket.configure(*_rate(queue), self._clock.now())
        self._most = queue.rate_limits.max_concurrent_dispatches
        self._running = queue.state == RUNNING
        self.run()

    def push(self, entry: Entry, due: float) -> None:
        """Hand the task out at this time; a time given earlier is void."""
        entry.ticket += 1
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, entry.ticket, entry))
        self.run()

    def release(self) -> None:
        """An attempt has ended."""
        self.busy -= 1
        self.run()

    def run(self) -> None:
        """Start what is due, and set the timer for what is not."""
        now = self._clock.now()
        while self._head_due() <= now and self.busy < self._most and self.bucket.take(now):
            entry = heapq.heappop(self._heap)[3]
            entry.ticket += 1
            self.busy += 1
            self._start(entry)
        due = self._head_due()
        held = due == _NEVER or self.busy >= self._most
        self._alarm.set(None if held else max(due, self.bucket.ready_at(now)))

    def quiet(self, ahead_seconds: float) -> bool:
        """Whether nothing is under way, waits for a token or is due within these seconds."""
        return not self.busy and self._head_due() > self._clock.now() + ahead_seconds

    def close(self) -> None:
        """Start nothing more."""
        self._running = False
        self._heap.clear()
        self._alarm.close()

    def _head_due(self) -> float:
        """When the next task is due; never while the queue is paused or empty."""
        while self._heap and self._heap[0][2] != self._heap[0][3].ticket:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap and self._running else _NEVER


_NEVER = float("inf")


def _rate(queue: Any) -> tuple[float, float]:
    return queue.rate_limits.max_dispatches_per_second, queue.rate_limits.max_burst_size

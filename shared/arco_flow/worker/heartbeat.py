"""One thread per worker process that keeps the current attempt alive, and stops it in time.

It sleeps until the earliest thing that is due (a heartbeat, the execution time-out, the end of
the cancel grace). Beginning an attempt wakes it only when it sleeps longer than that, so that a
stream of short tasks wakes it once per interval and not once per task.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from arco_flow.domain.envelope import CallbackResponse, DispatchEnvelope, TaskPayload
from arco_flow.worker.callbacks import Answer, CallbackClient, Refused
from arco_flow.worker.interrupt import CancelInterrupt, Interrupted, Interrupter, TimeoutInterrupt

SHORTEST_INTERVAL_SECONDS = 5.0
LONGEST_INTERVAL_SECONDS = 60.0
HEARTBEAT_TIMEOUT_SECONDS = 10.0
"""A heartbeat that hangs must not keep the thread from a time-out for long."""
ORPHAN_GRACE_SECONDS = 2.0
"""How long user code may clean up when the plane is gone: another worker does its work soon."""
_OVER = frozenset({401, 403, 404, 409, 410})


def heartbeat_seconds(envelope: DispatchEnvelope, payload: TaskPayload) -> float:
    """Seconds between two heartbeats: as the payload says, else a fifth of the time-out, within
    5 to 60 (the rule of the earlier system's worker)."""
    if payload.heartbeat_interval_ms > 0:
        return payload.heartbeat_interval_ms / 1000
    fifth = envelope.heartbeat_timeout_sec / 5
    return min(max(fifth, SHORTEST_INTERVAL_SECONDS), LONGEST_INTERVAL_SECONDS)


@dataclass(slots=True)
class Attempt:
    """What the thread knows of the attempt that runs; times on the monotonic clock, seconds.

    refused: the plane no longer wants a report of it. stuck_after: when user code that does not
    react to its interruption is given up. settled: its result stands, nothing stops it any more.
    """

    envelope: DispatchEnvelope
    worker_id: str
    interval: float
    next_beat: float
    grace: float
    times_out_at: float = math.inf
    stuck_after: float = math.inf
    progress_pct: int | None = None
    message: str | None = None
    refused: bool = False
    settled: bool = False

    def due(self) -> float:
        """When the thread has to look again."""
        return min(self.next_beat, self.times_out_at, self.stuck_after)


class Heartbeats:
    """The thread and the attempt that it watches.

    on_stuck(attempt, reason): user code went on for the cancel grace after it was told to stop;
    the process can not be used any more.
    orphaned: tells whether the plane that dispatched is gone. Its successor gives the attempt to
    another worker, so going on would only do the work, and its side effects, twice.
    """

    def __init__(
        self,
        client: CallbackClient,
        interrupter: Interrupter,
        on_stuck: Callable[[Attempt, Interrupted], None],
        orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._orphaned = orphaned
        self._client = client
        self._interrupter = interrupter
        self._on_stuck = on_stuck
        self._condition = threading.Condition()
        self._attempt: Attempt | None = None
        self._sleeps_until = math.inf
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def begin(self, envelope: DispatchEnvelope, payload: TaskPayload, worker_id: str) -> Attempt:
        """Watch an attempt from now on."""
        now = time.monotonic()
        interval = heartbeat_seconds(envelope, payload)
        attempt = Attempt(
            envelope=envelope,
            worker_id=worker_id,
            interval=interval,
            next_beat=now + interval,
            grace=payload.cancel_grace_ms / 1000,
        )
        if payload.execution_timeout_ms > 0:
            attempt.times_out_at = now + payload.execution_timeout_ms / 1000
        with self._condition:
            self._attempt = attempt
            if attempt.due() < self._sleeps_until:
                self._condition.notify()
        return attempt

    def settle(self) -> None:
        """User code is over: heartbeats go on until the end, but stop nothing any more.

        Call it outside `Interrupter.exposed`. An interrupt that came before is forgotten only by
        the next attempt.
        """
        with self._condition:
            if self._attempt is not None:
                self._attempt.settled = True
                self._attempt.times_out_at = self._attempt.stuck_after = math.inf

    def end(self) -> None:
        """The attempt is over: nothing of it will be sent any more."""
        with self._condition:
            self._attempt = None

    def _run(self) -> None:
        while True:
            with self._condition:
                attempt = self._next_due()
            self._act(attempt)

    def _next_due(self) -> Attempt:
        while True:
            attempt = self._attempt
            wake = math.inf if attempt is None else attempt.due()
            pause = wake - time.monotonic()
            if attempt is not None and pause <= 0:
                return attempt
            self._sleeps_until = wake
            self._condition.wait(None if pause == math.inf else pause)
            self._sleeps_until = 0.0

    def _act(self, attempt: Attempt) -> None:
        now = time.monotonic()
        if now >= attempt.stuck_after:
            attempt.stuck_after = math.inf
            reason = self._interrupter.wanted or CancelInterrupt("no longer wanted")
            self._on_stuck(attempt, reason)
        elif now >= attempt.times_out_at:
            limit_ms = attempt.envelope.payload.get("executionTimeoutMs", 0)
            attempt.times_out_at = math.inf
            self._stop(attempt, TimeoutInterrupt(f"ran longer than its time-out of {limit_ms} ms"))
        if now >= attempt.next_beat:
            # Also of an attempt that shall stop: the plane still waits for its report.
            attempt.next_beat = now + attempt.interval
            if self._orphaned():
                attempt.grace = min(attempt.grace, ORPHAN_GRACE_SECONDS)
                self._abandon(attempt, "the plane is gone")
            else:
                self._obey(attempt, self._beat(attempt))

    def _beat(self, attempt: Attempt) -> Answer:
        return self._client.heartbeat(
            attempt.envelope,
            attempt.worker_id,
            progress_pct=attempt.progress_pct,
            message=attempt.message,
        )

    def _obey(self, attempt: Attempt, answer: Answer) -> None:
        if isinstance(answer, CallbackResponse) and answer.should_cancel:
            self._stop(attempt, CancelInterrupt(answer.cancel_reason or "cancelled"))
        elif isinstance(answer, Refused) and answer.status in _OVER:
            self._abandon(attempt, f"{answer.error} ({answer.status})")

    def _abandon(self, attempt: Attempt, reason: str) -> None:
        if not attempt.settled:
            attempt.refused = True
        attempt.next_beat = math.inf
        self._stop(attempt, CancelInterrupt(reason))

    def _stop(self, attempt: Attempt, reason: Interrupted) -> None:
        # Under the lock that end() takes, so that it can not hit the attempt that comes next.
        with self._condition:
            if attempt is self._attempt and not attempt.settled:
                attempt.stuck_after = min(attempt.stuck_after, time.monotonic() + attempt.grace)
                self._interrupter.interrupt(reason)

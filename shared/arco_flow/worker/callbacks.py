"""Reports of one attempt to the plane: claimed, alive, over.

Every callback may be repeated: the plane folds it by its attempt and answers a repetition as it
answered the first. So what fails on the way is sent again, with the pauses that the plane asks
for or jittered exponential ones, until the budget of the kind is used up. A refusal (4xx) is an
answer, not a failure: the worker then stops without side effects.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from arco_flow.domain.envelope import (
    CallbackErrorPayload,
    CallbackResponse,
    CompletedRequest,
    DispatchEnvelope,
    HeartbeatRequest,
    StartedRequest,
)
from arco_flow.worker.connection import Connection, Trouble
from arco_flow.worker.http1 import Message

STARTED_BUDGET_SECONDS = 60.0
"""A claim that takes longer is worthless: the plane has long dispatched again."""
ORPHAN_BUDGET_SECONDS = 5.0
"""How long a worker whose plane hung up goes on trying: only a plane that is still closing can
listen, a new one has given the attempt to another worker."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 15.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Refused:
    """The plane says no: status, the protocol's error word, its message, the task's state."""

    status: int
    error: str
    message: str = ""
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer within the budget; reason says what the last try met."""

    reason: str


Answer = CallbackResponse | Refused | Unreachable

_encoder = msgspec.json.Encoder()
_accepted = msgspec.json.Decoder(CallbackResponse)
_refused = msgspec.json.Decoder(CallbackErrorPayload)


def _encode(message: object) -> bytes:
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        # User code wrote half of a surrogate pair, which has no UTF-8.
        text = json.dumps(msgspec.to_builtins(message), ensure_ascii=False)
        return text.encode("utf-8", "replace")


def utc_now() -> str:
    """Now, as the protocol writes times; only for people, the plane takes its own."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class CallbackClient:
    """Sends callbacks over one kept-alive connection; for one thread.

    orphaned: tells whether the plane that dispatched is gone, which shortens every budget.
    wait: sleeps a number of seconds (a test hands in a virtual clock together with `clock`).
    """

    def __init__(
        self,
        *,
        orphaned: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._orphaned = orphaned
        self._clock = clock
        self._wait = wait or threading.Event().wait
        self._connection = Connection(timeout_seconds, clock)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def started(self, envelope: DispatchEnvelope, worker_id: str) -> Answer:
        """Claim the attempt. Anything but CallbackResponse means: do not run it."""
        body = StartedRequest(
            attempt=envelope.attempt,
            attempt_id=envelope.attempt_id,
            worker_id=worker_id,
            traceparent=envelope.traceparent,
            started_at=utc_now(),
        )
        return self.send(envelope, "started", _encode(body), STARTED_BUDGET_SECONDS)

    def heartbeat(
        self,
        envelope: DispatchEnvelope,
        worker_id: str,
        *,
        progress_pct: int | None = None,
        message: str | None = None,
    ) -> Answer:
        """Say that the attempt is alive, once: the next heartbeat is the retry of this one."""
        body = HeartbeatRequest(
            attempt=envelope.attempt,
            attempt_id=envelope.attempt_id,
            worker_id=worker_id,
            traceparent=envelope.traceparent,
            heartbeat_at=utc_now(),
            progress_pct=progress_pct,
            message=message,
        )
        return self.send(envelope, "heartbeat", _encode(body), 0.0)

    def completed(
        self,
        envelope: DispatchEnvelope,
        report: CompletedRequest,
        *,
        budget_seconds: float | None = None,
    ) -> Answer:
        """Report the end, by default for as long as the attempt's token is valid."""
        budget = token_seconds(envelope) if budget_seconds is None else budget_seconds
        return self.send(envelope, "completed", _encode(report), budget)

    def send(
        self, envelope: DispatchEnvelope, kind: str, body: bytes, budget_seconds: float
    ) -> Answer:
        """POST one callback until it is answered, or until the budget is over."""
        base = envelope.callback_base_url.rstrip("/")
        url = f"{base}/v1/tasks/{quote(envelope.task_id, safe='')}/{kind}"
        headers = {"Authorization": f"Bearer {envelope.task_token}"}
        begun, tries = self._clock(), 0
        while True:
            pause, reason = 0.0, ""
            try:
                message = self._connection.post(url, headers, body)
                answer = read_answer(message)
                if answer is not None:
                    return answer
                pause, reason = retry_after(message), f"status {message.status}"
            except Trouble as error:
                reason = str(error)
            limit = budget_seconds
            if self._orphaned():
                limit = min(limit, ORPHAN_BUDGET_SECONDS)
            pause = max(pause, backoff(tries))
            tries += 1
            if self._clock() - begun + pause > limit:
                return Unreachable(f"{kind} not accepted within {limit:.0f} s: {reason}")
            self._wait(pause)


def read_answer(message: Message) -> CallbackResponse | Refused | None:
    """The plane's answer; None when the call should be repeated."""
    status = message.status
    if 200 <= status < 300:
        try:
            return _accepted.decode(message.body or b"{}")
        except msgspec.DecodeError:
            return None
    if status in _TRANSIENT or status >= 500:
        return None
    try:
        payload = _refused.decode(message.body)
    except msgspec.DecodeError:
        return Refused(status, "unreadable", message.body[:500].decode("utf-8", "replace"))
    return Refused(status, payload.error, payload.message, payload.state)


def retry_after(message: Message) -> float:
    """Seconds that the plane asks to wait, at most a minute; 0 when it does not say."""
    text = message.headers.get("retry-after", "")
    return min(float(text), 60.0) if text.isascii() and text.isdigit() else 0.0


def backoff(tries: int) -> float:
    """Pause before the next try in seconds: doubled each time, half of it by chance."""
    full = min(FIRST_PAUSE_SECONDS * 2.0 ** min(tries, 12), LONGEST_PAUSE_SECONDS)
    return full * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing


def token_seconds(envelope: DispatchEnvelope) -> float:
    """Seconds that the attempt's token is still valid; an hour when its end can not be read."""
    try:
        end = datetime.fromisoformat(envelope.token_expires_at)
    except ValueError:
        return 3600.0
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    return max(0.0, (end - datetime.now(UTC)).total_seconds())

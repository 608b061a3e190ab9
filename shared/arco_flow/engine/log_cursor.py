"""Where a reader of logs is: the place in the ledger it has reached, and the attempts that go on.

A token grows with the attempts that are under way and not with those of the run, and what it
says is read is never read again: to follow a run costs what is new in it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from arco_flow.domain.decision import APPLIED, Segment
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.events import TaskFinished, TaskStarted, TaskStateChanged
from arco_flow.domain.ids import attempt_id_of, dispatch_id_of
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.task import TaskState

_UNDER_WAY = frozenset({TaskState.DISPATCHED.name, TaskState.RUNNING.name})
_FAILURES = frozenset({TaskState.FAILED.name, TaskState.RETRY_WAIT.name})


class Reading(msgspec.Struct, array_like=True):
    """One attempt as far as it is read.

    task: its number in the plan. chunk: number of the last chunk that is read whole, 0 = none;
    rows: lines that are read of the one after it.
    """

    task: int
    attempt: int
    chunk: int = 0
    rows: int = 0


class LogCursor(msgspec.Struct, array_like=True):
    """version, index: the ledger line that comes next. open: attempts that were not over."""

    version: int = 0
    index: int = 0
    open: list[Reading] = []

    def token(self) -> str:
        """The cursor as text."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode()


def parse_cursor(token: str) -> LogCursor:
    """Inverse of token(); "" is the beginning. Raises InvalidInput."""
    if not token:
        return LogCursor()
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(token), type=LogCursor)
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidInput(
            "malformed page token", fix="start again without it", reason="BAD_PAGE_TOKEN"
        ) from error


class Attempts:
    """What the ledger, from a cursor on, says of attempts.

    started: those that are new, each with the place (version, index) of the line after it.
    ends: attempt id -> how it failed, "" when it did not, for all that are over.
    """

    def __init__(
        self,
        run_id: str,
        plan: PlanIndex,
        segments: Sequence[Segment],
        cursor: LogCursor,
        only: str,
    ) -> None:
        self._run_id = run_id
        self._plan = plan
        self._only = only
        self.started: list[tuple[Reading, tuple[int, int]]] = []
        self.ends: dict[str, str] = {}
        for segment in segments:
            first = cursor.index if segment.version == cursor.version else 0
            for index, entry in enumerate(segment.entries[first:], first):
                if entry.disposition == APPLIED or isinstance(entry.event.data, TaskStateChanged):
                    self._read(entry.event.data, (segment.version, index + 1))

    def id_of(self, task: str, attempt: int) -> str:
        """Id of an attempt."""
        return attempt_id_of(dispatch_id_of(self._run_id, task, attempt))

    def _read(self, data: object, after: tuple[int, int]) -> None:
        if isinstance(data, TaskStarted):
            self._start(data.task, data.attempt, after)
        elif isinstance(data, TaskFinished):
            self.ends[data.attempt_id] = _failure_text(data.error or {})
        elif isinstance(data, TaskStateChanged) and data.before in _UNDER_WAY:
            if data.after in _UNDER_WAY:
                return
            failed = data.after in _FAILURES
            if failed and data.before == TaskState.DISPATCHED.name:
                # It ended before a worker claimed it: there are no lines, but a reason.
                self._start(data.task, data.attempt, after)
            attempt_id = self.id_of(data.task, data.attempt)
            if not self.ends.get(attempt_id):
                self.ends[attempt_id] = data.reason if failed else ""

    def _start(self, task: str, attempt: int, after: tuple[int, int]) -> None:
        if self._only in ("", task):
            reading = Reading(self._plan.index_of[task], attempt)
            self.started.append((reading, after))


def _failure_text(error: dict[str, Any]) -> str:
    """The message, and the stack trace of user code where there is one; "" for a cancel."""
    if not error or error.get("category") == "CANCELLED":
        return ""
    message, trace = str(error.get("message", "")), str(error.get("stackTrace") or "").rstrip()
    if not trace:
        return f"{error.get('category', '')}: {message}"
    # The last line of most traces is the message.
    return trace if message and message in trace else f"{trace}\n{message}"

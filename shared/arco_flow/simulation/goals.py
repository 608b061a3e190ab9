"""What should happen sometimes: rare states that the histories must come by to prove anything.

A set of seeds that never reaches one of these is too tame, whatever its checks say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_SITES: Final = (
    "store.load",
    "store.inbox",
    "store.post",
    "store.commit",
    "store.rows",
    "store.document",
    "store.now_ms",
    "store.overdue",
    "store.acquire_lease",
    "tasks.enqueue",
    "tasks.enqueue_many",
    "objects.get",
    "objects.put_if_absent",
)
_WRITES: Final = (
    "store.post",
    "store.commit",
    "store.acquire_lease",
    "objects.put_if_absent",
    "objects.put_if_generation",
)
_STRIKES: Final = ("before", "after", "crash before", "crash after", "slow")
_QUEUES: Final = ("wakes", "timers", "worker")
_DELIVERIES: Final = ("late", "early", "duplicated", "dropped")

GOALS: Final[tuple[str, ...]] = (
    *(f"fault: {strike} {site}" for strike in _STRIKES for site in _SITES),
    *(f"fault: {delivery} queue {queue}" for delivery in _DELIVERIES for queue in _QUEUES),
    *(f"fault: {landing} {site}" for landing in ("landed", "echoed") for site in _WRITES),
    "fault: locked store.commit",
    "fault: overtaken store.commit",
    "fault: overtaken a fenced commit",
    "fault: overtaken objects.put_if_generation",
    "fault: throttled objects.put_if_generation",
    "fault: refused net",
    "fault: lost net",
    "fault: twice net",
    "fault: landed net",
    "fault: freeze process",
    "fault: kill process",
    "a lease changed hands",
    "a commit was fenced",
    "a sweep was asked for by the one before it",
    "applied LeadershipTaken",
    "an event waited in an inbox",
    "a task was retried",
    "a run became SUCCEEDED",
    "a run became FAILED",
    "a run became CANCELLING",
    "a run became CANCELLED",
    "a run became TIMED_OUT",
    "applied WorkersLost",
    "ledger: duplicate",
    "ledger: superseded",
    "ledger: overtaken",
    "ledger: confirmed",
    "ledger: claimed by worker",
    "ledger: task is CANCELLED",
    "ledger: another outcome was accepted",
    "ledger: the run key stands for another request",
    "ledger: run is cancelling already",
    "ledger: unknown event type RunAnnotated",
    "task: INFRASTRUCTURE",
    "task: TIMEOUT",
    "task: DATA_QUALITY",
    "task: USER_CODE",
    "task: forced",
    "task: upstream_failed",
    "refused: RUN_KEY_CONFLICT",
    "refused: DEPLOYMENT_OVERTAKEN",
    "refused: ATTEMPT_ALREADY_CLAIMED",
    "refused: ATTEMPT_ALREADY_COMPLETED",
    "refused: ATTEMPT_MISMATCH",
    "refused: TASK_ALREADY_TERMINAL",
    "refused: TASK_EXPIRED",
    "refused: OUTCOME_CONFLICT",
    "refused: RUN_NOT_CANCELLABLE",
    "refused: RUN_NOT_FOUND",
    "refused: TOKEN_SIGNATURE",
    "refused: PERMISSION_DENIED",
    "refused: UPSTREAM_NOT_MATERIALIZED",
)


def unreached(sometimes: Mapping[str, int], goals: Iterable[str] = GOALS) -> list[str]:
    """Goals that were never reached, in order."""
    return [goal for goal in goals if not sometimes.get(goal)]

"""The life of a task, as a table.

A task is one asset (and partition) within one run. Attempts are numbered 1, 2, 3…; a result
counts only for the current attempt. What is not in the table is refused, never guessed: the
fold turns a refusal into the disposition `ignored`.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from arco_flow.domain.errors import Conflict


class TaskState(IntEnum):
    """States of a task; the numbers are packed into a run's state and never change."""

    BLOCKED = 1
    READY = 2
    DISPATCHED = 3
    RUNNING = 4
    RETRY_WAIT = 5
    SKIPPED = 10
    CANCELLED = 11
    FAILED = 12
    SUCCEEDED = 13

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can happen to the task any more."""
        return self >= TaskState.SKIPPED


class TaskStimulus(StrEnum):
    """What can happen to a task."""

    UPSTREAM_SUCCEEDED = "upstream_succeeded"
    """The last upstream it waited for succeeded."""
    UPSTREAM_FAILED = "upstream_failed"
    """An upstream failed or was skipped."""
    UPSTREAM_CANCELLED = "upstream_cancelled"
    DISPATCHED = "dispatched"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The attempt failed and no retry is left or allowed."""
    FAILED_RETRYABLE = "failed_retryable"
    """The attempt failed and a retry is due later."""
    RETRY_DUE = "retry_due"
    CANCELLED = "cancelled"
    """The run was cancelled or timed out, or the worker says that the attempt was."""


_S = TaskState
_E = TaskStimulus

TASK_TRANSITIONS: dict[tuple[TaskState, TaskStimulus], TaskState] = {
    (_S.BLOCKED, _E.UPSTREAM_SUCCEEDED): _S.READY,
    (_S.BLOCKED, _E.UPSTREAM_FAILED): _S.SKIPPED,
    (_S.BLOCKED, _E.UPSTREAM_CANCELLED): _S.CANCELLED,
    (_S.BLOCKED, _E.CANCELLED): _S.CANCELLED,
    (_S.READY, _E.DISPATCHED): _S.DISPATCHED,
    (_S.READY, _E.CANCELLED): _S.CANCELLED,
    (_S.DISPATCHED, _E.STARTED): _S.RUNNING,
    # A completion may overtake its start, or the start may be lost for good.
    (_S.DISPATCHED, _E.SUCCEEDED): _S.SUCCEEDED,
    (_S.DISPATCHED, _E.FAILED): _S.FAILED,
    (_S.DISPATCHED, _E.FAILED_RETRYABLE): _S.RETRY_WAIT,
    (_S.DISPATCHED, _E.CANCELLED): _S.CANCELLED,
    (_S.RUNNING, _E.SUCCEEDED): _S.SUCCEEDED,
    (_S.RUNNING, _E.FAILED): _S.FAILED,
    (_S.RUNNING, _E.FAILED_RETRYABLE): _S.RETRY_WAIT,
    (_S.RUNNING, _E.CANCELLED): _S.CANCELLED,
    (_S.RETRY_WAIT, _E.RETRY_DUE): _S.READY,
    (_S.RETRY_WAIT, _E.CANCELLED): _S.CANCELLED,
}
"""(state, stimulus) -> next state; a pair that is absent is refused."""


def next_task_state(state: TaskState, stimulus: TaskStimulus) -> TaskState:
    """The state after a stimulus. Raises Conflict for a pair that the table does not hold."""
    after = TASK_TRANSITIONS.get((state, stimulus))
    if after is None:
        raise Conflict(
            f"a {state.name} task can not take '{stimulus.value}'",
            reason="INVALID_TASK_TRANSITION",
            details={"state": state.name, "stimulus": stimulus.value},
        )
    return after

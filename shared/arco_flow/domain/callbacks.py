"""How a worker's callback is answered, given the state of its run: a pure table of cases.

| state of the task        | started              | heartbeat          | completed              |
|--------------------------|----------------------|--------------------|------------------------|
| dispatched               | accept               | accept             | accept                 |
| running, same worker     | accept (again)       | accept             | accept                 |
| running, another worker  | 409 claimed          | 409 claimed        | 409 claimed            |
| retry wait, same attempt | 409 completed        | 410 expired        | 200 if equal, else 409 |
| ready again, same attempt| 409 completed        | 410 expired        | 200 if equal, else 409 |
| terminal, same attempt   | 409 terminal         | 410 expired        | 200 if equal, else 409 |
| another attempt          | 409 mismatch         | 409 mismatch       | 409 mismatch           |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from arco_flow.domain.errors import ArcoError, Conflict, Gone, NotFound
from arco_flow.domain.events import TaskFinished, TaskHeartbeat
from arco_flow.domain.ids import attempt_id_of, dispatch_id_of
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.run import Run, RunState
from arco_flow.domain.run_decide import AttemptEvent, digest_bytes
from arco_flow.domain.task import TaskState


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a callback is answered that is not refused. duplicate: it was accepted before; answer as
    then. final_state: of the task, when the callback told its end."""

    duplicate: bool = False
    should_cancel: bool = False
    cancel_reason: str | None = None
    final_state: str | None = None


def judge_callback(run: Run, plan: PlanIndex, data: AttemptEvent) -> Verdict:
    """Accept, recognise as a duplicate, or refuse. Raises NotFound, Conflict, Gone."""
    index = plan.index_of.get(data.task)
    if index is None:
        raise NotFound(
            f"no task '{data.task}' in run {run.run_id}",
            reason="TASK_NOT_FOUND",
            details={"error": "task_not_found"},
        )
    _check_attempt(run, plan, index, data)
    state = TaskState(run.states[index])
    if state in (TaskState.DISPATCHED, TaskState.RUNNING):
        return _current(run, index, data)
    return _over(run, index, state, data)


def judge_folded(run: Run, plan: PlanIndex, data: TaskFinished, first: Verdict) -> Verdict:
    """The answer to an end that has just been folded: what came before it in the batch counts.

    first: as it was judged before the fold. Raises as `judge_callback` when it was ignored.
    """
    index = plan.index_of[data.task]
    if run.digests[8 * index : 8 * index + 8] != digest_bytes(data.digest):
        return judge_callback(run, plan, data)
    is_cancelled = TaskState(run.states[index]) is TaskState.CANCELLED
    return replace(first, final_state="CANCELLED") if is_cancelled else first


def _check_attempt(run: Run, plan: PlanIndex, index: int, data: AttemptEvent) -> None:
    state = TaskState(run.states[index]).name
    current = run.attempts[index]
    if data.attempt != current:
        raise _refused(
            Conflict,
            "attempt_mismatch",
            f"attempt {data.attempt} is not current",
            state,
            expectedAttempt=current,
            receivedAttempt=data.attempt,
        )
    expected = attempt_id_of(dispatch_id_of(run.run_id, plan.shorts[index], current))
    if data.attempt_id != expected:
        raise _refused(
            Conflict,
            "attempt_id_mismatch",
            "the attempt id is not the current one",
            state,
            expectedAttempt=current,
            receivedAttempt=data.attempt,
            expectedAttemptId=expected,
            receivedAttemptId=data.attempt_id,
        )


def _current(run: Run, index: int, data: AttemptEvent) -> Verdict:
    live = run.live[index]
    if live.worker_id and live.worker_id != data.worker_id:
        raise _refused(
            Conflict,
            "attempt_already_claimed",
            f"the attempt belongs to worker {live.worker_id}",
            TaskState(run.states[index]).name,
        )
    cancelling = run.state == RunState.CANCELLING
    final = None
    if isinstance(data, TaskFinished):
        final = "CANCELLED" if cancelling else data.outcome
    reason = None
    if cancelling:
        reason = "run_timeout" if run.timed_out else "user_requested"
    return Verdict(should_cancel=cancelling, cancel_reason=reason, final_state=final)


def _over(run: Run, index: int, state: TaskState, data: AttemptEvent) -> Verdict:
    if isinstance(data, TaskHeartbeat):
        raise _refused(Gone, "task_expired", f"the attempt is over: {state.name}", state.name)
    accepted = run.digests[8 * index : 8 * index + 8]
    if isinstance(data, TaskFinished) and accepted == digest_bytes(data.digest):
        cancelled = state is TaskState.CANCELLED
        return Verdict(duplicate=True, final_state="CANCELLED" if cancelled else data.outcome)
    if state in (TaskState.RETRY_WAIT, TaskState.READY):
        raise _refused(
            Conflict, "attempt_already_completed", "the attempt failed already", state.name
        )
    raise _refused(Conflict, "task_already_terminal", f"the task is {state.name}", state.name)


def _refused(
    kind: type[ArcoError], error: str, message: str, state: str, **details: Any
) -> ArcoError:
    return kind(message, reason=error.upper(), details={"error": error, "state": state, **details})

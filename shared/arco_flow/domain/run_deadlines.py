"""All deadlines of a run behind its one timer.

The timer is armed for the earliest of them; when it fires, whatever is due is dealt with and
it is armed again. A heartbeat moves its deadline without touching the timer: an early firing
finds nothing due and re-arms, which costs one fold instead of one per heartbeat.
"""

from __future__ import annotations

import msgspec

from arco_flow.domain.durations import MAX_DURATION_MS
from arco_flow.domain.effects import DispatchAttempt, SetTimer
from arco_flow.domain.retry import ErrorCategory, RetryPolicy, delay_ms, should_retry
from arco_flow.domain.run import Live, RunState, RunStimulus
from arco_flow.domain.run_fold import RunFold
from arco_flow.domain.task import TaskState, TaskStimulus

REDISPATCH_MS = 10 * 60 * 1000
"""A dispatch that nobody started is sent again after this, then after twice as long, …: a queue
keeps a task for days, so a repair is for a lost one, and the attempt guard absorbs a double."""

EXECUTION_SLACK_MS = 5_000
"""The worker itself enforces the execution time-out; the plane steps in this much later."""

NO_RETRY = RetryPolicy(max_retries=0)


def fail_attempt(
    fold: RunFold,
    index: int,
    category: str,
    message: str,
    types: tuple[str, ...] = (),
    retryable: bool | None = None,
    retry_after_ms: int | None = None,
    max_retries: int | None = None,
) -> None:
    """End the current attempt as failed: wait for a retry, or fail the task.

    retryable, retry_after_ms, max_retries: what the user code asked for, see TaskError.
    """
    policy = fold.plan.retry(index) or NO_RETRY
    attempt = fold.attempts[index] - fold.losses.get(index, 0)
    again = fold.state is RunState.RUNNING and should_retry(
        policy, attempt, category, types, retryable=retryable, max_retries=max_retries
    )
    if not again:
        fold.move(index, TaskStimulus.FAILED, f"{category}: {message}")
        return
    wait = retry_after_ms
    if wait is None:
        wait = delay_ms(policy, attempt, fold.attempt_id(index))
    # A policy's waits are bounded as far as its own number of retries reaches, and what user code
    # asks for is bounded by nothing.
    wait = min(wait, MAX_DURATION_MS)
    fold.move(index, TaskStimulus.FAILED_RETRYABLE, f"{category}: {message}")
    if wait <= 0:
        fold.move(index, TaskStimulus.RETRY_DUE)
    else:
        fold.retry_due[index] = fold.now_ms + wait


LOSSES_MAX = 20
"""Free requeues of one task: beyond them the task itself may be what kills the plane."""


def lose_attempt(fold: RunFold, index: int, message: str) -> None:
    """End the current attempt as lost by the plane: the task goes on with the next one."""
    if fold.state is not RunState.RUNNING:
        fold.move(index, TaskStimulus.CANCELLED, fold.cancel_reason)
        return
    losses = fold.losses.get(index, 0)
    if losses >= LOSSES_MAX:
        fail_attempt(fold, index, ErrorCategory.INFRASTRUCTURE, message)
        return
    fold.losses[index] = losses + 1
    fold.move(index, TaskStimulus.FAILED_RETRYABLE, message)
    fold.move(index, TaskStimulus.RETRY_DUE)


def next_deadline(fold: RunFold, index: int, live: Live) -> int:
    """When the plane must look at an attempt in flight."""
    timeouts = fold.plan.spec(index).timeouts
    if fold.states[index] == TaskState.DISPATCHED:
        repair = live.dispatched_ms + (REDISPATCH_MS << live.generation)
        return min(repair, live.dispatched_ms + timeouts.start_ms) if timeouts.start_ms else repair
    silent = max(live.heartbeat_ms, live.started_ms) + timeouts.heartbeat_ms
    if timeouts.execution_ms:
        silent = min(silent, live.started_ms + timeouts.execution_ms + EXECUTION_SLACK_MS)
    if fold.cancel_requested_ms:
        silent = min(silent, fold.cancel_requested_ms + fold.run.cancel_grace_ms)
    return silent


def meet_deadlines(fold: RunFold) -> None:
    """Deal with everything that is due now."""
    run = fold.run
    expired = run.deadline_ms and fold.now_ms >= run.deadline_ms
    if expired and fold.state in (RunState.QUEUED, RunState.RUNNING):
        fold.timed_out = True
        fold.wind_up(RunStimulus.DEADLINE_PASSED, "run time-out")
    for index, due_ms in list(fold.retry_due.items()):
        if due_ms <= fold.now_ms and fold.states[index] == TaskState.RETRY_WAIT:
            fold.move(index, TaskStimulus.RETRY_DUE)
    for index, live in list(fold.live.items()):
        if index in fold.live and next_deadline(fold, index, live) <= fold.now_ms:
            _overdue(fold, index, live)


def _overdue(fold: RunFold, index: int, live: Live) -> None:
    timeouts = fold.plan.spec(index).timeouts
    if fold.states[index] == TaskState.DISPATCHED:
        _not_started(fold, index, live)
        return
    grace_over = (
        fold.cancel_requested_ms
        and fold.now_ms >= fold.cancel_requested_ms + fold.run.cancel_grace_ms
    )
    if grace_over:
        fold.stop(index, "cancel grace over")
        fold.move(index, TaskStimulus.CANCELLED, f"forced: {fold.cancel_reason}")
        return
    spent = timeouts.execution_ms and fold.now_ms >= live.started_ms + timeouts.execution_ms
    if spent:
        fold.stop(index, "execution time-out")
        message = f"execution took longer than {timeouts.execution_ms} ms"
        fail_attempt(fold, index, ErrorCategory.TIMEOUT, message)
        return
    fold.stop(index, "heartbeat lost")
    message = f"zombie: worker {live.worker_id} silent for {timeouts.heartbeat_ms} ms"
    fail_attempt(fold, index, ErrorCategory.INFRASTRUCTURE, message)


def _not_started(fold: RunFold, index: int, live: Live) -> None:
    start_ms = fold.plan.spec(index).timeouts.start_ms
    if start_ms and fold.now_ms >= live.dispatched_ms + start_ms:
        message = f"no worker started it within {start_ms} ms"
        fail_attempt(fold, index, ErrorCategory.TIMEOUT, message)
        return
    generation = live.generation + 1
    fold.touched.add(index)
    fold.live[index] = msgspec.structs.replace(live, generation=generation)
    fold.effects.append(DispatchAttempt(fold.run.run_id, index, fold.attempts[index], generation))


def arm_timer(fold: RunFold, entity: str) -> None:
    """Arm the one timer for the earliest deadline, unless it is armed for as early a time."""
    if fold.state.is_terminal:
        return
    # An armed timer is as early as all deadlines that it was armed over; only what changed in
    # this batch can be earlier. One that has just fired is armed over all again.
    changed = fold.touched if fold.timer_ms else fold.live.keys() | fold.retry_due.keys()
    due = [next_deadline(fold, i, fold.live[i]) for i in changed if i in fold.live]
    due.extend(fold.retry_due[i] for i in changed if i in fold.retry_due)
    if fold.run.deadline_ms and fold.state is not RunState.CANCELLING and not fold.timer_ms:
        due.append(fold.run.deadline_ms)
    if not due:
        return
    earliest = max(min(due), fold.now_ms)
    if fold.timer_ms and fold.timer_ms <= earliest:
        return
    fold.timer_generation += 1
    fold.timer_ms = earliest
    fold.effects.append(SetTimer(entity, fold.timer_generation, earliest))

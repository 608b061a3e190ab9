"""`decide` of a run: the batch order, one handler per event, and how a run is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from arco_flow.domain.decision import Decision
from arco_flow.domain.effects import SendEvent
from arco_flow.domain.envelope import TaskError
from arco_flow.domain.events import (
    CallbackDuplicated,
    Event,
    PlanCreated,
    PromotionRequested,
    RunCancelRequested,
    RunKeyConflicted,
    RunRequested,
    RunTriggered,
    TaskFinished,
    TaskHeartbeat,
    TaskStarted,
    TimerFired,
    WorkersLost,
    event_type,
)
from arco_flow.domain.ids import Scope, asset_entity, run_entity
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.retry import ErrorCategory
from arco_flow.domain.run import Live, Run, RunState, RunStimulus
from arco_flow.domain.run_deadlines import (
    arm_timer,
    fail_attempt,
    lose_attempt,
    meet_deadlines,
)
from arco_flow.domain.run_fold import RunFold
from arco_flow.domain.task import TaskState, TaskStimulus

ORDER_VERSION = 1
"""Version of the order within a batch; written into every ledger segment."""

_RANKS: dict[type, int] = {
    RunRequested: 0,
    RunTriggered: 1,
    PlanCreated: 2,
    RunCancelRequested: 3,
    TaskStarted: 4,
    TaskHeartbeat: 5,
    TaskFinished: 6,
    TimerFired: 9,
}
_OTHER = 7

MAX_REASON_CHARS = 300
"""Of a reason that others give: how much of it is kept in the lines of the tasks that it ends."""


def batch_order(event: Event) -> tuple[int, str]:
    """Sort key of a batch: cancel, started, finished, others, timers; then event id."""
    return (_RANKS.get(type(event.data), _OTHER), event.id)


def decide_run(run: Run, plan: PlanIndex, events: Sequence[Event], now_ms: int) -> Decision[Run]:
    """Fold a batch into a run.

    Total: whatever arrives, late, double or unknown, gets a disposition and never an exception.
    """
    fold = RunFold(run, plan, now_ms)
    for event in sorted(events, key=batch_order):
        handler = _HANDLERS.get(type(event.data))
        if handler is None:
            fold.ignored(event, f"unknown event type {event_type(event.data)}")
        else:
            handler(fold, event)
    return _closed(fold)


def _closed(fold: RunFold) -> Decision[Run]:
    if not fold.entries:
        return Decision(fold.run)
    fold.dispatch_ready()
    fold.finish_if_over()
    scope = Scope(fold.plan.plan.tenant_id, fold.plan.plan.workspace_id)
    arm_timer(fold, str(run_entity(scope, fold.run.run_id)))
    return Decision(fold.frozen(), tuple(fold.entries), tuple(fold.effects))


def open_run(
    seed: Run, plan: PlanIndex, request: Event, triggered: Event, planned: Event
) -> Decision[Run]:
    """The first decision of a run: requested, triggered, planned, admitted and dispatching.

    seed: from `new_run`; its created_ms is the time of the decision.
    """
    fold = RunFold(seed, plan, seed.created_ms)
    fold.applied(request)
    fold.applied(triggered)
    fold.applied(planned)
    fold.move_run(RunStimulus.ADMITTED)
    return _closed(fold)


def new_run(plan: PlanIndex, **fields: Any) -> Run:
    """A queued run over a plan: tasks without upstream are ready, the others blocked."""
    count = len(plan.plan.tasks)
    waiting = [len(upstream) for upstream in plan.upstream]
    states = bytes(TaskState.BLOCKED if number else TaskState.READY for number in waiting)
    return Run(
        state=RunState.QUEUED.value,
        plan_id=plan.plan_id,
        manifest_id=plan.plan.manifest_id,
        code_version_id=plan.plan.code_version_id,
        catalog_snapshot_id=plan.plan.catalog_snapshot_id,
        states=states,
        attempts=bytes(count),
        waiting=waiting,
        started_ms=[-1] * count,
        ended_ms=[-1] * count,
        digests=bytes(8 * count),
        **fields,
    )


# -- handlers -----------------------------------------------------------------------------


def _on_cancel(fold: RunFold, event: Event) -> None:
    assert isinstance(event.data, RunCancelRequested)
    if fold.state.is_terminal:
        fold.ignored(event, f"run is {fold.state.value}")
    elif fold.state is RunState.CANCELLING:
        fold.ignored(event, "run is cancelling already")
    else:
        fold.applied(event)
        # Cut, because each task that it ends tells it in a line of its own.
        reason = (event.data.reason or "cancelled")[:MAX_REASON_CHARS]
        fold.wind_up(RunStimulus.CANCEL_REQUESTED, reason)


AttemptEvent = TaskStarted | TaskHeartbeat | TaskFinished


def refusal(fold: RunFold, data: AttemptEvent) -> str | None:
    """Why an event of an attempt does not count, or None when the attempt is current."""
    index = fold.plan.index_of.get(data.task)
    if index is None:
        return "unknown task"
    if data.attempt != fold.attempts[index] or data.attempt_id != fold.attempt_id(index):
        return f"stale attempt: {fold.attempts[index]} is current"
    state = TaskState(fold.states[index])
    if state in (TaskState.DISPATCHED, TaskState.RUNNING):
        return None
    if isinstance(data, TaskFinished):
        same = fold.digests[8 * index : 8 * index + 8] == digest_bytes(data.digest)
        return "duplicate" if same else f"another outcome was accepted: task is {state.name}"
    return f"task is {state.name}"


def _on_started(fold: RunFold, event: Event) -> None:
    data = event.data
    assert isinstance(data, TaskStarted)
    reason = refusal(fold, data)
    if reason is not None:
        fold.ignored(event, reason)
        return
    index = fold.plan.index_of[data.task]
    live = fold.live[index]
    if fold.states[index] == TaskState.RUNNING:
        mine = live.worker_id == data.worker_id
        fold.ignored(event, "duplicate" if mine else f"claimed by worker {live.worker_id}")
        return
    fold.applied(event)
    fold.live[index] = msgspec.structs.replace(
        live, worker_id=data.worker_id, started_ms=event.time_ms, heartbeat_ms=event.time_ms
    )
    fold.started_ms[index] = event.time_ms - fold.run.created_ms
    fold.move(index, TaskStimulus.STARTED)


def _on_heartbeat(fold: RunFold, event: Event) -> None:
    data = event.data
    assert isinstance(data, TaskHeartbeat)
    reason = refusal(fold, data)
    index = fold.plan.index_of.get(data.task, -1)
    if reason is None and fold.states[index] != TaskState.RUNNING:
        reason = "not started"
    if reason is None and fold.live[index].worker_id != data.worker_id:
        reason = f"claimed by worker {fold.live[index].worker_id}"
    if reason is not None:
        fold.ignored(event, reason)
        return
    fold.applied(event)
    live: Live = fold.live[index]
    fold.live[index] = msgspec.structs.replace(
        live,
        heartbeat_ms=max(live.heartbeat_ms, event.time_ms),
        progress_pct=data.progress_pct if data.progress_pct is not None else live.progress_pct,
        message=data.message or live.message,
    )


def _on_finished(fold: RunFold, event: Event) -> None:
    data = event.data
    assert isinstance(data, TaskFinished)
    reason = refusal(fold, data)
    index = fold.plan.index_of.get(data.task, -1)
    if reason is None and fold.states[index] == TaskState.RUNNING:
        holder = fold.live[index].worker_id
        reason = None if holder == data.worker_id else f"claimed by worker {holder}"
    if reason is not None:
        fold.ignored(event, reason)
        return
    fold.applied(event)
    fold.digests[8 * index : 8 * index + 8] = digest_bytes(data.digest)
    _conclude(fold, index, event, data)


def _conclude(fold: RunFold, index: int, event: Event, data: TaskFinished) -> None:
    """Apply an accepted completion. Cancel wins over a success and over a retry."""
    if fold.state is RunState.CANCELLING:
        fold.move(index, TaskStimulus.CANCELLED, fold.cancel_reason)
    elif data.outcome == "CANCELLED":
        fold.move(index, TaskStimulus.CANCELLED, "cancelled by its worker")
    elif data.outcome == "SUCCEEDED" and not _blocked_by_check(data.checks):
        _promote(fold, index, event, data)
        fold.move(index, TaskStimulus.SUCCEEDED)
    else:
        failure = _failure(data)
        fail_attempt(
            fold,
            index,
            failure.category,
            failure.message[:MAX_REASON_CHARS],
            tuple(failure.types),
            failure.retryable,
            failure.retry_after_ms,
            failure.max_retries,
        )


def _failure(data: TaskFinished) -> TaskError:
    """Why an attempt failed. What another version has written otherwise is still a failure."""
    if data.outcome == "SUCCEEDED":
        return TaskError(category=ErrorCategory.DATA_QUALITY, message="a blocking check failed")
    error = data.error or {}
    category = error.get("category") or ErrorCategory.USER_CODE
    try:
        return msgspec.convert({"message": "", **error, "category": category}, TaskError)
    except msgspec.ValidationError as problem:
        return TaskError(category=ErrorCategory.USER_CODE, message=f"unknown error: {problem}")


def _blocked_by_check(checks: Sequence[Mapping[str, Any]] | None) -> bool:
    """Whether a blocking check of severity error did not pass: the plane's own second look."""
    return any(
        c.get("blocking") and not c.get("passed") and c.get("severity", "error") == "error"
        for c in checks or ()
    )


def _promote(fold: RunFold, index: int, event: Event, data: TaskFinished) -> None:
    plan = fold.plan.plan
    task = plan.tasks[index]
    key = plan.assets[task.asset]
    target = str(asset_entity(Scope(plan.tenant_id, plan.workspace_id), key))
    request = Event(
        id=f"promote:{data.attempt_id}",
        time_ms=fold.now_ms,
        subject=target,
        data=PromotionRequested(
            partition=task.partition,
            partition_name=task.name,
            run_id=fold.run.run_id,
            attempt_id=data.attempt_id,
            accepted_ms=fold.now_ms,
            code_version_id=fold.plan.specs[task.asset].code_version,
            output=data.output or {},
        ),
        actor=event.actor,
        correlation=fold.run.run_id,
        causation=event.id,
    )
    fold.effects.append(SendEvent.of(target, request))


def _on_workers_lost(fold: RunFold, event: Event) -> None:
    """Requeue what the dead plane's workers held. A dispatch that nobody claimed stays queued."""
    assert isinstance(event.data, WorkersLost)
    prefix = event.data.survivors_prefix
    held = [
        index
        for index, live in fold.live.items()
        if live.worker_id and not live.worker_id.startswith(prefix)
    ]
    if not held:
        fold.ignored(event, "no attempt was held by a lost worker")
        return
    fold.applied(event)
    for index in held:
        worker = fold.live[index].worker_id
        lose_attempt(fold, index, f"INFRASTRUCTURE: worker {worker} died with its plane")


def _on_duplicated(fold: RunFold, event: Event) -> None:
    fold.ignored(event, "duplicate")


def _on_key_conflict(fold: RunFold, event: Event) -> None:
    fold.ignored(event, "the run key stands for another request")


def _on_timer(fold: RunFold, event: Event) -> None:
    assert isinstance(event.data, TimerFired)
    if event.data.generation != fold.timer_generation or fold.state.is_terminal:
        fold.ignored(event, f"stale timer: generation {fold.timer_generation} is current")
        return
    fold.applied(event)
    fold.timer_ms = 0
    meet_deadlines(fold)


_HANDLERS: dict[type, Callable[[RunFold, Event], None]] = {
    RunCancelRequested: _on_cancel,
    TaskStarted: _on_started,
    TaskHeartbeat: _on_heartbeat,
    TaskFinished: _on_finished,
    CallbackDuplicated: _on_duplicated,
    RunKeyConflicted: _on_key_conflict,
    WorkersLost: _on_workers_lost,
    TimerFired: _on_timer,
}


def digest_bytes(digest: str) -> bytes:
    """The 8 bytes of a body digest (hex) that a run keeps per task; of other text, of its own."""
    try:
        return bytes.fromhex(digest[:16]).ljust(8, b"\0")
    except ValueError:
        return hashlib.sha256(digest.encode()).digest()[:8]

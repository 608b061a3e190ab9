"""A worker reports: started, heartbeat or completed, guarded by its attempt token."""

from __future__ import annotations

from typing import Any

import msgspec

from arco_flow.domain.callbacks import Verdict, judge_callback, judge_folded
from arco_flow.domain.envelope import (
    CallbackResponse,
    CompletedRequest,
    HeartbeatRequest,
    StartedRequest,
)
from arco_flow.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge
from arco_flow.domain.events import (
    CallbackDuplicated,
    Event,
    TaskFinished,
    TaskHeartbeat,
    TaskStarted,
    decode_event,
    encode_event,
)
from arco_flow.domain.ids import Entity, Scope, parse_callback_task_id, run_entity
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.run import Run
from arco_flow.domain.run_decide import AttemptEvent
from arco_flow.domain.tokens import AttemptClaims, verify_attempt_token
from arco_flow.domain.wire import depth_of, sha256_hex
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import post_and_wake, record
from arco_flow.engine.objects import load_plan, load_run
from arco_flow.engine.present import stamp
from arco_flow.ports.log_context import follow_trace, label_logs
from arco_flow.ports.store import Posted

MAX_REPORT_BYTES = 512 * 1024
"""Of one report: it becomes an inbox item and a line of a ledger segment."""
MAX_OUTPUT_BYTES = 128 * 1024
"""Of what a report says of its output: on its way to the catalog it stands in the run's head."""
MAX_REPORT_DEPTH = 32
"""Of lists and objects inside each other in one report: what is stored is read again by processes
whose stack may be deeper than the one that took it."""
MAX_WORKER_ID_CHARS = 256
"""It stands in the head of its run, once for each attempt in flight."""
OUTCOMES = ("SUCCEEDED", "FAILED", "CANCELLED")


async def record_callback(
    engine: Engine, task_id: str, verb: str, token: str, raw_body: bytes
) -> CallbackResponse:
    """Check the token, judge the callback against the run, record it, answer.

    verb: started, heartbeat or completed. A completion that was accepted before is answered as
    then and recorded as a duplicate. Raises Unauthenticated, Forbidden, InvalidInput, NotFound,
    Conflict, Gone; their details hold the fields of CallbackErrorPayload.
    """
    claims = admit_callback(engine, task_id, token)
    run_id, task = parse_callback_task_id(task_id)
    scope = Scope(claims.tenant, claims.workspace)
    data = parse_callback(verb, task, raw_body)
    _check_claims(claims, data)
    entity = run_entity(scope, run_id)
    verdict = await _judge(engine, entity, data)
    now_ms = await engine.store.now_ms()
    event = _event(entity, data, now_ms)
    if verdict.duplicate:
        await _record_duplicate(engine, entity, data, verb, now_ms)
    elif isinstance(data, TaskStarted):
        await _record_start(engine, entity, event)
    elif isinstance(data, TaskHeartbeat):
        # Overwrites the attempt's last one and wakes nobody: it is folded with what comes next.
        await engine.store.post(str(entity), event.id, encode_event(event), replace=True)
    else:
        verdict = await _record_finish(engine, entity, event, data, verdict)
    return _response(verdict, now_ms)


def admit_callback(engine: Engine, task_id: str, token: str) -> AttemptClaims:
    """What a token speaks for, which must be this task: all that can be asked of a caller before
    its report is read. Raises Unauthenticated, Forbidden."""
    claims = _claims(engine, token)
    if claims.task_id != task_id:
        raise Forbidden("the token is of another task", details={"error": "wrong_task"})
    run_id, task = parse_callback_task_id(task_id)
    label_logs(Scope(claims.tenant, claims.workspace), run=run_id, task=task)
    return claims


def _claims(engine: Engine, token: str) -> AttemptClaims:
    """What a token speaks for. One that was verified before is verified no more, but for its end:
    an attempt shows the same one with every report."""
    now_ms = engine.clock.now_ms()
    known = engine.memory.claims.get(token)
    if known is not None and now_ms < known.expires_ms:
        return known
    claims = verify_attempt_token(engine.token_secret, token, now_ms)
    return engine.memory.claims.put(token, claims)


def parse_callback(verb: str, task: str, raw: bytes) -> AttemptEvent:
    """The event that a callback body reports. Raises InvalidInput, TooLarge."""
    if len(raw) > MAX_REPORT_BYTES:
        raise _too_large("report", len(raw), MAX_REPORT_BYTES)
    try:
        if verb == "started":
            s = msgspec.json.decode(raw, type=StartedRequest)
            data: AttemptEvent = TaskStarted(task, s.attempt, s.attempt_id, s.worker_id)
        elif verb == "heartbeat":
            data = _heartbeat(task, msgspec.json.decode(raw, type=HeartbeatRequest))
        elif verb == "completed":
            data = _finished(task, msgspec.json.decode(raw, type=CompletedRequest))
        else:
            raise NotFound(f"no callback '{verb}'", details={"error": "not_found"})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"malformed {verb} callback: {error}") from error
    if data.attempt < 1 or not data.attempt_id or not data.worker_id:
        raise _invalid("attempt must be 1 or more; attemptId and workerId must not be empty")
    if len(data.worker_id) > MAX_WORKER_ID_CHARS:
        raise _invalid(f"workerId is longer than {MAX_WORKER_ID_CHARS} characters")
    return data


def _heartbeat(task: str, h: HeartbeatRequest) -> TaskHeartbeat:
    if h.progress_pct is not None and not 0 <= h.progress_pct <= 100:
        raise _invalid(f"progressPct is {h.progress_pct}; it must be between 0 and 100")
    message = h.message[:500] if h.message else None
    return TaskHeartbeat(task, h.attempt, h.attempt_id, h.worker_id, h.progress_pct, message)


def _finished(task: str, c: CompletedRequest) -> TaskFinished:
    if c.outcome not in OUTCOMES:
        raise _invalid(f"outcome '{c.outcome}' is none of {', '.join(OUTCOMES)}")
    if c.outcome == "FAILED" and c.error is None:
        raise _invalid("a FAILED outcome needs an error")
    if depth_of([c.output, c.metrics, c.checks]) > MAX_REPORT_DEPTH:
        raise _invalid(f"the report is nested deeper than {MAX_REPORT_DEPTH} levels")
    size = len(msgspec.json.encode(c.output)) if c.output else 0
    if size > MAX_OUTPUT_BYTES:
        raise _too_large("output", size, MAX_OUTPUT_BYTES)
    error: dict[str, Any] | None = msgspec.to_builtins(c.error) if c.error else None
    told = [c.outcome, c.attempt_id, c.output, error, c.checks]
    digest = sha256_hex(msgspec.json.encode(told, order="sorted"))[:32]
    return TaskFinished(
        task=task,
        attempt=c.attempt,
        attempt_id=c.attempt_id,
        worker_id=c.worker_id,
        outcome=c.outcome,
        digest=digest,
        output=c.output,
        error=error,
        metrics=c.metrics,
        checks=c.checks,
    )


def _too_large(what: str, size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"the {what} of a completion takes {size:,} bytes; at most {limit:,} are kept",
        fix="leave large content in the version's _commit",
        details={"error": "invalid_argument"},
    )


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, details={"error": "invalid_argument"})


def _check_claims(claims: AttemptClaims, data: AttemptEvent) -> None:
    if (claims.attempt, claims.attempt_id) != (data.attempt, data.attempt_id):
        raise Conflict(
            "the token is of another attempt",
            reason="ATTEMPT_MISMATCH",
            details={
                "error": "attempt_mismatch",
                "expectedAttempt": claims.attempt,
                "receivedAttempt": data.attempt,
                "expectedAttemptId": claims.attempt_id,
                "receivedAttemptId": data.attempt_id,
            },
        )


async def _judge(engine: Engine, entity: Entity, data: AttemptEvent) -> Verdict:
    return judge_callback(*await _load(engine, entity), data)


async def _load(engine: Engine, entity: Entity) -> tuple[Run, PlanIndex]:
    head = await engine.store.load(str(entity))
    if head is None:
        raise NotFound(f"no run '{entity.name}'", details={"error": "task_not_found"})
    run = load_run(engine, head)
    follow_trace(run.run_id, run.traceparent)
    return run, await load_plan(engine, entity.scope, run.plan_id)


def _event(entity: Entity, data: AttemptEvent, now_ms: int) -> Event:
    return Event(
        id=_event_id(data),
        time_ms=now_ms,
        subject=str(entity),
        data=data,
        actor=f"worker:{data.worker_id}",
        correlation=entity.name,
    )


def _event_id(data: AttemptEvent) -> str:
    """One claim and one sign of life per attempt, and one end per worker that tells of it: until
    the claim is folded nobody knows whose end counts, so a loser's must not stand in the way."""
    if isinstance(data, TaskFinished):
        return f"{data.attempt_id}:finished:{sha256_hex(data.worker_id.encode())[:12]}"
    return f"{data.attempt_id}:{'started' if isinstance(data, TaskStarted) else 'heartbeat'}"


async def _record_start(engine: Engine, entity: Entity, event: Event) -> None:
    """Claim the attempt: the start event's id is the attempt's, so that one worker creates it.

    It is posted, never folded in the request: the claim is decided by who creates the item.
    A claim that was folded between the first judgement and the post has left no item behind;
    the second judgement sees it in the head.
    """
    posted = await post_and_wake(engine, entity, event)
    assert isinstance(event.data, TaskStarted)
    if not posted.created and posted.existing is not None:
        first = decode_event(posted.existing).data
        if isinstance(first, TaskStarted) and first.worker_id != event.data.worker_id:
            raise Conflict(
                f"the attempt belongs to worker {first.worker_id}",
                reason="ATTEMPT_ALREADY_CLAIMED",
                details={"error": "attempt_already_claimed", "state": "RUNNING"},
            )
    await _judge(engine, entity, event.data)


async def _record_finish(
    engine: Engine, entity: Entity, event: Event, data: TaskFinished, verdict: Verdict
) -> Verdict:
    """Record the end. One that was folded at once is judged again: a cancel that waited in the
    inbox has won, and the first judgement did not know of it."""
    outcome = await record(engine, entity, event)
    if not isinstance(outcome, Posted):
        return judge_folded(*await _load(engine, entity), data, verdict)
    if outcome.created or outcome.existing is None:
        return verdict
    first = decode_event(outcome.existing).data
    if isinstance(first, TaskFinished) and first.digest != data.digest:
        raise Conflict(
            "another outcome of the attempt was reported before",
            reason="OUTCOME_CONFLICT",
            details={"error": "task_already_terminal", "state": first.outcome},
        )
    await _record_duplicate(engine, entity, data, "completed", event.time_ms)
    return verdict


async def _record_duplicate(
    engine: Engine, entity: Entity, data: AttemptEvent, verb: str, now_ms: int
) -> None:
    """One item per attempt, overwritten: a storm of replays can not fill an inbox."""
    seen = CallbackDuplicated(data.task, data.attempt, data.attempt_id, verb, data.worker_id)
    event = Event(
        id=f"{data.attempt_id}:duplicate",
        time_ms=now_ms,
        subject=str(entity),
        data=seen,
        actor=f"worker:{data.worker_id}",
        correlation=entity.name,
        causation=_event_id(data),
    )
    await post_and_wake(engine, entity, event, replace=True)


def _response(verdict: Verdict, now_ms: int) -> CallbackResponse:
    return CallbackResponse(
        acknowledged=True,
        server_time=stamp(now_ms),
        should_cancel=verdict.should_cancel,
        cancel_reason=verdict.cancel_reason,
        final_state=verdict.final_state,
    )

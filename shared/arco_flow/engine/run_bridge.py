"""RunRequested -> RunTriggered + PlanCreated: reserve the run key, plan, open the run.

The reservation of the run key and the head of the run are created in one commit, so that
concurrent requests of one key make one run and the losers read the winner's.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arco_flow.domain.decision import Segment, encode_segment
from arco_flow.domain.durations import MAX_DURATION_MS
from arco_flow.domain.effects import encode_owed
from arco_flow.domain.errors import (
    Conflict,
    Contended,
    InvalidInput,
    OutcomeUnknown,
    Unavailable,
)
from arco_flow.domain.events import (
    Event,
    PlanCreated,
    RunKeyConflicted,
    RunRequested,
    RunTriggered,
)
from arco_flow.domain.identifiers import (
    parse_traceparent,
    validate_actor,
    validate_labels,
    validate_run_key,
    validate_tenant,
    validate_trigger,
    validate_workspace,
)
from arco_flow.domain.ids import Entity, Scope, plan_path, run_entity, run_id_of
from arco_flow.domain.plan import PlanIndex, plan_bytes
from arco_flow.domain.run import Run, encode_run
from arco_flow.domain.run_decide import ORDER_VERSION, new_run, open_run
from arco_flow.domain.stored_forms import read_stored
from arco_flow.domain.wire import fingerprint
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import record, record_all
from arco_flow.engine.objects import load_run, put_immutable
from arco_flow.engine.planning import make_plan
from arco_flow.engine.present import plan_view, stamp
from arco_flow.engine.submit_effects import submit_effects
from arco_flow.engine.views import PlanView, RunAccepted, RunSpec
from arco_flow.ports.log_context import follow_trace, label_logs
from arco_flow.ports.store import Commit, Head

RUN_KEYS = "run_keys"
RACES = 4
"""How often a request tries to open its run. Who loses to another finds its run at the next try; of
many at once all may find the documents locked, and then none has won. The store has paused before
it says so, everybody for another while. A commit that nobody knows of is made again, too: if it has
landed after all, the reservation is there."""


class RunRequestMessage(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A request for a run as a message of the bus. actor: who or what asks."""

    tenant: str
    workspace: str
    actor: str
    request: RunSpec
    traceparent: str = ""


class Reservation(msgspec.Struct, frozen=True, rename="camel"):
    """What a run key stands for; kept for ever. writer: token of the commit that created it."""

    run_key: str
    run_id: str
    fingerprint: str
    writer: str
    created_ms: int


_reservations = msgspec.json.Decoder(Reservation)


async def request_run(
    engine: Engine, scope: Scope, spec: RunSpec, *, actor: str, traceparent: str = ""
) -> RunAccepted:
    """Make a run, or answer the one that its run key stands for.

    traceparent: of the request (W3C), handed on to the workers; what is none is left out.
    Raises Conflict when the key stands for another request (it is recorded), InvalidInput,
    TooLarge, NotFound (nothing deployed), Unavailable; after RACES lost races Contended, or
    OutcomeUnknown when the run may have been made in one of them.
    """
    spec = _checked(spec)
    run_key = spec.run_key or f"manual:{engine.clock.new_id()}"
    run_id = run_id_of(engine.tenant_secret, scope, run_key)
    label_logs(scope, run=run_id)
    follow_trace(run_id, traceparent)
    lost: Contended | OutcomeUnknown | None = None
    for _ in range(RACES):
        reserved = await _reservation(engine, scope, run_key)
        if reserved is not None:
            return await _existing(engine, scope, reserved, request_fingerprint(spec), actor)
        try:
            return await _new_run(engine, scope, spec, run_key, actor, traceparent)
        except (Contended, OutcomeUnknown) as error:
            lost = lost if isinstance(lost, OutcomeUnknown) else error
    assert lost is not None
    raise lost


async def _new_run(
    engine: Engine, scope: Scope, spec: RunSpec, run_key: str, actor: str, traceparent: str
) -> RunAccepted:
    """A new run of the key. Raises Contended when others were first, OutcomeUnknown."""
    plan, left_out = await make_plan(engine, scope, spec)
    run_id = run_id_of(engine.tenant_secret, scope, run_key)
    seed = await _seed(engine, spec, plan, run_key=run_key, run_id=run_id, actor=actor)
    if parse_traceparent(traceparent):
        seed = msgspec.structs.replace(seed, traceparent=traceparent)
    run = await _open(engine, scope, seed, plan, spec, request_fingerprint(spec))
    return _accepted(run, created=True, left_out=left_out)


async def preview_run(engine: Engine, scope: Scope, spec: RunSpec) -> PlanView:
    """The plan that a request would get now; nothing is stored."""
    plan, left_out = await make_plan(engine, scope, _checked(spec))
    return plan_view(plan, left_out)


def request_fingerprint(spec: RunSpec) -> str:
    """Digest of what is asked for: everything but the key itself and who triggered it."""
    asked = msgspec.to_builtins(spec)
    del asked["runKey"], asked["trigger"]
    return fingerprint(asked)


def _checked(spec: RunSpec) -> RunSpec:
    """The request with its texts in normal form: two spellings of a run key are one run."""
    named = [bool(spec.partitions), spec.partition_range is not None, spec.all_partitions]
    if sum(named) > 1:
        raise InvalidInput(
            "partitions are named in more than one way",
            fix="name a list, a range, or all of them",
            reason="PARTITIONS_AMBIGUOUS",
        )
    if not 0 <= spec.timeout_ms <= MAX_DURATION_MS:
        raise InvalidInput(
            f"timeoutMs is {spec.timeout_ms}; it must be 0 (no limit) to {MAX_DURATION_MS}",
            where="$.timeoutMs",
            fix="give milliseconds, for example 1800000 for half an hour",
            reason="BAD_TIMEOUT",
        )
    validate_trigger(spec.trigger)
    run_key = validate_run_key(spec.run_key) if spec.run_key else ""
    return msgspec.structs.replace(spec, run_key=run_key, tags=validate_labels(spec.tags))


async def _reservation(engine: Engine, scope: Scope, run_key: str) -> Reservation | None:
    raw = await engine.store.document(RUN_KEYS, _reservation_key(scope, run_key))
    return None if raw is None else read_stored(_reservations, raw, "what a run key stands for")


def _reservation_key(scope: Scope, run_key: str) -> str:
    # Hashed: a run key may hold anything that a document id may not.
    return fingerprint([scope.tenant, scope.workspace, run_key]).removeprefix("sha256:")


async def _existing(
    engine: Engine, scope: Scope, reserved: Reservation, digest: str, actor: str
) -> RunAccepted:
    entity = run_entity(scope, reserved.run_id)
    if reserved.fingerprint != digest:
        await _record_conflict(engine, entity, reserved, digest, actor)
        raise Conflict(
            f"run key '{reserved.run_key}' stands for another request",
            where=f"run {reserved.run_id}: it has {reserved.fingerprint}, this is {digest}",
            fix="use a fresh run key, or repeat the request as it was",
            reason="RUN_KEY_CONFLICT",
            details={
                "runKey": reserved.run_key,
                "runId": reserved.run_id,
                "acceptedFingerprint": reserved.fingerprint,
                "refusedFingerprint": digest,
            },
        )
    head = await engine.store.load(str(entity))
    if head is None:
        raise Unavailable(
            f"run '{reserved.run_id}' of run key '{reserved.run_key}' is gone",
            fix="restore it from a backup",
            reason="DAMAGED_STATE",
        )
    return _accepted(load_run(engine, head), created=False)


async def _record_conflict(
    engine: Engine, entity: Entity, reserved: Reservation, digest: str, actor: str
) -> None:
    now_ms = await engine.store.now_ms()
    data = RunKeyConflicted(reserved.run_key, reserved.fingerprint, digest)
    event_id = f"conflict:{digest.removeprefix('sha256:')[:24]}"
    event = Event(event_id, now_ms, str(entity), data, actor, correlation=entity.name)
    await record(engine, entity, event)


async def _seed(
    engine: Engine, spec: RunSpec, plan: PlanIndex, *, run_key: str, run_id: str, actor: str
) -> Run:
    now_ms = await engine.store.now_ms()
    return new_run(
        plan,
        run_id=run_id,
        run_key=run_key,
        trigger=spec.trigger,
        actor=actor,
        selection=spec.selection,
        tags=dict(spec.tags),
        fingerprint=plan.plan_id,
        created_ms=now_ms,
        deadline_ms=now_ms + spec.timeout_ms if spec.timeout_ms else 0,
        max_in_flight=engine.settings.max_in_flight,
        cancel_grace_ms=engine.settings.cancel_grace_ms,
    )


async def _open(
    engine: Engine, scope: Scope, seed: Run, plan: PlanIndex, spec: RunSpec, digest: str
) -> Run:
    """The first commit of the run, with its reservation; then its effects."""
    entity = run_entity(scope, seed.run_id)
    await put_immutable(engine, plan_path(scope, plan.plan_id), plan_bytes(plan.plan))
    decision = open_run(seed, plan, *_opening_events(entity, seed, plan, spec, digest))
    run = decision.state
    reservation = Reservation(
        seed.run_key, seed.run_id, digest, engine.clock.new_id(), seed.created_ms
    )
    segment = Segment(run.version, seed.created_ms, ORDER_VERSION, decision.ledger)
    commit = Commit(
        head=Head(
            entity=str(entity),
            version=run.version,
            status=run.state,
            state=encode_run(run),
            owed=encode_owed(decision.effects),
            owed_since_ms=seed.created_ms if decision.effects else 0,
            labels={"run_key": run.run_key, "plan": run.plan_id},
            timer_ms=run.timer_ms,
        ),
        expected_version=0,
        segment=encode_segment(segment),
        documents={
            (RUN_KEYS, _reservation_key(scope, seed.run_key)): msgspec.json.encode(reservation)
        },
    )
    try:
        await engine.store.commit(commit)
    except OutcomeUnknown:
        if not await _is_kept(engine, scope, reservation):
            raise
    engine.memory.runs.put(str(entity), run)
    await submit_effects(engine, entity, decision.effects, record_all)
    return run


async def _is_kept(engine: Engine, scope: Scope, reservation: Reservation) -> bool:
    """Whether the commit of this very reservation is seen to have landed."""
    try:
        there = await _reservation(engine, scope, reservation.run_key)
    except Unavailable:
        return False
    return there is not None and there.writer == reservation.writer


async def ingest_run_request(engine: Engine, body: bytes) -> RunAccepted:
    """`request_run` of a message. Who may publish to the topic is the platform's to guard.

    A message without a run key is refused: its redelivery would make a second run.
    Raises InvalidInput, and what request_run raises.
    """
    try:
        message = msgspec.json.decode(body, type=RunRequestMessage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"this is no run request: {error}") from error
    if not message.request.run_key:
        raise InvalidInput(
            "a run request that comes as a message needs a run key",
            fix="give `request.runKey`: the same for every delivery of the same request",
        )
    scope = Scope(validate_tenant(message.tenant), validate_workspace(message.workspace))
    actor = validate_actor(message.actor)
    return await request_run(
        engine, scope, message.request, actor=actor, traceparent=message.traceparent
    )


def _opening_events(
    entity: Entity, seed: Run, plan: PlanIndex, spec: RunSpec, digest: str
) -> tuple[Event, Event, Event]:
    def event(kind: str, data: object, cause: str = "") -> Event:
        return Event(
            id=f"{kind}:{seed.run_id}",
            time_ms=seed.created_ms,
            subject=str(entity),
            data=data,  # type: ignore[arg-type]
            actor=seed.actor,
            correlation=seed.run_id,
            causation=cause,
            traceparent=seed.traceparent,
        )

    request = event("requested", RunRequested(seed.run_key, digest, msgspec.to_builtins(spec)))
    triggered = event(
        "triggered",
        RunTriggered(
            seed.run_id,
            seed.run_key,
            seed.trigger,
            seed.code_version_id,
            seed.manifest_id,
            seed.max_in_flight,
            seed.cancel_grace_ms,
        ),
        request.id,
    )
    planned = event(
        "planned",
        PlanCreated(
            plan.plan_id, len(plan.plan.tasks), plan.plan.catalog_snapshot_id, plan.plan_id
        ),
        triggered.id,
    )
    return request, triggered, planned


def _accepted(run: Run, *, created: bool, left_out: Sequence[str] = ()) -> RunAccepted:
    return RunAccepted(
        run_id=run.run_id,
        run_key=run.run_key,
        created=created,
        state=run.state,
        plan_id=run.plan_id,
        fingerprint=run.fingerprint,
        task_count=len(run.states),
        code_version_id=run.code_version_id,
        catalog_snapshot_id=run.catalog_snapshot_id,
        create_time=stamp(run.created_ms),
        left_out=list(left_out),
    )

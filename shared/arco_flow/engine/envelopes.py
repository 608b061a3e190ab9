"""Signed envelopes for attempts that are still current."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arco_flow.domain.deployment import decode_deployment
from arco_flow.domain.effects import DispatchAttempt
from arco_flow.domain.envelope import CodeLocation, DispatchEnvelope, InputRef, TaskPayload
from arco_flow.domain.ids import (
    Entity,
    attempt_id_of,
    callback_task_id,
    deployment_entity,
    dispatch_id_of,
)
from arco_flow.domain.plan import PlanIndex, input_versions
from arco_flow.domain.run import Run
from arco_flow.domain.task import TaskState
from arco_flow.domain.tokens import AttemptClaims, sign_attempt_token
from arco_flow.domain.wire import sha256_hex
from arco_flow.engine.context import Engine
from arco_flow.engine.objects import load_plan, load_run, put_immutable
from arco_flow.engine.present import stamp
from arco_flow.ports.store import Head

INLINE_INPUT_BYTES = 64 * 1024
"""Above this an envelope's inputs travel as an object: a queue refuses tasks over 100 KiB."""


async def build_envelopes(
    engine: Engine, entity: Entity, effects: Sequence[DispatchAttempt]
) -> list[DispatchEnvelope | None]:
    """One envelope per effect, None for an attempt that is no longer to be dispatched."""
    deployment = str(deployment_entity(entity.scope))
    # One call for both: the deployment costs one more document per batch, and no more time.
    heads = await engine.store.load_many([str(entity), deployment])
    head = heads.get(str(entity))
    if head is None:
        return [None] * len(effects)
    run = load_run(engine, head)
    plan = await load_plan(engine, entity.scope, run.plan_id)
    code, now_ms = _location(heads.get(deployment)), engine.clock.now_ms()
    return [await _envelope(engine, entity, run, plan, e, code, now_ms) for e in effects]


def _location(head: Head | None) -> CodeLocation | None:
    """Where the current deployment's code is; None when it does not say so."""
    if head is None:
        return None
    current = decode_deployment(head.state)
    target, root = (current.location.get(name, "") for name in ("target", "root"))
    if not target:
        return None
    return CodeLocation(target=target, root=root, code_version_id=current.code_version_id)


async def _envelope(
    engine: Engine,
    entity: Entity,
    run: Run,
    plan: PlanIndex,
    effect: DispatchAttempt,
    code: CodeLocation | None,
    now_ms: int,
) -> DispatchEnvelope | None:
    index = effect.task_index
    current = run.attempts[index] == effect.attempt
    if not current or run.states[index] != TaskState.DISPATCHED:
        return None
    short = plan.shorts[index]
    dispatch_id = dispatch_id_of(run.run_id, short, effect.attempt)
    attempt_id = attempt_id_of(dispatch_id)
    task_id = callback_task_id(run.run_id, short)
    expires_ms = now_ms + engine.settings.token_ttl_ms
    scope, task, spec = entity.scope, plan.plan.tasks[index], plan.spec(index)
    claims = AttemptClaims(
        scope.tenant, scope.workspace, task_id, run.run_id, effect.attempt, attempt_id, expires_ms
    )
    payload = await _payload(engine, entity, run, plan, effect, code)
    return DispatchEnvelope(
        tenant_id=scope.tenant,
        workspace_id=scope.workspace,
        task_id=task_id,
        task_key=short,
        run_id=run.run_id,
        attempt=effect.attempt,
        attempt_id=attempt_id,
        dispatch_id=dispatch_id,
        execution_location_id=run.code_version_id,
        partition_key=task.partition,
        heartbeat_timeout_sec=max(spec.timeouts.heartbeat_ms // 1000, 1),
        callback_base_url=engine.settings.callback_base_url,
        task_token=sign_attempt_token(engine.token_secret, claims, now_ms),
        token_expires_at=stamp(expires_ms),
        traceparent=run.traceparent,
        payload=msgspec.to_builtins(payload),
    )


async def _payload(
    engine: Engine,
    entity: Entity,
    run: Run,
    plan: PlanIndex,
    effect: DispatchAttempt,
    code: CodeLocation | None,
) -> TaskPayload:
    index = effect.task_index
    task, spec = plan.plan.tasks[index], plan.spec(index)
    inputs, inputs_object = await _inputs(engine, entity, run, plan, index)
    return TaskPayload(
        asset_key=spec.key,
        partition=task.partition,
        partition_name=task.name,
        manifest_id=run.manifest_id,
        code_version_id=run.code_version_id,
        inputs=inputs,
        inputs_object=inputs_object,
        heartbeat_interval_ms=engine.settings.heartbeat_interval_ms,
        execution_timeout_ms=spec.timeouts.execution_ms,
        cancel_grace_ms=run.cancel_grace_ms,
        retry_number=effect.attempt - 1,
        run_tags=run.tags,
        code_location=code,
    )


async def _inputs(
    engine: Engine, entity: Entity, run: Run, plan: PlanIndex, index: int
) -> tuple[dict[str, InputRef], str]:
    """Pinned inputs: of this run for upstream tasks, of the catalog snapshot for the rest."""
    if not plan.spec(index).deps:
        return {}, ""

    def accepted(source: int) -> str:
        dispatch = dispatch_id_of(run.run_id, plan.shorts[source], run.attempts[source])
        return attempt_id_of(dispatch)

    found = input_versions(plan, index, accepted)
    inputs = {
        param: InputRef(asset=asset, shape=shape, versions=versions)
        for param, (asset, shape, versions) in found.items()
    }
    if sum(len(ref.versions) for ref in inputs.values()) < 200:
        return inputs, ""
    raw = msgspec.json.encode(inputs)
    if len(raw) <= INLINE_INPUT_BYTES:
        return inputs, ""
    path = f"{entity.scope.prefix}plans/inputs/{sha256_hex(raw)}.json"
    await put_immutable(engine, path, raw)
    return {}, path

"""A request for a run -> its plan: the tasks, and the current versions of what they read."""

from __future__ import annotations

from arco_flow.domain.asset import decode_materialization, row_key
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ids import Scope, asset_entity
from arco_flow.domain.manifest import Manifest
from arco_flow.domain.partition_base import PartitionContext
from arco_flow.domain.plan import Plan, PlanIndex, PlanTask, index_plan, plan_bytes, plan_id_of
from arco_flow.domain.planner import (
    PlanDraft,
    Version,
    complete_plan,
    draft_plan,
    draft_tasks,
    widen_draft,
)
from arco_flow.domain.targets import PartitionRequest
from arco_flow.engine.context import Engine
from arco_flow.engine.deployed import load_deployment
from arco_flow.engine.objects import load_manifest
from arco_flow.engine.partitions import dynamic_keys, dynamic_names
from arco_flow.engine.views import RunSpec


async def make_plan(
    engine: Engine, scope: Scope, spec: RunSpec
) -> tuple[PlanIndex, tuple[str, ...]]:
    """The plan of a checked request, and the selected assets that have no part in it.

    Raises NotFound (nothing deployed), InvalidInput, TooLarge, Unavailable.
    """
    deployment = await load_deployment(engine, scope)
    manifest = await load_manifest(engine, scope, deployment.manifest_id)
    ctx = await partition_context(engine, scope, manifest)
    request = _partition_request(spec)
    draft = draft_plan(manifest, spec.selection, request, ctx)
    if spec.missing_only:
        draft = await _missing_only(engine, scope, manifest, draft, spec, ctx)
    current = await _current_versions(engine, scope, draft)
    while wider := widen_draft(draft, manifest, spec.selection, current, ctx):
        draft, current = wider, await _current_versions(engine, scope, wider)
    plan = complete_plan(draft, manifest, deployment.manifest_id, scope, current)
    return _indexed(engine, plan, manifest), draft.left_out


def _indexed(engine: Engine, plan: Plan, manifest: Manifest) -> PlanIndex:
    plan_id = plan_id_of(plan_bytes(plan))
    return engine.memory.plans.put(plan_id, index_plan(plan, plan_id, manifest))


def _partition_request(spec: RunSpec) -> PartitionRequest:
    span = spec.partition_range
    return PartitionRequest(
        keys=tuple(spec.partitions),
        start=span.start if span else "",
        end=span.end if span else "",
        everything=spec.all_partitions,
    )


async def partition_context(engine: Engine, scope: Scope, manifest: Manifest) -> PartitionContext:
    """Now and the registered dynamic keys that the manifest's definitions name."""
    names = dynamic_names(manifest)
    dynamic = {name: await dynamic_keys(engine, scope, name) for name in names}
    return PartitionContext(await engine.store.now_ms() // 1000, dynamic)


async def _missing_only(
    engine: Engine,
    scope: Scope,
    manifest: Manifest,
    draft: PlanDraft,
    spec: RunSpec,
    ctx: PartitionContext,
) -> PlanDraft:
    tasks: dict[int, list[PlanTask]] = {}
    for task in draft.tasks:
        tasks.setdefault(task.asset, []).append(task)
    left: dict[str, list[str]] = {}
    for number, mine in tasks.items():
        key = draft.assets[number]
        rows = await engine.store.rows(
            str(asset_entity(scope, key)), [row_key(task.partition) for task in mine]
        )
        missing = [task.name for task in mine if row_key(task.partition) not in rows]
        if missing:
            left[key] = missing
    if not left:
        raise InvalidInput(
            f"nothing is missing in '{spec.selection}': every partition has a current version",
            fix="leave out --missing-only to run them again",
            reason="NOTHING_MISSING",
        )
    return draft_tasks(manifest, left, ctx)


async def _current_versions(engine: Engine, scope: Scope, draft: PlanDraft) -> dict[Version, str]:
    wanted: dict[str, list[str]] = {}
    for pin in draft.external:
        wanted.setdefault(pin.asset, []).append(pin.partition)
    current: dict[Version, str] = {}
    for asset, partitions in wanted.items():
        keys = [row_key(partition) for partition in partitions]
        rows = await engine.store.rows(str(asset_entity(scope, asset)), keys)
        for raw in rows.values():
            row = decode_materialization(raw)
            current[(asset, row.partition)] = row.attempt_id
    return current

"""The read side of assets: what is declared, and what the catalog knows of it."""

from __future__ import annotations

from typing import Any

from arco_flow.domain.asset import Materialization, decode_materialization, row_key
from arco_flow.domain.errors import NotFound, did_you_mean
from arco_flow.domain.ids import Scope, asset_entity
from arco_flow.domain.manifest import AssetSpec, Manifest
from arco_flow.domain.partition_base import PartitionContext
from arco_flow.domain.planner import definitions_of, select_assets
from arco_flow.engine.context import Engine
from arco_flow.engine.deploy import load_deployment
from arco_flow.engine.objects import load_manifest
from arco_flow.engine.planning import partition_context
from arco_flow.engine.present import stamp
from arco_flow.engine.views import AssetPage, AssetView, PartitionPage, PartitionView


async def list_assets(engine: Engine, scope: Scope, *, selection: str = "") -> AssetPage:
    """Assets of the current deployment, those of a selection or all, upstream first."""
    manifest = await _manifest(engine, scope)
    ctx = await partition_context(engine, scope, manifest)
    keys = select_assets(manifest, selection) if selection else manifest.graph().topological_order()
    by_key = manifest.by_key()
    views = [await _asset_view(engine, scope, manifest, by_key[key], ctx) for key in keys]
    return AssetPage(assets=views)


async def get_asset(engine: Engine, scope: Scope, key: str) -> AssetView:
    """One asset. Raises NotFound with the nearest key."""
    manifest = await _manifest(engine, scope)
    ctx = await partition_context(engine, scope, manifest)
    return await _asset_view(engine, scope, manifest, _spec(manifest, key), ctx)


async def list_partitions(
    engine: Engine, scope: Scope, key: str, *, after: str = "", limit: int = 200
) -> PartitionPage:
    """Partitions of an asset in order, after one of them; unpartitioned: the one "" partition.

    A partition is STALE when other code made it than is deployed now. Raises NotFound.
    """
    manifest = await _manifest(engine, scope)
    spec = _spec(manifest, key)
    ctx = await partition_context(engine, scope, manifest)
    definition = definitions_of(manifest).get(key)
    names = definition.keys(ctx) if definition else [""]
    start = names.index(after) + 1 if after and after in names else 0
    page = names[start : start + max(1, limit)]
    canonical = [definition.canonical(name) if definition else "" for name in page]
    rows = await engine.store.rows(
        str(asset_entity(scope, key)), [row_key(partition) for partition in canonical]
    )
    views = [
        _partition_view(spec, name, rows.get(row_key(partition)))
        for name, partition in zip(page, canonical, strict=True)
    ]
    more = start + len(page) < len(names)
    return PartitionPage(partitions=views, next_page_token=page[-1] if more else "")


async def _manifest(engine: Engine, scope: Scope) -> Manifest:
    deployment = await load_deployment(engine, scope)
    return await load_manifest(engine, scope, deployment.manifest_id)


def _spec(manifest: Manifest, key: str) -> AssetSpec:
    by_key = manifest.by_key()
    if key not in by_key:
        hint = did_you_mean(key, by_key)
        raise NotFound(f"no asset '{key}'{hint}", fix="arco-flow assets", reason="ASSET_NOT_FOUND")
    return by_key[key]


async def _asset_view(
    engine: Engine, scope: Scope, manifest: Manifest, spec: AssetSpec, ctx: PartitionContext
) -> AssetView:
    entity = str(asset_entity(scope, spec.key))
    definition = definitions_of(manifest).get(spec.key) if spec.partitions else None
    head = await engine.store.load(entity)
    count = await engine.store.count_rows(entity) if head else 0
    last: dict[str, Any] | None = None
    if head is not None:
        last = {"time": stamp(int(head.labels.get("last_promoted_ms", "0")))}
        if definition is None:
            raw = (await engine.store.rows(entity, [row_key("")])).get(row_key(""))
            last = _shown(decode_materialization(raw)) if raw else last
    graph = manifest.graph()
    return AssetView(
        name=f"workspaces/{scope.workspace}/assets/{spec.key}",
        key=spec.key,
        kind=spec.kind,
        group=spec.group,
        description=spec.description,
        owners=spec.owners,
        kinds=spec.kinds,
        tags=spec.tags,
        metadata=spec.metadata,
        code_version=spec.code_version,
        partitions=spec.partitions["kind"] if spec.partitions else "",
        partition_count=definition.count(ctx) if definition else None,
        materialized_count=count,
        upstream=list(graph.upstream(spec.key)),
        downstream=list(graph.downstream(spec.key)),
        checks=[
            {"name": c.name, "blocking": c.blocking, "severity": c.severity} for c in spec.checks
        ],
        last_materialization=last,
    )


def _shown(row: Materialization) -> dict[str, Any]:
    return {
        "time": stamp(row.promoted_ms),
        "runId": row.run_id,
        "attemptId": row.attempt_id,
        "promotion": row.promotion,
        "output": row.output,
    }


def _partition_view(spec: AssetSpec, name: str, raw: bytes | None) -> PartitionView:
    if raw is None:
        return PartitionView(
            partition=name,
            state="MISSING",
            run_id="",
            attempt_id="",
            promotion=0,
            update_time="",
            output=None,
        )
    row = decode_materialization(raw)
    return PartitionView(
        partition=name,
        state="MATERIALIZED" if row.code_version == spec.code_version else "STALE",
        run_id=row.run_id,
        attempt_id=row.attempt_id,
        promotion=row.promotion,
        update_time=stamp(row.promoted_ms),
        output=row.output,
    )

"""The read side of assets: what is declared, and what the catalog knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from arco_flow.domain.asset import Materialization, decode_materialization, row_key
from arco_flow.domain.errors import NotFound, did_you_mean
from arco_flow.domain.graph import AssetGraph
from arco_flow.domain.ids import Scope, asset_entity
from arco_flow.domain.manifest import AssetSpec, Manifest
from arco_flow.domain.partition_base import PartitionContext, PartitionsDefinition
from arco_flow.domain.planner import definitions_of, select_assets
from arco_flow.engine.context import Engine
from arco_flow.engine.deployed import deployed_manifest
from arco_flow.engine.planning import partition_context
from arco_flow.engine.present import stamp
from arco_flow.engine.views import AssetPage, AssetView, PartitionPage, PartitionView
from arco_flow.ports.store import Head


async def list_assets(engine: Engine, scope: Scope, *, selection: str = "") -> AssetPage:
    """Assets of the current deployment, those of a selection or all, upstream first."""
    declared = await _declared(engine, scope)
    if selection:
        keys = select_assets(declared.manifest, selection)
    else:
        keys = declared.graph.topological_order()
    known = await _known_of(engine, scope, declared, keys)
    return AssetPage(assets=[_asset_view(scope, declared, key, known.get(key)) for key in keys])


async def get_asset(engine: Engine, scope: Scope, key: str) -> AssetView:
    """One asset. Raises NotFound with the nearest key."""
    declared = await _declared(engine, scope)
    declared.spec(key)
    known = await _known_of(engine, scope, declared, [key])
    return _asset_view(scope, declared, key, known.get(key))


async def list_partitions(
    engine: Engine, scope: Scope, key: str, *, after: str = "", limit: int = 200
) -> PartitionPage:
    """Partitions of an asset in order, after one of them; unpartitioned: the one "" partition.

    A partition is STALE when other code made it than is deployed now. Raises NotFound.
    """
    declared = await _declared(engine, scope)
    spec = declared.spec(key)
    definition = declared.definitions.get(key)
    names = definition.keys(declared.ctx) if definition else [""]
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


@dataclass(frozen=True, slots=True)
class _Declared:
    """The current deployment's manifest, and what follows from it for all of its assets."""

    manifest: Manifest
    specs: Mapping[str, AssetSpec]
    graph: AssetGraph
    definitions: Mapping[str, PartitionsDefinition]
    ctx: PartitionContext

    def spec(self, key: str) -> AssetSpec:
        """One asset. Raises NotFound with the nearest key."""
        spec = self.specs.get(key)
        if spec is None:
            hint = did_you_mean(key, self.specs)
            raise NotFound(
                f"no asset '{key}'{hint}", fix="arco-flow assets", reason="ASSET_NOT_FOUND"
            )
        return spec


async def _declared(engine: Engine, scope: Scope) -> _Declared:
    manifest = await deployed_manifest(engine, scope)
    ctx = await partition_context(engine, scope, manifest)
    return _Declared(manifest, manifest.by_key(), manifest.graph(), definitions_of(manifest), ctx)


class _Known(NamedTuple):
    """What the catalog knows of an asset: materialized partitions, how the last one is shown."""

    partitions: int
    last: dict[str, Any]


async def _known_of(
    engine: Engine, scope: Scope, declared: _Declared, keys: Sequence[str]
) -> dict[str, _Known]:
    """What is known of those assets that were ever materialized."""
    entities = {str(asset_entity(scope, key)): key for key in keys}
    heads = await engine.store.load_many(list(entities))
    return {
        key: await _known(engine, heads[entity], has_partitions=key in declared.definitions)
        for entity, key in entities.items()
        if entity in heads
    }


async def _known(engine: Engine, head: Head, *, has_partitions: bool) -> _Known:
    at_last = {"time": stamp(int(head.labels.get("last_promoted_ms", "0")))}
    if has_partitions:
        return _Known(await engine.store.count_rows(head.entity), at_last)
    # Its one row, and whether it has those of partitions from before it had none.
    rows = await engine.store.rows(head.entity, limit=2)
    count, only = len(rows), row_key("")
    if count > 1:
        count = await engine.store.count_rows(head.entity)
        rows = await engine.store.rows(head.entity, [only])
    return _Known(count, _shown(decode_materialization(rows[only])) if only in rows else at_last)


def _asset_view(scope: Scope, declared: _Declared, key: str, known: _Known | None) -> AssetView:
    spec, definition = declared.spec(key), declared.definitions.get(key)
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
        partition_count=definition.count(declared.ctx) if definition else None,
        materialized_count=known.partitions if known else 0,
        upstream=list(declared.graph.upstream(key)),
        downstream=list(declared.graph.downstream(key)),
        checks=[
            {"name": c.name, "blocking": c.blocking, "severity": c.severity} for c in spec.checks
        ],
        last_materialization=known.last if known else None,
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

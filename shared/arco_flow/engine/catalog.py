"""The read side of assets: what is declared, and what the catalog knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from arco_flow.domain.asset import (
    Materialization,
    decode_counters,
    decode_materialization,
    row_key,
)
from arco_flow.domain.errors import NotFound, did_you_mean
from arco_flow.domain.graph import AssetGraph
from arco_flow.domain.ids import Scope, asset_entity
from arco_flow.domain.manifest import AssetSpec, Manifest
from arco_flow.domain.name_partitions import StaticPartitions
from arco_flow.domain.partition_base import PartitionContext, PartitionsDefinition
from arco_flow.domain.planner import definitions_of, select_assets
from arco_flow.engine.context import Engine
from arco_flow.engine.deployed import deployed_manifest
from arco_flow.engine.pages import begin_of, cursor_after, filled
from arco_flow.engine.planning import partition_context
from arco_flow.engine.present import stamp
from arco_flow.engine.views import AssetPage, AssetView, PartitionPage, PartitionView
from arco_flow.ports.store import Head

_WHOLE: Final = StaticPartitions([""])
"""The one partition of an asset that has none."""


async def list_assets(
    engine: Engine, scope: Scope, *, selection: str = "", after: str = "", limit: int = 200
) -> AssetPage:
    """Assets of the current deployment, those of a selection or all, upstream first.

    after: page token of the page before. Raises InvalidInput.
    """
    declared = await _declared(engine, scope)
    if selection:
        keys = select_assets(declared.manifest, selection)
    else:
        keys = declared.graph.topological_order()
    places = {key: place for place, key in enumerate(keys)}
    start = begin_of(after, places.get)
    views = await _asset_views(engine, scope, declared, keys[start : start + max(1, limit)])
    more = bool(views) and start + len(views) < len(keys)
    return AssetPage(assets=views, next_page_token=cursor_after(views[-1].key) if more else "")


async def get_asset(engine: Engine, scope: Scope, key: str) -> AssetView:
    """One asset. Raises NotFound with the nearest key."""
    declared = await _declared(engine, scope)
    [view] = await _asset_views(engine, scope, declared, [key])
    return view


async def list_partitions(
    engine: Engine, scope: Scope, key: str, *, after: str = "", limit: int = 200
) -> PartitionPage:
    """Partitions of an asset in order, after one of them; unpartitioned: the one "" partition.

    A partition is STALE when other code made it than is deployed now. Raises NotFound.
    """
    declared = await _declared(engine, scope)
    spec = declared.spec(key)
    definitions, ctx = await _partitioning(engine, scope, declared, [key])
    definition = definitions.get(key)
    listed = definition or _WHOLE
    start = begin_of(after, lambda name: listed.place(name, ctx))
    page = listed.page(start, start + max(1, limit), ctx)
    row_keys = [row_key(definition.canonical(name) if definition else "") for name in page]
    read = partial(engine.store.rows, str(asset_entity(scope, key)))
    rows = await filled(row_keys, read, len)
    # Fewer than the page has names when they are large.
    views = [
        _partition_view(spec, name, row) for name, row in zip(page, rows.values(), strict=False)
    ]
    more = bool(views) and start + len(views) < listed.count(ctx)
    return PartitionPage(
        partitions=views, next_page_token=cursor_after(views[-1].partition) if more else ""
    )


@dataclass(frozen=True, slots=True)
class _Declared:
    """The current deployment's manifest, and what follows from it for all of its assets."""

    manifest: Manifest
    specs: Mapping[str, AssetSpec]
    graph: AssetGraph

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
    return _Declared(manifest, manifest.by_key(), manifest.graph())


class _Partitioning(NamedTuple):
    """How assets are partitioned, by key, and what decides which partitions exist."""

    definitions: Mapping[str, PartitionsDefinition]
    ctx: PartitionContext


async def _partitioning(
    engine: Engine, scope: Scope, declared: _Declared, keys: Sequence[str]
) -> _Partitioning:
    """Of these assets alone: others may have keys without number. Raises NotFound."""
    specs = [declared.spec(key) for key in keys]
    mine = msgspec.structs.replace(declared.manifest, assets=specs)
    return _Partitioning(definitions_of(mine), await partition_context(engine, scope, mine))


class _Known(NamedTuple):
    """What the catalog knows of an asset: materialized partitions, how the last one is shown."""

    partitions: int
    last: dict[str, Any]


async def _asset_views(
    engine: Engine, scope: Scope, declared: _Declared, keys: Sequence[str]
) -> list[AssetView]:
    """As many of these as a page has room for."""
    partitioning = await _partitioning(engine, scope, declared, keys)
    read = partial(_stored_of, engine, scope, partitioning.definitions)
    stored = await filled(keys, read, lambda found: len(found.row))
    return [
        _asset_view(scope, declared, partitioning, key, await _known(engine, found))
        for key, found in stored.items()
    ]


class _Stored(NamedTuple):
    """What is stored of an asset: its head and, when it has no partitions, its one row or b""."""

    head: Head
    row: bytes


async def _stored_of(
    engine: Engine,
    scope: Scope,
    definitions: Mapping[str, PartitionsDefinition],
    keys: Sequence[str],
) -> dict[str, _Stored]:
    """Of those assets that were ever materialized."""
    entities = {str(asset_entity(scope, key)): key for key in keys}
    heads = await engine.store.load_many(list(entities))
    whole = [entity for entity in heads if entities[entity] not in definitions]
    rows = await engine.store.row_of_each(whole, row_key("")) if whole else {}
    return {
        entities[entity]: _Stored(head, rows.get(entity, b"")) for entity, head in heads.items()
    }


async def _known(engine: Engine, stored: _Stored | None) -> _Known | None:
    """What is known of an asset; it has the partitions from before it had none, too."""
    if stored is None:
        return None
    counters = decode_counters(stored.head.state)
    count = counters.rows or await engine.store.count_rows(stored.head.entity)
    if not stored.row:
        return _Known(count, {"time": stamp(counters.last_promoted_ms)})
    return _Known(count, _shown(decode_materialization(stored.row)))


def _asset_view(
    scope: Scope,
    declared: _Declared,
    partitioning: _Partitioning,
    key: str,
    known: _Known | None,
) -> AssetView:
    spec, definition = declared.spec(key), partitioning.definitions.get(key)
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
        partition_count=definition.count(partitioning.ctx) if definition else None,
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

"""Assets, their partitions, and the partitions that are defined at run time."""

from __future__ import annotations

import msgspec

from arco_flow.engine import catalog, partitions
from arco_flow.engine.deployed import deployed_manifest
from arco_flow.engine.views import AssetPage, AssetView, PartitionPage
from arco_flow.http.arguments import page_size
from arco_flow.http.bodies import decode_body
from arco_flow.http.routing import Call

DEFAULT_ASSETS = 1000
DEFAULT_PARTITIONS = 1000


class PartitionNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:add` and `:delete`."""

    partitions: list[str]


class DynamicPartitions(msgspec.Struct, frozen=True):
    """A dynamic partitions definition and the keys that it has now."""

    name: str
    partitions: list[str]


async def list_assets(call: Call) -> AssetPage:
    """Assets of the current deployment."""
    page = await catalog.list_assets(
        call.engine,
        call.scope,
        selection=call.query.get("selection", ""),
        after=call.cursor(),
        limit=page_size(call.query, DEFAULT_ASSETS),
    )
    return msgspec.structs.replace(page, next_page_token=call.sealed(page.next_page_token))


async def get_asset(call: Call) -> AssetView:
    """One asset with what the catalog knows of it."""
    return await catalog.get_asset(call.engine, call.scope, call.params["asset"])


async def list_partitions(call: Call) -> PartitionPage:
    """The partitions of an asset and what each holds."""
    page = await catalog.list_partitions(
        call.engine,
        call.scope,
        call.params["asset"],
        after=call.cursor(),
        limit=page_size(call.query, DEFAULT_PARTITIONS),
    )
    return msgspec.structs.replace(page, next_page_token=call.sealed(page.next_page_token))


async def get_dynamic_partitions(call: Call) -> DynamicPartitions:
    """The keys of a dynamic partitions definition."""
    name = call.params["definition"]
    known = partitions.dynamic_names(await deployed_manifest(call.engine, call.scope))
    if name not in known:
        raise partitions.unknown_definition(name, known)
    return DynamicPartitions(name, await partitions.dynamic_keys(call.engine, call.scope, name))


async def add_dynamic_partitions(call: Call) -> DynamicPartitions:
    """Add keys; those that exist already stay as they are."""
    return await _change(call, decode_body(call.request, PartitionNames).partitions, [])


async def delete_dynamic_partitions(call: Call) -> DynamicPartitions:
    """Remove keys; what was materialized for them stays."""
    return await _change(call, [], decode_body(call.request, PartitionNames).partitions)


async def _change(call: Call, added: list[str], deleted: list[str]) -> DynamicPartitions:
    name = call.params["definition"]
    keys = await partitions.change_dynamic(
        call.engine, call.scope, name, added, deleted, actor=call.caller.actor
    )
    return DynamicPartitions(name, keys)

"""What is told of assets: how much of each is there, what came last, and what it takes to know."""

from __future__ import annotations

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.engine.catalog import get_asset, list_assets
from arco_flow.engine.views import AssetView
from arco_flow.simulation.shapes import KEYS, manifest_of
from arco_flow.simulation.workers import good, survive
from engine.world import SCOPE, World

GRAPH = {f"a{number}": [] for number in range(20)}


async def materialized(partitions=None, faults=None) -> World:
    world = World(behaviour=survive(good), faults=faults)
    await world.deploy(manifest_of(GRAPH, partitions=partitions))
    await world.request(all_partitions=partitions is not None)
    await world.settle()
    return world


async def listed(world: World) -> list[AssetView]:
    return (await list_assets(world.fresh_engine(), SCOPE)).assets


async def test_an_asset_without_partitions_shows_its_one_version_in_the_list_and_alone() -> None:
    world = await materialized()
    for view in await listed(world):
        assert view.materialized_count == 1
        assert view.last_materialization.keys() >= {"time", "runId", "attemptId", "output"}
        assert view == await get_asset(world.engine, SCOPE, view.key)


async def test_an_asset_with_partitions_shows_how_many_there_are_and_when_the_last_came() -> None:
    world = await materialized(KEYS)
    for view in await listed(world):
        assert view.materialized_count == len(KEYS["keys"])
        assert list(view.last_materialization) == ["time"]


async def test_an_asset_that_had_partitions_before_shows_them_and_no_version_of_its_own() -> None:
    world = await materialized(KEYS)
    await world.deploy(manifest_of(GRAPH))
    for view in await listed(world):
        assert view.materialized_count == len(KEYS["keys"])
        assert list(view.last_materialization) == ["time"]
    await world.request("t.a0")
    await world.settle()
    view = await get_asset(world.engine, SCOPE, "t.a0")
    assert view.materialized_count == len(KEYS["keys"]) + 1
    assert view.last_materialization["runId"]


async def test_an_asset_that_was_never_made_shows_nothing() -> None:
    world = World()
    await world.deploy(manifest_of(GRAPH))
    assert {view.materialized_count for view in await listed(world)} == {0}
    assert {view.last_materialization for view in await listed(world)} == {None}


async def calls_of_a_list(partitions=None, *, made: bool = True) -> int:
    faults = ScriptedFaults()
    world = await materialized(partitions, faults) if made else World(faults=faults)
    if not made:
        await world.deploy(manifest_of(GRAPH, partitions=partitions))
    before = faults.calls.total()
    await listed(world)
    return faults.calls.total() - before


async def test_a_list_reads_all_heads_at_once_and_once_of_each_asset_that_was_made() -> None:
    nothing_made = await calls_of_a_list(made=False)
    assert nothing_made < 10
    assert await calls_of_a_list() == nothing_made + len(GRAPH)
    assert await calls_of_a_list(KEYS) == nothing_made + len(GRAPH)

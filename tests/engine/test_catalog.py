"""What is told of assets: how much of each is there, what came last, and what it takes to know."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.asset import (
    AssetCatalog,
    Counters,
    Materialization,
    decide_asset,
    decode_counters,
    row_key,
)
from arco_flow.domain.decision import Segment, encode_segment
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.events import Event, PromotionRequested
from arco_flow.domain.ids import asset_entity
from arco_flow.domain.page_size import PAGE_BYTES
from arco_flow.domain.partitions import HourlyPartitions, PartitionContext, StaticPartitions
from arco_flow.engine.catalog import get_asset, list_assets, list_partitions
from arco_flow.engine.pages import READ_AT_ONCE
from arco_flow.engine.partitions import change_dynamic
from arco_flow.engine.views import AssetView
from arco_flow.ports.store import Commit, Head
from arco_flow.simulation.shapes import KEYS, REGIONS, manifest_of
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


async def test_a_list_reads_heads_and_rows_of_many_assets_at_once() -> None:
    nothing_made = await calls_of_a_list(made=False)
    assert nothing_made < 10
    assert await calls_of_a_list() == nothing_made + 1
    assert await calls_of_a_list(KEYS) == nothing_made


async def test_a_long_list_reads_so_many_at_once_that_their_heads_fit_into_memory() -> None:
    faults, count = ScriptedFaults(), 2 * READ_AT_ONCE + 1
    world = World(faults=faults)
    await world.deploy(manifest_of({f"a{number}": [] for number in range(count)}))
    await list_assets(world.engine, SCOPE, limit=count)
    assert faults.calls["store.load_many"] == 3


async def pages(world: World, limit: int, selection: str = "") -> AsyncIterator[list[str]]:
    token, more = "", True
    while more:
        page = await list_assets(world.engine, SCOPE, selection=selection, after=token, limit=limit)
        yield [view.key for view in page.assets]
        token = page.next_page_token
        more = bool(token)


@pytest.mark.parametrize(("limit", "count"), [(1, 20), (7, 3), (10, 2), (20, 1), (1000, 1)])
async def test_pages_of_assets_are_the_list_cut_up(limit: int, count: int) -> None:
    world = World()
    await world.deploy(manifest_of(GRAPH))
    found = [page async for page in pages(world, limit)]
    assert len(found) == count
    assert [key for page in found for key in page] == sorted(f"t.{name}" for name in GRAPH)


async def test_pages_of_a_selection_are_those_of_its_assets() -> None:
    world = World()
    await world.deploy(manifest_of({"a": [], "b": ["a"], "c": ["b"], "d": []}))
    assert [page async for page in pages(world, 2, "t.c or t.a or t.b")] == [
        ["t.a", "t.b"],
        ["t.c"],
    ]


async def test_a_list_that_changes_between_two_pages_goes_on_after_the_last_asset_shown() -> None:
    world = World()
    await world.deploy(manifest_of({name: [] for name in "bcde"}))
    first = await list_assets(world.engine, SCOPE, limit=2)
    assert [view.key for view in first.assets] == ["t.b", "t.c"]
    for names in ("abcde", "cde"):
        await world.deploy(manifest_of({name: [] for name in names}))
        page = await list_assets(world.engine, SCOPE, after=first.next_page_token)
        assert [view.key for view in page.assets] == ["t.d", "t.e"]
    await world.deploy(manifest_of({name: [] for name in "abde"}))
    with pytest.raises(InvalidInput, match="in the list no more"):
        await list_assets(world.engine, SCOPE, after=first.next_page_token)


@pytest.mark.parametrize("token", ["t.a0", "=", "=t.a", "==t.a0"])
async def test_what_is_no_place_in_a_list_is_refused(token: str) -> None:
    world = World()
    await world.deploy(manifest_of(GRAPH))
    with pytest.raises(InvalidInput, match="start again without pageToken"):
        await list_assets(world.engine, SCOPE, after=token)


async def test_partitions_of_an_asset_that_nobody_has_counted_are_counted_when_they_are_shown() -> (
    None
):
    """As in a head of a plane that did not count them yet, whatever comes to it."""
    world = await materialized(KEYS)
    entity = str(asset_entity(SCOPE, "t.a0"))
    head = world.peek(world.store.load(entity))
    counters = decode_counters(head.state)
    assert counters.rows == len(KEYS["keys"])
    uncounted = msgspec.msgpack.encode((counters.version, counters.promotion, 5))
    older = replace(head, state=uncounted, version=head.version + 1)
    segment = encode_segment(Segment(older.version, world.now_ms, 1, ()))
    world.store.observers.clear()
    world.peek(world.store.commit(Commit(older, head.version, segment)))
    assert (await get_asset(world.engine, SCOPE, "t.a0")).materialized_count == len(KEYS["keys"])
    state = AssetCatalog(SCOPE, "t.a0", decode_counters(uncounted), {})
    request = PromotionRequested(
        partition="key=s:azQ", partition_name="k4", attempt_id="att_1", run_id="run_1",
        accepted_ms=1, code_version_id="v1", output={},
    )  # fmt: skip
    event = Event("promote:1", 1, entity, request, "me")
    assert decide_asset(state, [event], 1).state.counters.rows == 0


WIDE = {
    "kind": "multi",
    "dims": {
        "hour": {"kind": "hourly", "start": "1910-01-01"},
        "place": {"kind": "static", "keys": [f"p{number}" for number in range(1000)]},
        "who": REGIONS,
    },
}
"""A thousand million partitions, and as many again for each registered key."""


async def test_a_page_far_into_a_thousand_million_partitions_is_counted_not_walked() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}, partitions=WIDE))
    await change_dynamic(world.engine, SCOPE, "regions", ["north", "south"], (), actor="me")
    count = (await get_asset(world.engine, SCOPE, "t.a")).partition_count
    assert count is not None
    assert count > 1_000_000_000
    last = HourlyPartitions("1910-01-01").last(PartitionContext(world.now_ms // 1000))
    for place, left in (("p199", 1600), ("p998", 2)):
        tracemalloc.start()
        try:
            shown, token = await partitions(world, f"={last}|{place}|south", 1000)
            assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
        finally:
            tracemalloc.stop()
        assert (len(shown), bool(token)) == (min(left, 1000), left > 1000)
    assert shown == [f"{last}|p999|north", f"{last}|p999|south"]


async def partitions(world: World, after: str = "", limit: int = 2) -> tuple[list[str], str]:
    page = await list_partitions(world.engine, SCOPE, "t.a", after=after, limit=limit)
    return [view.partition for view in page.partitions], page.next_page_token


async def test_partitions_that_change_between_two_pages_go_on_after_the_last_one_shown() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
    regions = partial(change_dynamic, world.engine, SCOPE, "regions", actor="me")
    await regions(["a", "", "c", "d"], [])
    shown, token = await partitions(world)
    assert shown == ["a", ""]
    await regions([], ["a"])
    assert await partitions(world, token) == (["c", "d"], "")
    await regions([], [""])
    with pytest.raises(InvalidInput, match="in the list no more"):
        await partitions(world, token)


async def test_an_asset_without_partitions_has_one_page_of_one() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}))
    assert await partitions(world) == ([""], "")
    assert await partitions(world, "=") == ([], "")


async def with_large_outputs(count: int, partitions: dict[str, Any] | None = None) -> World:
    """Assets, or the partitions of one, of which a page holds five and the one after."""
    output = {"text": "x" * (PAGE_BYTES // 5 - 2000)}
    names = ["a"] if partitions else [f"a{number}" for number in range(count)]
    world = World()
    world.store.observers.clear()
    await world.deploy(manifest_of({name: [] for name in names}, partitions=partitions))
    for number in range(count):
        asset = "a" if partitions else f"a{number}"
        partition = StaticPartitions([f"{number}"]).canonical(f"{number}") if partitions else ""
        row = Materialization(
            partition=partition, name="", attempt_id="att", run_id="run", promotion=1,
            accepted_ms=1, promoted_ms=1, code_version="v1", output=output,
        )  # fmt: skip
        entity = str(asset_entity(SCOPE, f"t.{asset}"))
        known = world.peek(world.store.load(entity))
        version = known.version + 1 if known else 1
        head = Head(entity, version, "ACTIVE", msgspec.msgpack.encode(Counters(1, 1, 1, 1)))
        rows = {row_key(partition): msgspec.json.encode(row)}
        segment = encode_segment(Segment(version, 1, 1, ()))
        world.peek(world.store.commit(Commit(head, version - 1, segment, rows=rows)))
    return world


async def test_a_page_of_assets_ends_with_the_one_whose_output_makes_it_too_long() -> None:
    world = await with_large_outputs(8)
    found = [page async for page in pages(world, 1000)]
    assert [len(page) for page in found] == [6, 2]
    assert [key for page in found for key in page] == [f"t.a{number}" for number in range(8)]


async def test_a_page_of_partitions_ends_with_the_one_whose_output_makes_it_too_long() -> None:
    keys = [f"{number}" for number in range(8)]
    world = await with_large_outputs(8, {"kind": "static", "keys": keys})
    first, token = await partitions(world, limit=1000)
    second, end = await partitions(world, token, 1000)
    assert (first, second, end) == (keys[:6], keys[6:], "")

"""What is asked of a whole deployment takes time in proportion to its assets."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable

import pytest

from arco_flow.domain.manifest import AssetSpec, Manifest
from arco_flow.engine.catalog import list_assets
from arco_flow.engine.run_bridge import preview_run
from arco_flow.engine.views import RunSpec
from engine.world import SCOPE, World

FEW, TIMES = 100, 10
GROWTH = 4 * TIMES
"""What is quadratic takes a hundred times as long."""

Work = Callable[[World, int], Awaitable[object]]


def manifest_of_many(count: int, code: str = "v1") -> Manifest:
    partitions = {"kind": "static", "keys": ["a", "b"]}
    assets = [
        AssetSpec(key=f"t.a{number}", code_version=code, partitions=partitions)
        for number in range(count)
    ]
    return Manifest(code_version_id=f"cv_{code}", module="t", assets=assets)


async def look_at_all(world: World, count: int) -> None:
    assert len((await list_assets(world.engine, SCOPE, limit=count)).assets) == count


async def plan_what_is_missing(world: World, count: int) -> None:
    spec = RunSpec(selection="*", all_partitions=True, missing_only=True)
    assert (await preview_run(world.engine, SCOPE, spec)).task_count == 2 * count


async def deploy_other_code(world: World, count: int) -> None:
    outcome = await world.deploy(manifest_of_many(count, "v2"))
    assert len(outcome.changed) == count


async def seconds(work: Work, count: int) -> float:
    world = World()
    await world.deploy(manifest_of_many(count))
    # A collection looks through all that this process holds, however little the work made.
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        await work(world, count)
        return time.process_time() - started
    finally:
        gc.enable()


@pytest.mark.parametrize("work", [look_at_all, plan_what_is_missing, deploy_other_code])
async def test_ten_times_the_assets_take_about_ten_times_as_long(work: Work) -> None:
    few = max([await seconds(work, FEW) for _ in range(3)])
    assert min([await seconds(work, FEW * TIMES) for _ in range(3)]) < GROWTH * few

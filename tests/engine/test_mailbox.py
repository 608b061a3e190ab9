"""The loop that all entities share: record, wake, fold; its batches, races and lost answers."""

from __future__ import annotations

import pytest

from arco_flow.domain.errors import TooLarge
from arco_flow.domain.ids import run_entity
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.dispatch import dispatch
from engine.invariants import check, history_of
from engine.shapes import manifest_of
from engine.workers import Worker
from engine.world import SCOPE, SECONDS, World

KEYS = [f"k{number:02}" for number in range(40)]


async def fan_out(instances: int = 1) -> tuple[World, str, list[Worker]]:
    """A run of forty tasks that all started."""
    world = World(instances=instances)
    await world.deploy(manifest_of({"a": []}, partitions={"kind": "static", "keys": KEYS}))
    run = await world.request(all_partitions=True)
    await world.tasks.run_due()
    workers = [Worker(world, envelope) for envelope in world.envelopes]
    for worker in workers:
        await worker.started()
    return world, run.run_id, workers


@pytest.mark.parametrize("instances", [1, 4])
@pytest.mark.parametrize("kilobytes", [1, 60, 120])
async def test_a_burst_of_large_reports_is_folded_in_commits_that_the_store_takes(
    kilobytes, instances
):
    world, run_id, workers = await fan_out(instances)
    for worker in workers:
        output = {**await worker.stage(), "metadata": {"text": "x" * kilobytes * 1024}}
        await worker.completed("SUCCEEDED", output=output)
    await world.settle()
    assert (await world.view(run_id)).state == "SUCCEEDED"
    check(await history_of(world))


async def test_a_report_that_no_commit_could_hold_is_refused_and_the_worker_can_say_so() -> None:
    world, run_id, workers = await fan_out()
    for size, what in ((200, "output"), (600, "report")):
        with pytest.raises(TooLarge, match=f"the {what} of a completion"):
            await workers[0].completed("SUCCEEDED", output={"text": "x" * size * 1024})
    await workers[0].completed("FAILED", error={"category": "CONFIGURATION", "message": "large"})
    await world.run_for(2 * SECONDS)
    assert (await world.view(run_id)).tasks[0].state == "FAILED"


async def test_a_burst_of_small_reports_is_folded_in_one_commit() -> None:
    world, run_id, workers = await fan_out()
    entity = str(run_entity(SCOPE, run_id))
    for worker in workers:
        await worker.completed("SUCCEEDED", output=await worker.stage())
    before = await world.store.load(entity)
    world.clock.advance(2 * SECONDS)
    await dispatch(world.engine, entity)
    after = await world.store.load(entity)
    assert (after.version - before.version, after.status) == (1, "SUCCEEDED")


async def wide_run(tasks: int) -> tuple[World, str]:
    """A run with one task before thousands of others."""
    world = World()
    partitions = {"kind": "static", "keys": [f"k{number:05}" for number in range(tasks)]}
    root = manifest_of({"a": []}).assets
    leaves = manifest_of({"b": ["a"]}, partitions=partitions).assets
    await world.deploy(Manifest(code_version_id="cv_1", module="t", assets=[*root, *leaves]))
    run = await world.request(all_partitions=True)
    await world.tasks.run_due()
    return world, run.run_id


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_a_run_of_the_largest_size_ends_in_one_commit_that_the_store_takes(ending):
    world, run_id = await wide_run(9_999)
    if ending == "failed":
        await Worker(world, world.envelopes[0]).completed("FAILED")
    else:
        await cancel_run(world.engine, SCOPE, run_id, reason="enough", actor="user:me")
    world.clock.advance(2 * SECONDS)
    await dispatch(world.engine, str(run_entity(SCOPE, run_id)))
    view = await world.view(run_id)
    assert view.state == ending.upper()
    assert view.task_counts.keys() <= {"FAILED", "SKIPPED", "CANCELLED"}
    reasons = {task.reason for task in view.tasks[1:]}
    assert reasons == {"upstream_failed: t.a" if ending == "failed" else "cancelled: t.a"}

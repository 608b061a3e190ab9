"""A plane that owns its workers and dies with them gives their attempts back when it starts."""

from __future__ import annotations

import pytest

from arco_flow.domain.ids import plan_path
from arco_flow.domain.run_deadlines import LOSSES_MAX
from arco_flow.engine.recover_runs import recover_runs
from arco_flow.simulation.shapes import manifest_of
from arco_flow.simulation.workers import Worker, good, survive
from engine.world import SCOPE, SECONDS, Instance, World, check


async def killed_again_and_again(world: World, deaths: int) -> None:
    """Plane after plane starts, hands the task to a worker of its own, and dies with it."""
    for plane in range(deaths):
        world.clock.advance(2 * SECONDS)
        await recover_runs(world.engine, SCOPE, f"plane-{plane}-")
        await world.tasks.run_due()
        await Worker(world, world.envelopes[-1], f"plane-{plane}-w1").started()
        world.clock.advance(2 * SECONDS)
        await world.tasks.run_due()


async def test_a_run_goes_on_after_deaths_of_the_plane_at_no_cost_of_a_retry() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    await world.tasks.run_due()
    await killed_again_and_again(world, 5)
    await recover_runs(world.engine, SCOPE, "plane-last-")
    world.behaviour = survive(good)
    await world.settle()
    assert (await world.view(run.run_id)).state == "SUCCEEDED"
    check(world.history())


@pytest.mark.parametrize("retry", [None, {"maxRetries": 2}])
async def test_a_task_that_kills_every_plane_uses_up_its_retries_at_last(retry) -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}, retry=retry))
    run = await world.request()
    await world.tasks.run_due()
    tries = 1 + (retry["maxRetries"] if retry else 0)
    await killed_again_and_again(world, LOSSES_MAX + tries)
    await recover_runs(world.engine, SCOPE, "plane-last-")
    view = await world.view(run.run_id)
    assert view.state == "FAILED"
    assert view.tasks[0].attempt == LOSSES_MAX + tries
    assert "died with its plane" in view.tasks[0].reason
    await world.settle()
    check(world.history())


async def test_a_dispatch_that_nobody_has_claimed_stays_where_it_is() -> None:
    world = World(behaviour=survive(good))
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    assert await recover_runs(world.engine, SCOPE, "plane-2-") == 1
    await world.settle()
    assert (await world.view(run.run_id)).tasks[0].attempt == 1


async def test_a_run_that_can_not_be_folded_keeps_no_plane_from_starting() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}))
    broken = await world.request()
    await world.deploy(manifest_of({"b": []}))
    whole = await world.request()
    await world.tasks.run_due()
    for envelope in world.envelopes:
        await Worker(world, envelope, "plane-1-w1").started()
    await world.run_for(2 * SECONDS)
    path = plan_path(SCOPE, broken.plan_id)
    plan = world.objects.get(path)
    world.objects.delete(path)
    world.instances = [Instance("plane-2", world.fresh_engine())]
    assert await recover_runs(world.engine, SCOPE, "plane-2-") == 2
    await world.run_for(2 * SECONDS)
    assert (await world.view(whole.run_id)).tasks[0].attempt == 2
    world.objects.put_if_absent(path, plan.data)
    world.clock.advance(30 * SECONDS)
    await world.sweep()
    assert (await world.view(broken.run_id)).tasks[0].attempt == 2, "its news waited in the inbox"
    world.behaviour = survive(good)
    world.instances = [Instance("plane-3", world.fresh_engine())]
    await world.settle()
    assert (await world.view(broken.run_id)).state == "SUCCEEDED"

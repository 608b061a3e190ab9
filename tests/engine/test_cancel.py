"""Cancelling: at once what no worker holds, gracefully what one does, by force at last."""

from __future__ import annotations

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.context import Settings
from arco_flow.simulation.shapes import CHAIN, manifest_of
from arco_flow.simulation.workers import Worker, good, survive
from engine.world import MINUTES, RETRY, RIVAL, SCOPE, SECONDS, World, check


async def started(manifest=None, **world) -> tuple[World, str, Worker]:
    """A chain whose first task runs."""
    made = World(**world)
    await made.deploy(manifest or manifest_of(CHAIN))
    run = await made.request()
    await made.tasks.run_due()
    worker = Worker(made, made.envelopes[0], "w1")
    await worker.started()
    await made.run_for(2 * SECONDS)
    return made, run.run_id, worker


async def cancel(world: World, run_id: str, scope=SCOPE):
    return await cancel_run(world.engine, scope, run_id, reason="enough", actor="user:me")


def states(view) -> list[str]:
    return [task.state for task in view.tasks]


async def test_a_cancel_is_seen_at_once_by_its_caller() -> None:
    world, run_id, _ = await started()
    view = await cancel(world, run_id)
    assert (view.state, view.reason) == ("CANCELLING", "enough")
    assert states(view) == ["RUNNING", "CANCELLED", "CANCELLED"]


async def test_a_run_that_nobody_works_on_is_cancelled_at_once() -> None:
    world = World()
    await world.deploy(manifest_of(CHAIN))
    run = await world.request()
    assert (await cancel(world, run.run_id)).state == "CANCELLED"
    await world.tasks.run_due()
    with pytest.raises(Conflict) as raised:
        await Worker(world, world.envelopes[0]).started()
    assert raised.value.details["error"] == "task_already_terminal"
    await world.settle()
    check(world.history())


async def test_a_dispatch_that_was_not_sent_yet_is_not_sent_after_a_cancel() -> None:
    faults = ScriptedFaults()
    world = World(faults=faults, behaviour=survive(good))
    await world.deploy(manifest_of(CHAIN))
    faults.fail_before("tasks.enqueue_many", Unavailable("refused"))
    run = await world.request()
    await cancel(world, run.run_id)
    await world.settle()
    assert world.envelopes == []
    check(world.history())


async def test_a_worker_that_stops_ends_the_run_before_its_grace_is_over() -> None:
    world, run_id, worker = await started()
    await cancel(world, run_id)
    assert (await worker.heartbeat()).should_cancel
    await worker.completed("CANCELLED")
    await world.run_for(2 * SECONDS)
    assert (await world.view(run_id)).state == "CANCELLED"
    assert not world.stopped


async def test_a_result_that_comes_after_the_cancel_is_recorded_and_not_promoted() -> None:
    world, run_id, worker = await started()
    await cancel(world, run_id)
    assert (await worker.succeed()).final_state == "CANCELLED"
    await world.settle()
    assert states(await world.view(run_id)) == ["CANCELLED"] * 3
    history = world.history()
    assert not history.of_kind("asset")
    check(history)


async def test_a_result_that_waits_when_the_cancel_comes_loses_against_it() -> None:
    """Both are folded together, and a cancel comes first in its batch."""
    world, run_id, worker = await started(settings=Settings(quiet_ms=60_000))
    assert (await worker.succeed()).final_state == "SUCCEEDED", "all that is known so far"
    assert (await cancel(world, run_id)).state == "CANCELLED"
    assert (await worker.succeed()).final_state == "CANCELLED"
    await world.settle()
    history = world.history()
    assert not history.of_kind("asset")
    check(history)


async def test_a_worker_that_does_not_stop_is_stopped_when_the_grace_is_over() -> None:
    settings = Settings(cancel_grace_ms=10_000)
    world, run_id, worker = await started(settings=settings)
    await cancel(world, run_id)
    await world.run_for(9 * SECONDS)
    assert (await world.view(run_id)).state == "CANCELLING"
    await world.run_for(2 * SECONDS)
    assert (await world.view(run_id)).state == "CANCELLED"
    assert world.stopped == {worker.envelope.attempt_id}
    await world.settle()
    check(world.history())


async def test_a_cancel_whose_timer_was_lost_is_forced_by_the_sweeper() -> None:
    world, run_id, _ = await started(
        timing=lambda queue, _n, at: () if queue == "timers" else (at,)
    )
    await cancel(world, run_id)
    await world.run_for(5 * MINUTES)
    assert (await world.view(run_id)).state == "CANCELLING"
    await world.sweep()
    assert (await world.view(run_id)).state == "CANCELLED"


async def test_a_retry_that_waits_is_not_made_after_a_cancel() -> None:
    world, run_id, worker = await started(manifest_of(CHAIN, retry={**RETRY, "delayMs": 60_000}))
    await worker.completed("FAILED")
    await world.run_for(2 * SECONDS)
    assert states(await world.view(run_id))[0] == "RETRY_WAIT"
    assert (await cancel(world, run_id)).state == "CANCELLED"
    await world.run_for(5 * MINUTES)
    assert len(world.envelopes) == 1


async def test_cancelling_again_changes_nothing_and_a_finished_run_stays_what_it_is() -> None:
    world, run_id, worker = await started()
    first = await cancel(world, run_id)
    again = await cancel(world, run_id)
    assert (first.state, again.state) == ("CANCELLING", "CANCELLING")
    await worker.completed("CANCELLED")
    await world.settle()
    with pytest.raises(Conflict) as raised:
        await cancel(world, run_id)
    assert raised.value.reason == "RUN_NOT_CANCELLABLE"
    check(world.history())


async def test_a_run_of_another_tenant_or_none_is_not_found() -> None:
    world, run_id, _ = await started()
    for scope, name in ((RIVAL, run_id), (SCOPE, "run_none"), (SCOPE, "a:b")):
        with pytest.raises(NotFound):
            await cancel(world, name, scope)
    assert (await world.view(run_id)).state == "RUNNING"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("site", ["store.commit", "store.load", "store.inbox"])
async def test_a_cancel_that_met_an_outage_can_be_repeated(site, moment) -> None:
    faults = ScriptedFaults()
    world, run_id, worker = await started(faults=faults)
    error = Unavailable("refused") if moment == "before" else OutcomeUnknown("no answer")
    (faults.fail_before if moment == "before" else faults.fail_after)(site, error)
    with pytest.raises(Unavailable):
        await cancel(world, run_id)
    assert (await cancel(world, run_id)).state == "CANCELLING"
    await worker.completed("CANCELLED")
    await world.settle()
    assert (await world.view(run_id)).state == "CANCELLED"
    check(world.history())


async def test_a_run_that_takes_too_long_is_wound_up_like_a_cancelled_one() -> None:
    world = World(settings=Settings(cancel_grace_ms=10_000))
    await world.deploy(manifest_of(CHAIN))
    run = await world.request(timeout_ms=30 * SECONDS)
    await world.tasks.run_due()
    worker = Worker(world, world.envelopes[0])
    await worker.started()
    await world.run_for(29 * SECONDS)
    assert (await world.view(run.run_id)).state == "RUNNING"
    await world.run_for(2 * SECONDS)
    assert (await world.view(run.run_id)).state == "CANCELLING"
    await world.run_for(10 * SECONDS)
    view = await world.view(run.run_id)
    assert (view.state, states(view)) == ("TIMED_OUT", ["CANCELLED"] * 3)
    await world.settle()
    check(world.history())

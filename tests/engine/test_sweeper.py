"""The sweeper: what a queue, a crash or an outage lost is found and done."""

from __future__ import annotations

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults, SimulatedCrash
from arco_flow.domain.decision import decode_segment
from arco_flow.domain.errors import ArcoError, Unavailable
from arco_flow.domain.events import Event, LeadershipTaken, TimerFired, encode_event
from arco_flow.domain.ids import Entity, plan_path, pointer_path, run_entity
from arco_flow.domain.leadership import PLANE_SCOPE
from arco_flow.domain.manifest import TimeoutsSpec
from arco_flow.domain.run import decode_run
from arco_flow.engine.context import Settings
from arco_flow.engine.sweeper import LEASE, LEASE_MS, sweep
from arco_flow.ports.store import Commit, Head
from arco_flow.simulation.shapes import manifest_of
from arco_flow.simulation.workers import Worker, good, silent, survive
from engine.world import MINUTES, RETRY, RIVAL, SCOPE, SECONDS, World, check


def nothing_arrives(_queue: str, _name: str, _at_ms: int) -> tuple[int, ...]:
    return ()


def only(*queues: str):
    """A timing that delivers these queues alone and loses what is in the others."""

    def timing(queue: str, _name: str, at_ms: int) -> tuple[int, ...]:
        return (at_ms,) if queue in queues else ()

    return timing


async def events_of(world: World, run_id: str, kind: type) -> list[Event]:
    raw = await world.store.segments(str(run_entity(SCOPE, run_id)))
    entries = [entry for body in raw for entry in decode_segment(body).entries]
    return [entry.event for entry in entries if isinstance(entry.event.data, kind)]


async def test_a_run_whose_wakes_were_all_lost_is_brought_to_its_end() -> None:
    world = World(timing=only("worker"), behaviour=survive(good))
    await world.deploy(manifest_of())
    run = await world.request()
    await world.settle()
    assert (await world.view(run.run_id)).state == "SUCCEEDED"
    check(world.history())


async def test_a_timer_that_the_queue_lost_is_fired_by_the_sweeper() -> None:
    world = World(timing=only("worker", "wakes"), behaviour=survive(silent))
    spec = {"timeouts": TimeoutsSpec(heartbeat_ms=5_000)}
    await world.deploy(manifest_of({"a": []}, **spec))
    run = await world.request()
    await world.run_for(20 * SECONDS)
    assert (await world.view(run.run_id)).state == "RUNNING", "nobody noticed the silence"
    await world.sweep()
    assert (await world.view(run.run_id)).state == "FAILED"
    (fired,) = await events_of(world, run.run_id, TimerFired)
    assert fired.actor == "timer"


async def test_a_timer_that_waits_in_the_inbox_is_not_fired_once_more() -> None:
    world = World(timing=nothing_arrives)
    await world.deploy(manifest_of({"a": []}, retry=RETRY))
    run = await world.request()
    entity = run_entity(SCOPE, run.run_id)
    head = await world.store.load(str(entity))
    timer = TimerFired(decode_run(head.state).timer_generation)
    world.clock.set_to(head.timer_ms)
    event = Event(f"timer:{timer.generation}", world.now_ms, str(entity), timer, "timer")
    await world.store.post(str(entity), event.id, encode_event(event))
    world.clock.advance(MINUTES)
    await world.sweep()
    assert len(await events_of(world, run.run_id, TimerFired)) == 1


async def test_effects_lost_in_a_crash_are_submitted_by_another_process() -> None:
    faults = ScriptedFaults()
    world = World(faults=faults, behaviour=survive(good))
    await world.deploy(manifest_of({"a": []}))
    faults.fail_before("tasks.enqueue_many", SimulatedCrash())
    with pytest.raises(SimulatedCrash):
        await world.request(run_key="once")
    assert world.tasks.pending() == 0, "nothing was sent"
    await world.settle()
    run = await world.request(run_key="once")
    assert (run.created, run.state) == (False, "SUCCEEDED")
    check(world.history())


async def test_debts_are_struck_off_even_if_every_sweep_is_another_process() -> None:
    world = World(behaviour=survive(good))
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    await world.run_for(20 * SECONDS)
    assert (await world.view(run.run_id)).state == "SUCCEEDED"
    assert world.unfinished(), "the last commit's effects stand as owed"
    for _ in range(3):
        world.clock.advance(MINUTES)
        await world.sweep()
    assert not world.unfinished()
    head = await world.store.load(str(run_entity(SCOPE, run.run_id)))
    world.clock.advance(MINUTES)
    await world.sweep()
    assert head == await world.store.load(head.entity), "and then nothing is written any more"


async def test_an_entity_that_can_not_be_folded_does_not_keep_the_others_waiting() -> None:
    world = World(timing=only("worker"), behaviour=survive(good), instances=2)
    await world.deploy(manifest_of({"a": []}))
    broken = await world.request(tags={"is": "broken"})
    await world.deploy(manifest_of({"b": []}))
    whole = await world.request()
    world.objects.delete(plan_path(SCOPE, broken.plan_id))
    await world.run_for(20 * SECONDS)
    with pytest.raises(Unavailable, match="is missing"):
        await world.sweep()
    assert (await world.view(whole.run_id)).state == "SUCCEEDED"


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("run", "run_r", "the state of a run can not be read"),
        ("asset", "t.a", "the counters of an asset can not be read"),
        ("deployment", "current", "a deployment can not be read"),
        ("dynamic", "regions", "the counters of dynamic partitions can not be read"),
        ("leadership", "other", "the holder of a lease can not be read"),
        ("leadership", LEASE, "the holder of a lease can not be read"),
        ("kind_of_tomorrow", "x", "'kind_of_tomorrow' is no kind of entity"),
    ],
)
async def test_an_entity_whose_head_is_damaged_does_not_keep_the_others_waiting(
    kind: str, name: str, said: str
) -> None:
    world = World(timing=only("worker"), behaviour=survive(good))
    scope = PLANE_SCOPE if kind == "leadership" else RIVAL
    await damage(world, str(Entity(scope, kind, name)))
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    await world.run_for(20 * SECONDS)
    with pytest.raises(ArcoError, match=said):
        await world.sweep()
    assert (await world.view(run.run_id)).state == "SUCCEEDED"


async def damage(world: World, entity: str) -> None:
    """Give an entity a head that is none, and an event that waits."""
    world.store.observers.clear()  # they read what they watch
    await world.store.commit(Commit(Head(entity, 1, "ACTIVE", b"\xc1"), 0, b"{}"))
    event = Event("taken:1", world.now_ms, entity, LeadershipTaken("other", "me", 1), "plane")
    await world.store.post(entity, event.id, encode_event(event))


async def test_a_damaged_pointer_keeps_no_other_version_from_becoming_current() -> None:
    world = World(behaviour=survive(good))
    await world.deploy(manifest_of())
    damaged = pointer_path(SCOPE, "t.a", "")
    world.objects.put_if_absent(damaged, b"[]")
    run = await world.request()
    await world.run_for(MINUTES)
    assert (await world.view(run.run_id)).state == "SUCCEEDED"
    assert world.objects.get(damaged).data == b"[]"
    assert world.objects.get(pointer_path(SCOPE, "t.b", "")) is not None


async def test_two_sweepers_do_not_sweep_at_once_and_a_dead_one_is_followed_soon() -> None:
    world = World(instances=2)
    assert await sweep(world.engine, "first") == 0
    assert await sweep(world.instances[1].engine, "second") is None
    assert await sweep(world.engine, "first") == 0, "its own holder may go on"
    world.clock.advance(LEASE_MS)
    assert await sweep(world.instances[1].engine, "second") == 0
    assert LEASE_MS < 30 * SECONDS


async def test_a_sweep_leaves_alone_what_is_young() -> None:
    world = World(timing=nothing_arrives, settings=Settings(sweep_after_ms=10_000))
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    worker = Worker(world, await _envelope_of(world, run.run_id))
    await worker.started()
    assert await world.sweep() == 0
    world.clock.advance(LEASE_MS + 1)
    assert await world.sweep() == 1
    assert (await world.view(run.run_id)).tasks[0].state == "RUNNING"


async def _envelope_of(world: World, run_id: str):
    from arco_flow.domain.effects import DispatchAttempt
    from arco_flow.engine.envelopes import build_envelopes

    effect = DispatchAttempt(run_id, 0, 1)
    (envelope,) = await build_envelopes(world.engine, run_entity(SCOPE, run_id), [effect])
    return envelope

"""A post that lands twice: its first try was answered by a broken connection, and arrives after
what the second one brought was folded."""

from __future__ import annotations

from arco_flow.domain.decision import decode_segment
from arco_flow.domain.deployment import decode_deployment
from arco_flow.domain.dynamic import decode_dynamic_counters
from arco_flow.domain.events import Event, ManifestDeployed
from arco_flow.domain.ids import Entity, deployment_entity, dynamic_entity, run_entity
from arco_flow.domain.manifest import TimeoutsSpec
from arco_flow.domain.recent import REMEMBERED, remembered
from arco_flow.engine.deployed import last_deployment
from arco_flow.engine.mailbox import Folded, fold, post_and_wake
from arco_flow.engine.partitions import change_dynamic, dynamic_keys
from arco_flow.simulation.shapes import REGIONS, manifest_of
from arco_flow.simulation.workers import Worker
from engine.world import SCOPE, SECONDS, World, check


async def first_event(world: World, entity: Entity) -> Event:
    segments = await world.store.segments(str(entity))
    return decode_segment(segments[0]).entries[0].event


async def land_again(world: World, entity: Entity, event: Event) -> None:
    await post_and_wake(world.engine, entity, event)
    assert await fold(world.engine, entity) is Folded.COMMITTED
    last = decode_segment((await world.store.segments(str(entity)))[-1])
    assert [(entry.event.id, entry.reason) for entry in last.entries] == [(event.id, "duplicate")]


async def test_a_deployment_that_lands_again_after_a_newer_one_does_not_become_current() -> None:
    world, entity = World(), deployment_entity(SCOPE)
    await world.deploy(manifest_of(code="v1"))
    newer = await world.deploy(manifest_of(code="v2"))
    await land_again(world, entity, await first_event(world, entity))
    head = await world.store.load(str(entity))
    assert head is not None
    current = decode_deployment(head.state)
    assert (current.manifest_id, current.number) == (newer.manifest_id, 2)
    check(world.history())


async def test_a_deployment_that_was_repeated_does_not_land_after_a_newer_one() -> None:
    """Its first post is told as lost; who asked has asked again, and another one since."""
    world, entity = World(), deployment_entity(SCOPE)
    await world.deploy(manifest_of(code="v0"))
    lost = ManifestDeployed("sha256:old", "cv_old", 1, replaces=1)
    await world.deploy(manifest_of(code="v1"))
    newer = await world.deploy(manifest_of(code="v2"))
    event = Event("deploy:lost", world.now_ms, str(entity), lost, "user:me")
    await post_and_wake(world.engine, entity, event)
    assert await fold(world.engine, entity) is Folded.COMMITTED
    last = decode_segment((await world.store.segments(str(entity)))[-1])
    assert last.entries[0].reason == "overtaken: revision 3 is current, not 1"
    assert (await last_deployment(world.engine, SCOPE)).manifest_id == newer.manifest_id
    check(world.history())


async def test_a_deployment_that_names_none_to_replace_is_one_of_an_older_ledger() -> None:
    world, entity = World(), deployment_entity(SCOPE)
    made = await world.deploy(manifest_of(code="v1"))
    old = ManifestDeployed(made.manifest_id, "cv_old", 1)
    event = Event("deploy:old", world.now_ms, str(entity), old, "user:me")
    await post_and_wake(world.engine, entity, event)
    assert await fold(world.engine, entity) is Folded.COMMITTED
    assert (await last_deployment(world.engine, SCOPE)).code_version_id == "cv_old"


async def test_a_change_of_keys_that_lands_again_brings_back_nothing_that_was_deleted() -> None:
    world, entity = World(), dynamic_entity(SCOPE, "regions")
    await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
    await change_dynamic(world.engine, SCOPE, "regions", ["north"], (), actor="user:me")
    await change_dynamic(world.engine, SCOPE, "regions", ["east"], ["north"], actor="user:me")
    await land_again(world, entity, await first_event(world, entity))
    assert await dynamic_keys(world.engine, SCOPE, "regions") == ["east"]
    head = await world.store.load(str(entity))
    assert head is not None
    assert decode_dynamic_counters(head.state).count == 1
    check(world.history())


def test_the_latest_ids_are_remembered_and_no_more() -> None:
    known = remembered((), map(str, range(REMEMBERED)))
    assert remembered(known, ["new"]) == (*known[1:], "new")


async def test_a_sign_of_life_that_lands_behind_a_newer_one_does_not_make_its_worker_silent() -> (
    None
):
    world = World()
    await world.deploy(manifest_of({"a": []}, timeouts=TimeoutsSpec(heartbeat_ms=10 * SECONDS)))
    run = await world.request()
    await world.tasks.run_due()
    entity, worker = str(run_entity(SCOPE, run.run_id)), Worker(world, world.envelopes[0])
    await worker.started()
    await world.run_for(2 * SECONDS)
    await worker.heartbeat()
    older = (await world.store.inbox(entity, 10))[-1]
    world.clock.advance(7 * SECONDS)
    await worker.heartbeat()
    await world.store.post(entity, older.event_id, older.body, replace=True)
    await world.run_for(4 * SECONDS)
    view = await world.view(run.run_id)
    assert view.state == "RUNNING", "eleven seconds after the older one, four after the newer"
    await world.run_for(10 * SECONDS)
    assert (await world.view(run.run_id)).state == "FAILED", "and nobody was heard any more"

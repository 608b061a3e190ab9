"""The loop that all entities share: record, wake, fold; its batches, races and lost answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import Faults
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.domain.errors import TooLarge, Unavailable
from arco_flow.domain.events import Event, PromotionRequested, encode_event
from arco_flow.domain.ids import Entity, asset_entity, run_entity
from arco_flow.domain.manifest import Manifest, TimeoutsSpec
from arco_flow.domain.run import decode_run
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.context import Settings
from arco_flow.engine.dispatch import dispatch
from arco_flow.engine.mailbox import BATCH_BYTES, BATCH_LIMIT, FIRST_LOOK, Folded, fold, record_all
from arco_flow.engine.timer_ingest import ingest_timer
from arco_flow.ports.store import InboxItem
from arco_flow.simulation.shapes import manifest_of
from arco_flow.simulation.workers import Worker, silent, survive
from engine.meanwhile import Meanwhile
from engine.world import SCOPE, SECONDS, Instance, World, check

ASSET = str(asset_entity(SCOPE, "t.a"))
KEYS = [f"k{number:02}" for number in range(40)]


class Listings(MemoryStore):
    """A store that counts the bytes of events that are read from inboxes."""

    read = 0

    async def inbox(self, entity: str, limit: int) -> list[InboxItem]:
        found = await super().inbox(entity, limit)
        self.read += sum(len(item.body) for item in found)
        return found


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
    check(world.history())


@pytest.mark.parametrize("kilobytes", [0, 1, 60, 120])
@pytest.mark.parametrize("waiting", [FIRST_LOOK - 1, FIRST_LOOK, 100, BATCH_LIMIT + 100])
async def test_of_an_inbox_of_any_size_hardly_more_is_read_than_fits_and_all_is_folded(
    waiting: int, kilobytes: int
) -> None:
    listings = Listings(VirtualClock())
    world = World()
    engine = replace(world.engine, store=listings)
    for number in range(waiting):
        asked = PromotionRequested(
            f"p{number}", "", "run", "a", 1, "cv", {"x": "x" * kilobytes * 1024}
        )
        await listings.post(
            ASSET, f"e{number}", encode_event(Event(f"e{number}", 1, ASSET, asked, "me"))
        )
    folds = 0
    while await listings.inbox(ASSET, 1):
        listings.read = 0
        assert await fold(engine, Entity.parse(ASSET)) is Folded.COMMITTED
        assert listings.read <= FIRST_LOOK * (kilobytes + 1) * 1024 + 3 * BATCH_BYTES
        folds += 1
    assert await listings.count_rows(ASSET) == waiting
    assert folds <= 2 + waiting * (kilobytes + 1) * 1024 // (BATCH_BYTES // 2)


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


class NoObjects(Faults):
    """An object store that takes nothing for a while."""

    def __init__(self) -> None:
        self.down = False

    def before(self, site: str) -> None:
        if self.down and site.startswith("objects.put"):
            raise Unavailable("no objects")


async def test_debts_that_can_not_be_paid_hold_up_what_would_add_to_them() -> None:
    """Four thousand pointers that wait to be swapped would not fit into the asset's head."""
    faults = NoObjects()
    world = World(faults=faults)
    asset = asset_entity(SCOPE, "t.a")
    faults.down = True
    taken = 0
    while "owes" not in await refusal_of(world, asset, taken):
        taken += 1
        world.clock.advance(2 * SECONDS)
    assert 5 < taken < 40
    faults.down = False
    for batch in range(taken, 40):
        await record_all(world.engine, asset, promotions(asset, batch))
        await world.run_for(2 * SECONDS)
    await world.settle()
    assert await world.store.count_rows(str(asset)) == 4000
    assert len(world.objects.list("", limit=10_000)) == 4000


async def refusal_of(world: World, asset: Entity, batch: int) -> str:
    """Why a batch could not be taken; empty when it was."""
    try:
        await record_all(world.engine, asset, promotions(asset, batch))
    except Unavailable as refusal:
        return refusal.message
    return ""


def promotions(asset: Entity, batch: int) -> list[Event]:
    """A hundred results of a hundred partitions."""
    found = []
    for number in range(100 * batch, 100 * batch + 100):
        key = f"s:{number:05}"
        data = PromotionRequested(key, key, "run_1", f"att_{number:05}", number, "v1", {})
        found.append(Event(f"promote:{data.attempt_id}", number, str(asset), data, "worker:w1"))
    return found


# -- races within one call ---------------------------------------------------------------------


def by_another_process(world: World, worker: Worker) -> Callable[[], Awaitable[object]]:
    """The worker's result, taken by a process that nobody else is talking to."""

    async def succeed() -> None:
        world.instances = [Instance("another", world.fresh_engine())]
        await worker.succeed()

    return succeed


async def test_a_heartbeat_that_replaces_the_one_being_folded_is_not_lost() -> None:
    meanwhile = Meanwhile()
    world = World(faults=meanwhile)
    await world.deploy(manifest_of({"a": []}, timeouts=TimeoutsSpec(heartbeat_ms=10_000)))
    run = await world.request()
    await world.tasks.run_due()
    entity = str(run_entity(SCOPE, run.run_id))
    worker = Worker(world, world.envelopes[0])
    await worker.started()
    await world.run_for(2 * SECONDS)
    await worker.heartbeat()

    async def later() -> None:
        world.clock.advance(7 * SECONDS)
        await worker.heartbeat()

    meanwhile.during("store.commit", later)
    await dispatch(world.engine, entity)
    assert [item.event_id for item in await world.store.inbox(entity, 10)] == [
        f"{worker.envelope.attempt_id}:heartbeat"
    ]
    await world.run_for(6 * SECONDS)
    view = await world.view(run.run_id)
    assert view.state == "RUNNING", "thirteen seconds after the first, six after the last"


async def test_a_silence_is_judged_as_of_before_the_inbox_was_listed() -> None:
    """Whoever is heard while the fold stands still after its listing is not overlooked."""
    meanwhile = Meanwhile()
    world = World(faults=meanwhile)
    await world.deploy(manifest_of({"a": []}, timeouts=TimeoutsSpec(heartbeat_ms=10_000)))
    run = await world.request()
    await world.tasks.run_due()
    entity = str(run_entity(SCOPE, run.run_id))
    worker = Worker(world, world.envelopes[0])
    await worker.started()
    await world.run_for(2 * SECONDS)
    world.clock.advance(6 * SECONDS)

    async def standstill() -> None:
        world.clock.advance(1 * SECONDS)
        await worker.heartbeat()
        world.clock.advance(4 * SECONDS)

    meanwhile.before_the_answer_of("store.inbox", standstill)
    generation = decode_run((await world.store.load(entity)).state).timer_generation
    await ingest_timer(world.engine, entity, generation)
    assert meanwhile.work is None
    view = await world.view(run.run_id)
    assert view.tasks[0].state == "RUNNING", "thirteen seconds after the start, four after a sign"


async def test_what_is_posted_is_folded_within_its_bucket() -> None:
    world = World(settings=Settings(quiet_ms=60_000, wake_ms=1000, skew_ms=100))
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    await world.tasks.run_due()
    await Worker(world, world.envelopes[0]).started()
    assert (await world.view(run.run_id)).tasks[0].state == "DISPATCHED"
    await world.run_for(1100)
    assert (await world.view(run.run_id)).tasks[0].state == "RUNNING"


async def test_a_fold_that_lost_a_race_is_made_again_in_the_next_bucket() -> None:
    meanwhile = Meanwhile()
    world = World(faults=meanwhile)
    await world.deploy(manifest_of({"a": [], "b": []}))
    run = await world.request()
    await world.tasks.run_due()
    first, second = (Worker(world, envelope) for envelope in world.envelopes)
    entity = run_entity(SCOPE, run.run_id)
    await first.started()
    await world.run_for(2 * SECONDS)
    await first.heartbeat()
    world.clock.advance(5 * SECONDS)

    async def another_and_a_sign_of_life() -> None:
        await by_another_process(world, second)()
        await first.heartbeat()

    meanwhile.during("store.commit", another_and_a_sign_of_life)
    assert await fold(world.engine, entity) is Folded.CONTENDED
    assert len(await world.store.inbox(str(entity), 10)) == 1, "a sign of life wakes nobody"
    await world.run_for(1100)
    assert await world.store.inbox(str(entity), 10) == []


async def test_a_report_folded_inline_that_loses_a_race_is_posted_and_not_lost() -> None:
    meanwhile = Meanwhile()
    world = World(faults=meanwhile)
    await world.deploy(manifest_of({"a": [], "b": []}))
    run = await world.request()
    await world.tasks.run_due()
    first, second = (Worker(world, envelope) for envelope in world.envelopes)
    world.clock.advance(5 * SECONDS)
    meanwhile.during("store.commit", by_another_process(world, first))
    await second.succeed()
    waiting = await world.store.inbox(str(run_entity(SCOPE, run.run_id)), 10)
    assert [item.event_id.split(":")[0] for item in waiting] == [second.envelope.attempt_id]
    await world.settle()
    assert (await world.view(run.run_id)).state == "SUCCEEDED"
    check(world.history())


async def test_promotions_that_lose_a_race_are_posted_and_not_lost() -> None:
    meanwhile = Meanwhile()
    world = World(faults=meanwhile)
    keys = {"kind": "static", "keys": ["k1", "k2"]}
    await world.deploy(manifest_of({"a": []}, partitions=keys))
    await world.request(partitions=["k1"])
    await world.request(partitions=["k2"])
    await world.tasks.run_due()
    first, second = (Worker(world, envelope) for envelope in world.envelopes)
    world.clock.advance(5 * SECONDS)
    meanwhile.during("store.rows", by_another_process(world, first))
    await second.succeed()
    await world.settle()
    check(world.history())


async def test_a_timer_of_an_older_generation_costs_no_commit() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    await world.tasks.run_due()
    await Worker(world, world.envelopes[0]).started()
    await world.run_for(2 * SECONDS)
    entity = str(run_entity(SCOPE, run.run_id))
    before = await world.store.load(entity)
    await ingest_timer(world.engine, entity, 1)
    assert await world.store.load(entity) == before
    assert decode_run(before.state).timer_generation == 2


async def test_a_timer_that_comes_early_is_armed_again_for_its_time() -> None:
    world = World(behaviour=survive(silent))
    await world.deploy(manifest_of({"a": []}, timeouts=TimeoutsSpec(heartbeat_ms=60_000)))
    run = await world.request()
    await world.run_for(5 * SECONDS)
    entity = str(run_entity(SCOPE, run.run_id))
    due_ms = (await world.store.load(entity)).timer_ms
    await ingest_timer(world.engine, entity, 2)
    head = await world.store.load(entity)
    assert head.timer_ms >= due_ms
    assert decode_run(head.state).timer_generation == 3
    assert (await world.view(run.run_id)).state == "RUNNING"
    await world.settle()
    assert (await world.view(run.run_id)).state == "FAILED"


@pytest.mark.parametrize("skew_ms", [0, 50, -50])
async def test_a_report_right_after_a_wake_is_woken_too_though_clocks_differ(skew_ms) -> None:
    world = World(skews_ms=(skew_ms,))
    await world.deploy(manifest_of({"a": [], "b": []}))
    run = await world.request()
    await world.tasks.run_due()
    first, second = (Worker(world, envelope) for envelope in world.envelopes)

    async def states() -> list[str]:
        return [task.state for task in (await world.view(run.run_id)).tasks]

    world.clock.advance(500)
    await first.started()
    while await states() == ["DISPATCHED", "DISPATCHED"]:
        await world.run_for(10)
    assert await states() == ["RUNNING", "DISPATCHED"]
    await second.started()
    await world.run_for(2 * SECONDS)
    assert await states() == ["RUNNING", "RUNNING"]

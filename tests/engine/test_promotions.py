"""From an accepted result to the pointer: one current version, and never an older one again."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults, SimulatedCrash
from arco_flow.domain.asset import decode_materialization
from arco_flow.domain.errors import OutcomeUnknown, Unavailable
from arco_flow.domain.events import Event, PromotionRequested
from arco_flow.domain.ids import asset_entity, pointer_path
from arco_flow.engine.mailbox import record_all
from arco_flow.simulation.shapes import KEYS, manifest_of
from arco_flow.simulation.workers import Worker, good, survive
from engine.meanwhile import Meanwhile
from engine.world import SCOPE, SECONDS, Turns, World, check

ASSET = asset_entity(SCOPE, "t.a")
POINTER = pointer_path(SCOPE, "t.a", "")


def request_of(number: int, *, accepted_ms: int, partition: str = "") -> Event:
    """The promotion request of attempt `number`."""
    data = PromotionRequested(
        partition=partition,
        partition_name=partition,
        run_id=f"run_{number}",
        attempt_id=f"att_{number}",
        accepted_ms=accepted_ms,
        code_version_id="v1",
        output={"contentHash": f"hash-{number}"},
    )
    return Event(f"promote:att_{number}", accepted_ms, str(ASSET), data, "worker:w1")


def pointer(world: World) -> dict | None:
    found = world.objects.get(POINTER)
    return None if found is None else json.loads(found.data)


def swaps(world: World) -> list[int]:
    """Promotion numbers in the order in which the pointer took them."""
    return [json.loads(data)["promotion"] for key, data in world.writes.made if key == POINTER]


async def row(world: World):
    return decode_materialization((await world.store.rows(str(ASSET)))["_"])


# -- which one is current ------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
async def test_the_latest_accepted_result_is_current_whatever_the_order_of_arrival(
    order, together
) -> None:
    world = World()
    requests = [request_of(number, accepted_ms=1000 + number) for number in order]
    for batch in [requests] if together else [[request] for request in requests]:
        await record_all(world.engine, ASSET, batch)
        await world.run_for(2 * SECONDS)
    assert (await row(world)).attempt_id == "att_2"
    assert pointer(world)["attemptId"] == "att_2"
    assert swaps(world) == sorted(swaps(world))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_results_of_the_same_moment_have_one_order_too(order) -> None:
    world = World()
    for number in order:
        await record_all(world.engine, ASSET, [request_of(number, accepted_ms=1000)])
        await world.run_for(2 * SECONDS)
    assert pointer(world)["attemptId"] == "att_2"


async def test_a_request_that_comes_again_is_no_second_promotion() -> None:
    world = World()
    for _ in range(3):
        await record_all(world.engine, ASSET, [request_of(1, accepted_ms=1000)])
        await world.run_for(2 * SECONDS)
    assert (await row(world)).promotion == 1
    await record_all(world.engine, ASSET, [request_of(2, accepted_ms=2000)])
    await world.run_for(2 * SECONDS)
    await record_all(world.engine, ASSET, [request_of(1, accepted_ms=1000)])
    await world.run_for(2 * SECONDS)
    assert pointer(world)["attemptId"] == "att_2"
    assert swaps(world) == [1, 2]


async def test_partitions_have_pointers_of_their_own_and_numbers_in_common() -> None:
    world = World(behaviour=survive(good))
    await world.deploy(manifest_of({"a": []}, partitions=KEYS))
    await world.request(all_partitions=True)
    await world.settle()
    rows = await world.store.rows(str(ASSET))
    assert sorted(decode_materialization(raw).promotion for raw in rows.values()) == [1, 2, 3]
    check(world.history())


# -- lost swaps --------------------------------------------------------------------------------


ERRORS = [Unavailable("refused"), OutcomeUnknown("no answer"), SimulatedCrash()]


@pytest.mark.parametrize("error", ERRORS, ids=["refused", "lost", "crashed"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2], ids=["first version", "second version"])
async def test_a_swap_that_failed_or_lost_its_answer_is_made_once(error, moment, nth) -> None:
    faults = ScriptedFaults()
    world = World(faults=faults)
    for number in range(nth - 1):
        await record_all(world.engine, ASSET, [request_of(number, accepted_ms=1000 + number)])
    site = "objects.put_if_absent" if nth == 1 else "objects.put_if_generation"
    (faults.fail_before if moment == "before" else faults.fail_after)(site, error)
    world.clock.advance(5 * SECONDS)
    last = request_of(nth, accepted_ms=2000)
    if isinstance(error, SimulatedCrash):
        with pytest.raises(SimulatedCrash):
            await record_all(world.engine, ASSET, [last])
    else:
        await record_all(world.engine, ASSET, [last])
    assert (pointer(world) or {}).get("promotion", 0) == (nth if moment == "after" else nth - 1)
    await world.settle()
    assert pointer(world)["attemptId"] == f"att_{nth}"
    assert swaps(world) == list(range(1, nth + 1))


async def test_a_process_that_was_slow_does_not_bring_an_older_version_back() -> None:
    faults = ScriptedFaults()
    world = World(faults=faults, instances=2)
    slow, quick = (instance.engine for instance in world.instances)
    faults.fail_before("objects.put_if_absent", Unavailable("slow"))
    await record_all(slow, ASSET, [request_of(1, accepted_ms=1000)])
    assert pointer(world) is None, "promoted, but not swapped"
    world.clock.advance(5 * SECONDS)
    # The other process pays the older debt too; whatever it swaps last, the newer one stands.
    await record_all(quick, ASSET, [request_of(2, accepted_ms=2000)])
    assert pointer(world)["promotion"] == 2
    world.clock.advance(5 * SECONDS)
    await record_all(slow, ASSET, [request_of(0, accepted_ms=500)])
    await world.settle()
    assert pointer(world)["attemptId"] == "att_2"
    assert swaps(world) == sorted(set(swaps(world)))


async def test_a_swap_that_is_overtaken_between_its_look_and_its_write_changes_nothing() -> None:
    meanwhile = Meanwhile()
    world = World(faults=meanwhile, instances=2)
    slow, quick = (instance.engine for instance in world.instances)
    await record_all(slow, ASSET, [request_of(1, accepted_ms=1000)])
    world.clock.advance(5 * SECONDS)

    async def overtake() -> None:
        world.clock.advance(5 * SECONDS)
        await record_all(quick, ASSET, [request_of(3, accepted_ms=3000)])

    meanwhile.during("objects.put_if_generation", overtake)
    await record_all(slow, ASSET, [request_of(2, accepted_ms=2000)])
    assert pointer(world)["attemptId"] == "att_3"
    assert swaps(world) == sorted(swaps(world))


@pytest.mark.parametrize("seed", range(10))
async def test_swaps_that_race_leave_the_newest(seed) -> None:
    world = World(seed, instances=4, faults=Turns(seed, yields=4))

    async def promote(number: int) -> None:
        request = request_of(number, accepted_ms=1000 + number)
        await world.on_instance(lambda e: record_all(e, ASSET, [request]))

    await asyncio.gather(*map(promote, range(10)))
    await world.settle()
    assert pointer(world)["attemptId"] == "att_9"
    assert swaps(world) == sorted(set(swaps(world)))


# -- what is not promoted ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check_result", "promoted"),
    [
        ({"blocking": True, "passed": False}, False),
        ({"blocking": True, "passed": False, "severity": "error"}, False),
        ({"blocking": True, "passed": False, "severity": "warn"}, True),
        ({"blocking": False, "passed": False}, True),
        ({"blocking": True, "passed": True}, True),
    ],
)
async def test_a_failed_blocking_check_stands_before_the_promotion(check_result, promoted) -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    await world.tasks.run_due()
    worker = Worker(world, world.envelopes[0])
    output = await worker.stage()
    await worker.completed("SUCCEEDED", output=output, checks=[{"name": "c", **check_result}])
    await world.settle()
    assert (await world.view(run.run_id)).state == ("SUCCEEDED" if promoted else "FAILED")
    assert (pointer(world) is not None) is promoted
    assert world.objects.get(output["outputPath"] + "_commit") is not None, "it can be looked at"
    check(world.history())

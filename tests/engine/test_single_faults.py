"""Each call that a small history makes of a port goes wrong once, in each of its four ways.

Random histories find what needs two faults; this finds what needs one, and forgets no place.
"""

from __future__ import annotations

import asyncio

import pytest

from arco_flow.adapters.memory.faults import Faults, ScriptedFaults, SimulatedCrash
from arco_flow.domain.errors import OutcomeUnknown, Rejected, Unavailable
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.deploy import deploy
from arco_flow.engine.run_bridge import request_run
from arco_flow.engine.views import RunSpec
from engine.invariants import check, history_of
from engine.shapes import manifest_of
from engine.workers import Worker, survive
from engine.world import SCOPE, SECONDS, World

WAYS = {
    "refused": ("before", Unavailable("refused")),
    "lost": ("after", OutcomeUnknown("no answer")),
    "crashed before": ("before", SimulatedCrash("before")),
    "crashed after": ("after", SimulatedCrash("after")),
}
READS = (
    "store.now_ms",
    "store.load",
    "store.inbox",
    "store.rows",
    "store.document",
    "store.segments",
    "store.overdue",
    "objects.get",
)
WRITES = (
    "store.post",
    "store.commit",
    "store.acquire_lease",
    "tasks.enqueue",
    "tasks.enqueue_many",
    "objects.put_if_absent",
    "objects.put_if_generation",
)
# Whether a read fails before or after it was made makes no difference to anybody.
CASES = [(site, way) for site in READS for way in ("refused", "crashed before")]
CASES += [(site, way) for site in WRITES for way in WAYS]


async def _worker(world: World, envelope) -> None:
    """The second task fails at its first attempt; the rest succeed after a sign of life."""
    worker = Worker(world, envelope, "w1")
    await worker.started()
    await worker.sleep(2 * SECONDS)
    await worker.heartbeat()
    await worker.sleep(2 * SECONDS)
    if envelope.task_key == "t.b" and envelope.attempt == 1:
        await worker.completed("FAILED")
    else:
        await worker.succeed()


async def small_history(faults: Faults) -> World:
    """Two runs of one chain, one after the other, and one that is cancelled; three processes."""
    world = World(instances=3, faults=faults, behaviour=survive(_worker))
    manifest = manifest_of({"a": [], "b": ["a"]}, retry={"maxRetries": 2, "delayMs": 1000})
    world.spawn(world.sweep_forever(20 * SECONDS))
    world.spawn(_callers(world, manifest_bytes(manifest)))
    await world.run_for(90 * SECONDS)
    return world


async def _callers(world: World, raw: bytes) -> None:
    await world.insist(
        "deploy", SCOPE, None, lambda e: deploy(e, SCOPE, raw, location={}, actor="user:me")
    )
    for key in ("first", "second", "third"):
        spec = RunSpec(selection="*", run_key=key)
        run = await world.insist(
            "request", SCOPE, spec, lambda e, spec=spec: request_run(e, SCOPE, spec, actor="me")
        )
        await world.sleep((3 if key == "third" else 25) * SECONDS)
    try:
        await world.insist(
            "cancel",
            SCOPE,
            run.run_id,
            lambda e: cancel_run(e, SCOPE, run.run_id, reason="enough", actor="user:me"),
        )
    except Rejected:
        return


async def _with_one_fault(site: str, way: str, nth: int) -> bool:
    """Whether the fault happened; the history is checked in any case."""
    moment, error = WAYS[way]
    faults = ScriptedFaults()
    (faults.fail_before if moment == "before" else faults.fail_after)(site, error, nth=nth)
    world = await small_history(faults)
    happened = faults.calls[site] >= nth
    await world.settle()
    await world.close()
    history = await history_of(world)
    check(history)
    states = sorted(history.run(run).state for run in history.of_kind("run"))
    assert states == ["CANCELLED", "SUCCEEDED", "SUCCEEDED"]
    return happened


@pytest.mark.parametrize(("site", "way"), CASES)
def test_one_fault_anywhere_changes_no_outcome(site, way):
    nth = 0
    while True:
        nth += 1
        try:
            if not asyncio.run(_with_one_fault(site, way, nth)):
                break
        except BaseException as error:
            error.add_note(f"call {nth} of {site} {way}")
            raise
    assert nth > 1, f"{site} is never called"


def test_the_small_history_comes_by_every_port_that_the_engine_uses():
    faults = ScriptedFaults()
    asyncio.run(small_history(faults))
    assert {*faults.calls} == {*READS, *WRITES}

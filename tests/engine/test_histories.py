"""Random histories of the whole plane, each from a seed: whatever happens, the promises hold.

A failure names its seed; `history(seed)` tells the same history again, to the last call.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from arco_flow.domain.events import RunStateChanged
from engine.invariants import check, history_of
from engine.workload import stormy_world, tell_history

BATCH = 10
BATCHES = 25


async def history(seed):
    world = stormy_world(seed)
    await tell_history(world)
    found = await history_of(world)
    check(found)
    return found


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_promise_holds_in_every_history(batch):
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        try:
            asyncio.run(history(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def test_the_histories_come_by_what_they_are_meant_to_test():
    """Each kind of fault at each kind of call, and each guard at work at least once."""
    faults, reasons, states, refusals = Counter(), Counter(), Counter(), Counter()
    for seed in range(70):
        world = stormy_world(seed)
        asyncio.run(tell_history(world))
        found = asyncio.run(history_of(world))
        faults.update(world.faults.seen)
        refusals.update(a.result.reason for a in found.answers if not a.accepted)
        for entity in found.heads:
            states.update(
                e.event.data.after
                for _, e in found.entries(entity)
                if isinstance(e.event.data, RunStateChanged)
            )
            reasons.update(entry.reason for _, entry in found.entries(entity))
    for moment in ("before", "after", "crash before", "crash after"):
        sites = {site for site, when in faults if when == moment}
        assert sites >= SITES, f"{moment}: {SITES - sites}"
    assert states.keys() >= {"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "CANCELLING"}
    unseen = [guard for guard in GUARDS if not any(r.startswith(guard) for r in reasons)]
    assert not unseen
    assert refusals.keys() >= REFUSALS, REFUSALS - refusals.keys()


SITES = {
    "store.load",
    "store.inbox",
    "store.post",
    "store.commit",
    "store.rows",
    "store.document",
    "tasks.enqueue",
    "tasks.enqueue_many",
    "objects.get",
    "objects.put_if_absent",
    "objects.put_if_generation",
}
GUARDS = (
    "duplicate",
    "superseded: ",
    "claimed by worker ",
    "task is CANCELLED",
    "another outcome was accepted: ",
    "the run key stands for another request",
    "run is cancelling already",
)
REFUSALS = {
    "RUN_KEY_CONFLICT",
    "ATTEMPT_ALREADY_CLAIMED",
    "ATTEMPT_MISMATCH",
    "TASK_ALREADY_TERMINAL",
    "OUTCOME_CONFLICT",
    "TASK_EXPIRED",
    "UPSTREAM_NOT_MATERIALIZED",
}

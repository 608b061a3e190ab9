"""Random histories of the whole plane, each from a seed: whatever happens, the promises hold.

A failure names its seed; `history(seed)` tells the same history again, to the last call.
"""

from __future__ import annotations

import asyncio

import pytest

from engine.invariants import check, history_of
from engine.workload import stormy_world, tell_history

BATCH = 10
BATCHES = 16


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

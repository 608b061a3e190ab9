"""Trigger to the first line of user code, and latency per hop of a chain of 20.

Both read the clock in user code itself: the first line returns the time at which it ran.
Baseline of the same run: a new interpreter that only starts, which is what a launcher that
spawns a process per run pays at least.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from common import WARM_UP, plane_with, report, run_to_end, spread

from arco_flow.adapters.local.wiring import LocalPlane
from arco_flow.domain.ids import pointer_path

CHAIN = 20
TRIGGERS = 60

CODE = (
    WARM_UP
    + """
import time

@asset
def stamp() -> int:
    return time.time_ns()

@asset(group="chain")
def hop_0() -> int:
    return time.time_ns()
"""
    + "".join(
        f"""
@asset(group="chain")
def hop_{number}(hop_{number - 1}: int) -> int:
    return time.time_ns()
"""
        for number in range(1, CHAIN)
    )
)


async def value_of(plane: LocalPlane, asset: str) -> int:
    """The current value of an unpartitioned JSON asset, read from storage."""
    pointer = await plane.engine.objects.get(pointer_path(plane.scope, asset, ""))
    assert pointer is not None
    stored = await plane.engine.objects.get(json.loads(pointer.data)["version"] + "data.json")
    assert stored is not None
    return int(stored.data)


def interpreter_ms() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return 1000 * (time.perf_counter() - started)


async def measure() -> dict[str, Any]:
    triggers, whole = [], []
    async with plane_with(CODE) as plane:
        for _ in range(TRIGGERS):
            asked = time.time_ns()
            _, seconds = await run_to_end(plane, "benched.stamp")
            triggers.append((await settled(plane, "benched.stamp", asked) - asked) / 1e6)
            whole.append(1000 * seconds)
        hops = []
        for _ in range(5):
            asked = time.time_ns()
            await run_to_end(plane, "group:chain")
            first = await settled(plane, "benched.hop_0", asked)
            last = await settled(plane, f"benched.hop_{CHAIN - 1}", asked)
            hops.append((last - first) / 1e6 / (CHAIN - 1))
    baseline = spread([interpreter_ms() for _ in range(10)])
    found = spread(triggers)
    return {
        "trigger_to_user_code_ms": found,
        "run_of_one_task_ms": spread(whole),
        "chain_hop_ms": spread(hops),
        "bare_interpreter_start_ms": baseline,
        "trigger_times_interpreter_start": round(found["p50"] / baseline["p50"], 2),
    }


async def settled(plane: LocalPlane, asset: str, after: int) -> int:
    """The value once the pointer shows this run's version: it follows the run by one fold."""
    import asyncio

    while True:
        pointer = await plane.engine.objects.get(pointer_path(plane.scope, asset, ""))
        if pointer is not None and (found := await value_of(plane, asset)) > after:
            return found
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    report("latency", measure)

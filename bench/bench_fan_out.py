"""No-op fan-out of 10, 100 and 1,000 tasks: durable, over HTTP, in real worker processes.

Baseline of the same run: the same number of no-op calls through a bare process pool, which
stores nothing, plans nothing and reports nothing.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from common import WARM_UP, peak_memory_mib, plane_with, report, run_to_end

SIZES = (10, 100, 1000)
REPEATS = 3
WORKERS = max(os.cpu_count() or 1, 4)

CODE = (
    WARM_UP
    + "".join(
        f"""
@asset(partitions=StaticPartitions([f"k{{i}}" for i in range({size})]))
def fan_{size}() -> None:
    return None
"""
        for size in SIZES
    )
    + """
for _number in range(1000):
    globals()[f"wide_{_number}"] = asset(key=f"benched.wide_{_number}", group="wide")(lambda: None)
"""
)


def nothing(number: int) -> int:
    return number


def pool_seconds(workers: int, size: int) -> float:
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(nothing, range(32)))
        started = time.perf_counter()
        list(pool.map(nothing, range(size)))
        return time.perf_counter() - started


MEMORY_FOLDER = "/dev/shm"


async def measure() -> dict[str, Any]:
    """On the temporary folder's disk, and beside it in memory: a file system without a journal
    scans past recently deleted inodes for every file it makes, which is its cost and not ours."""
    found = {"disk": await cases_in(None)}
    if os.path.isdir(MEMORY_FOLDER):
        found["memory_file_system"] = await cases_in(MEMORY_FOLDER)
    return {**found, "workers": WORKERS, "peak_memory_mib": peak_memory_mib()}


async def cases_in(parent: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with plane_with(CODE, parent=parent) as plane:
        cases = [(f"{size} partitions", f"benched.fan_{size}", size, True) for size in SIZES]
        cases.append(("1000 assets", "group:wide", 1000, False))
        for name, selection, size, partitioned in cases:
            seconds, cpu = [], []
            for _ in range(REPEATS):
                before = time.process_time()
                _, wall = await run_to_end(plane, selection, all_partitions=partitioned)
                seconds.append(wall)
                cpu.append(time.process_time() - before)
            wall = statistics.median(seconds)
            found[name] = {
                "seconds": round(wall, 3),
                "tasks_per_second": round(size / wall),
                "overhead_ms_per_task": round(1000 * wall / size, 2),
                "plane_cpu_ms_per_task": round(1000 * statistics.median(cpu) / size, 2),
                "times_a_bare_process_pool": round(wall / pool_seconds(WORKERS, size), 1),
            }
    return found


if __name__ == "__main__":
    report("fan_out", measure)

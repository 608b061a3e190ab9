"""What the benchmarks share: a quiet embedded plane over a fresh folder, and how runs are timed."""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from arco_flow.adapters.local.wiring import LocalPlane, LocalSettings, open_plane
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.engine import deploy, query, run_bridge
from arco_flow.engine.views import RunSpec, RunView
from arco_flow.sdk.discovery import load_definitions


@asynccontextmanager
async def plane_with(
    code: str, *, workers: int = 0, parent: str | None = None
) -> AsyncIterator[LocalPlane]:
    """A plane with warm workers on a module of this code; durable, real processes, real HTTP.

    parent: folder for its state, None = the system's temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="arco-flow-bench-", dir=parent) as folder:
        module = Path(folder) / "benched.py"
        module.write_text(textwrap.dedent(code))
        definitions = load_definitions(str(module))
        settings = LocalSettings(Path(folder) / ".arco-flow", workers=workers)
        async with open_plane(settings) as plane:
            await deploy.deploy(
                plane.engine,
                plane.scope,
                manifest_bytes(definitions.manifest()),
                location=definitions.location,
                actor="bench",
            )
            await plane.warm()
            # Let every worker finish its imports: a first run is what does that for a user.
            await run_to_end(plane, "benched.warm_up", all_partitions=True)
            yield plane


WARM_UP = """
from arco_flow import AssetContext, StaticPartitions, asset

@asset(partitions=StaticPartitions([f"w{i}" for i in range(32)]))
def warm_up() -> None:
    return None
"""


async def run_to_end(plane: LocalPlane, selection: str, **spec: Any) -> tuple[RunView, float]:
    """Request a run and wait for its end; answers it and the wall seconds that it took."""
    started = time.perf_counter()
    accepted = await run_bridge.request_run(
        plane.engine, plane.scope, RunSpec(selection=selection, **spec), actor="bench"
    )
    while True:
        run = await query.get_run(plane.engine, plane.scope, accepted.run_id, tasks=False)
        if run.end_time:
            break
        await asyncio.sleep(0.002)
    seconds = time.perf_counter() - started
    if run.state != "SUCCEEDED":
        raise SystemExit(f"benchmark run ended {run.state}: {run.task_counts}")
    return run, seconds


def peak_memory_mib() -> dict[str, float]:
    """Largest resident sizes so far: of this process (the plane), and of any one worker."""
    return {
        "plane": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "worker": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1),
    }


def spread(values: Sequence[float], digits: int = 1) -> dict[str, float]:
    """Minimum, median, 95th percentile and maximum."""
    ordered = sorted(values)
    return {
        "min": round(ordered[0], digits),
        "p50": round(statistics.median(ordered), digits),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], digits),
        "max": round(ordered[-1], digits),
    }


def report(name: str, measure: Callable[[], Any]) -> None:
    """Run a benchmark and print its figures as one JSON object."""
    found = measure()
    if asyncio.iscoroutine(found):
        found = asyncio.run(found)
    json.dump({"benchmark": name, "python": sys.version.split()[0], **found}, sys.stdout, indent=1)
    print()

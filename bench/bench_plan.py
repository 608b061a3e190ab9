"""Planning 1,000 and 10,000 assets: selection, edges, canonical bytes, fingerprint, index.

Baseline of the same run: `graphlib` sorting the same graph, and nothing else.
"""

from __future__ import annotations

import graphlib
import random
import statistics
import time
from typing import Any

from common import report

from arco_flow.domain.ids import Scope
from arco_flow.domain.manifest import AssetSpec, DepSpec, Manifest
from arco_flow.domain.partition_base import PartitionContext
from arco_flow.domain.plan import index_plan, plan_bytes, plan_id_of
from arco_flow.domain.planner import complete_plan, draft_plan
from arco_flow.domain.targets import PartitionRequest


def manifest_of(size: int) -> Manifest:
    chance = random.Random(size)
    assets = []
    for number in range(size):
        ups = sorted({chance.randrange(number) for _ in range(2)}) if number else []
        deps = [DepSpec(asset=f"n.a{up:05d}", param=f"p{up}") for up in ups]
        assets.append(AssetSpec(key=f"n.a{number:05d}", deps=deps))
    return Manifest(code_version_id="cv_bench", module="n", assets=assets)


def plan_seconds(manifest: Manifest) -> tuple[float, int]:
    started = time.perf_counter()
    draft = draft_plan(manifest, "*", PartitionRequest(), PartitionContext(1_800_000_000))
    plan = complete_plan(draft, manifest, "sha256:bench", Scope("t", "w"), {})
    raw = plan_bytes(plan)
    index_plan(plan, plan_id_of(raw), manifest)
    return time.perf_counter() - started, len(raw)


def graphlib_seconds(manifest: Manifest) -> float:
    graph = {spec.key: [dep.asset for dep in spec.deps] for spec in manifest.assets}
    started = time.perf_counter()
    list(graphlib.TopologicalSorter(graph).static_order())
    return time.perf_counter() - started


def measure() -> dict[str, Any]:
    found = {}
    for size in (1000, 10_000):
        manifest = manifest_of(size)
        times = [plan_seconds(manifest) for _ in range(5)]
        seconds = statistics.median(t for t, _ in times)
        baseline = statistics.median(graphlib_seconds(manifest) for _ in range(5))
        found[f"{size} assets"] = {
            "seconds": round(seconds, 4),
            "plan_bytes": times[0][1],
            "times_a_bare_topological_sort": round(seconds / baseline, 1),
        }
    return {"cases": found}


if __name__ == "__main__":
    report("plan", measure)

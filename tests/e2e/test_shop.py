"""A small shop over all its partitions, run twice at a time: what an orchestrator is for."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.harness import running_plane, write_module

EVERY_PLANE = True

SHOP = """
    from arco_flow import PartitionKey, RetryPolicy, StaticPartitions, asset

    regions = StaticPartitions(["eu", "us", "asia"])
    tries = RetryPolicy(max_retries=3, delay="1s")

    @asset(namespace="t", partitions=regions, retry=tries)
    def orders(region: PartitionKey) -> list[str]:
        return [str(region)]

    @asset(namespace="t", partitions=regions, retry=tries)
    def clean(orders: list[str]) -> list[str]:
        return sorted(orders)

    @asset(namespace="t", retry=tries)
    def report(clean: dict[str, list[str]]) -> int:
        return len(clean)
"""
RUNS = 3
TASKS = 7


def test_runs_beside_each_other_end_whole_and_every_output_is_there_once(tmp_path: Path) -> None:
    module = write_module(tmp_path, "shop", SHOP)
    with running_plane(tmp_path) as plane:
        plane.deploy(module)
        asked = [plane.request("*", all_partitions=True) for _ in range(RUNS)]
        assert len({run.run_id for run in asked}) == RUNS
        ended = [plane.wait(run.run_id, 120) for run in asked]
        assert [(run.state, run.task_counts) for run in ended] == [
            ("SUCCEEDED", {"SUCCEEDED": TASKS})
        ] * RUNS
        plane.kept.settle()
        pointer = plane.promoted("t.report")
        stored = plane.objects.get(pointer["version"] + "data.json")
        assert stored is not None
        assert json.loads(stored.data) == 3
        # What an earlier run made is superseded when it comes after that of a later one.
        assert 1 <= pointer["promotion"] <= RUNS

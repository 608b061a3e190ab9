"""Kill -9 one function after the other: every run ends, and every output is there exactly once."""

from __future__ import annotations

import collections
import random
from pathlib import Path

from arco_flow.domain.events import PromotionRequested, TaskFinished
from arco_flow.simulation.history import History
from e2e.harness import PlaneUnderTest, write_module
from emulated.plane import ENGINE, RunningBundle, own_bundle

RUNS, KEYS, KILLS = 6, 8, 12
TASKS = 2 * KEYS

CODE = f"""
    from arco_flow import AssetContext, RetryPolicy, StaticPartitions, asset

    keys = StaticPartitions([f"k{{i:02d}}" for i in range({KEYS})])
    tries = RetryPolicy(max_retries=5, delay="1s")

    @asset(namespace="t", partitions=keys, retry=tries, heartbeat_timeout="5s")
    def first(context: AssetContext) -> dict[str, str]:
        return {{"run": context.run_id, "key": context.partition_key}}

    @asset(namespace="t", partitions=keys, retry=tries, heartbeat_timeout="5s")
    def second(first: dict[str, str], context: AssetContext) -> dict[str, str]:
        assert first == {{"run": context.run_id, "key": context.partition_key}}
        return first
"""


def test_functions_killed_at_any_moment_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    module = write_module(tmp_path, "shop", CODE)
    with own_bundle(engine=ENGINE) as running, running.under_test(tmp_path) as plane:
        plane.deploy(module)
        runs = [plane.request("*", all_partitions=True).run_id for _ in range(RUNS)]
        _kill_while_they_run(running, plane, runs)
        ended = [plane.wait(run_id, 90) for run_id in runs]
        assert [(run.state, run.task_counts) for run in ended] == [
            ("SUCCEEDED", {"SUCCEEDED": TASKS})
        ] * RUNS
        plane.require_every_promise()
        _require_each_result_once(plane.kept.history())


def _kill_while_they_run(running: RunningBundle, plane: PlaneUnderTest, runs: list[str]) -> None:
    """Each function at least once, in an order of the dice, while tasks come to their end."""
    chance = random.Random(20261121)
    # The client asks the API how far they are, and is patient for four attempts.
    functions = [name for name in running.bundle.table.functions if name != "api"]
    victims = ["api", *(chance.choice(functions) for _ in range(KILLS - len(functions) - 1))]
    victims += functions
    chance.shuffle(victims)
    moments = sorted(chance.randrange(RUNS * TASKS * 3 // 4) for _ in victims)
    for victim, moment in zip(victims, moments, strict=True):
        while _over(plane, runs) < moment:
            pass
        running.kill(victim)


def _over(plane: PlaneUnderTest, runs: list[str]) -> int:
    return sum(plane.run(run_id).task_counts.get("SUCCEEDED", 0) for run_id in runs)


def _require_each_result_once(history: History) -> None:
    """Out of the ledgers: of every task of every run one result, which reached the catalog."""
    accepted: collections.Counter[tuple[str, str]] = collections.Counter()
    promoted: collections.Counter[str] = collections.Counter()
    for name in history.heads:
        for _, entry in history.entries(name):
            data = entry.event.data
            is_applied = entry.disposition == "applied"
            if isinstance(data, TaskFinished) and data.outcome == "SUCCEEDED":
                accepted[name, data.task] += is_applied
            if isinstance(data, PromotionRequested):
                # That of an earlier run is superseded, when it comes after that of a later one.
                promoted[data.attempt_id] += is_applied
    assert len(accepted) == len(promoted) == RUNS * TASKS
    assert set(accepted.values()) == {1}, "one result of every task was accepted"
    assert max(promoted.values()) == 1, "and none was promoted twice"

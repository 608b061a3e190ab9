"""test_m3_failover_e2e: the process that leads is killed while tasks run; another one follows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from arco_flow.domain.decision import decode_segment
from arco_flow.domain.leadership import leadership_entity
from arco_flow.engine.sweeper import LEASE
from e2e.harness import PlaneUnderTest, write_module
from emulated.plane import CHAOS, RunningBundle, own_bundle

RUNS = 10
BUSY = 5
LIMIT_SECONDS = 30

GATED = """
    import pathlib, time
    from arco_flow import PartitionKey, RetryPolicy, StaticPartitions, asset

    GATE = pathlib.Path({gate!r})

    @asset(
        namespace="t",
        partitions=StaticPartitions([f"k{{i}}" for i in range({runs})]),
        retry=RetryPolicy(max_retries=2, delay="1s"),
    )
    def gated(key: PartitionKey) -> str:
        while not GATE.exists():
            time.sleep(0.05)
        return str(key)
"""


def test_m3_failover_e2e(tmp_path: Path) -> None:
    """A new leader within 30 s, in the ledger with both holders; all runs end; every output is
    there exactly once, counted in storage. On a calm plane and on one beside chaos, both at once:
    they wait for the end of a lease for most of the time."""
    planes = {"calm": {}, "chaos": CHAOS}
    with ThreadPoolExecutor(len(planes)) as threads:
        both = [threads.submit(_fail_over, tmp_path / name, planes[name]) for name in planes]
        for one in both:
            one.result()


def _fail_over(folder: Path, faults: dict) -> None:
    folder.mkdir()
    gate = folder / "gate"
    module = write_module(folder, "shop", GATED.format(gate=str(gate), runs=RUNS))
    engine = {"ARCO_FLOW_SWEEP_AGAIN_MS": "3000"}
    with (
        own_bundle(workers=BUSY, engine=engine, faults=faults) as running,
        running.under_test(folder) as plane,
    ):
        plane.deploy(module)
        runs = [plane.request("t.gated", partitions=[f"k{i}"]).run_id for i in range(RUNS)]
        _until(lambda: _running(plane, runs) >= BUSY, "five tasks run")
        running.sweep()
        first = _until(lambda: _holders(running), "somebody leads")[-1]
        killed_at = time.monotonic()
        running.bundle.kill("sweeper")
        holders = _until(
            lambda: found if (found := _holders(running))[-1] != first else None,
            "another one leads",
        )
        took_over = time.monotonic() - killed_at
        gate.touch()
        ended = [plane.wait(run_id, 90) for run_id in runs]
        assert took_over < LIMIT_SECONDS
        assert {first, holders[-1]} <= set(holders), "both holders are in the ledger"
        assert {run.state for run in ended} == {"SUCCEEDED"}
        markers = plane.committed_versions("t.gated")
        assert len(markers) == len({key.split("/versions/")[0] for key in markers}) == RUNS
        plane.require_every_promise()


def _holders(running: RunningBundle) -> list[str]:
    """Who has led so far, in order, out of the ledger."""
    segments = running.call(running.store.segments(str(leadership_entity(LEASE))))
    return [entry.event.data.holder for raw in segments for entry in decode_segment(raw).entries]


def _running(plane: PlaneUnderTest, runs: list[str]) -> int:
    return sum(plane.run(run_id).tasks[0].state == "RUNNING" for run_id in runs)


def _until(holds, what: str, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
    raise AssertionError(f"it did not come to that {what}")

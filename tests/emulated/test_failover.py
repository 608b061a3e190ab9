"""test_m3_failover_e2e: the process that leads is killed while tasks run; another one follows."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
from google.cloud import scheduler_v1
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
    CloudSchedulerGrpcAsyncIOTransport,
)

from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_store import FirestoreStore
from arco_flow.domain.decision import decode_segment
from arco_flow.domain.leadership import leadership_entity
from arco_flow.engine.sweeper import LEASE
from e2e.harness import PlaneUnderTest, write_module
from emulated.plane import RunningBundle, own_bundle

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
    there exactly once, counted in storage."""
    gate = tmp_path / "gate"
    module = write_module(tmp_path, "shop", GATED.format(gate=str(gate), runs=RUNS))
    with own_bundle(workers=BUSY, engine={"ARCO_FLOW_SWEEP_AGAIN_MS": "3000"}) as running:
        emulated = running.workspace()
        plane = PlaneUnderTest(tmp_path, emulated, emulated.objects)
        plane.deploy(module)
        runs = [plane.request("t.gated", partitions=[f"k{i}"]).run_id for i in range(RUNS)]
        _until(lambda: _running(plane, runs) >= BUSY, "five tasks run")
        running.call(_sweep(running))
        (first,) = _until(lambda: running.call(_holders(running)), "somebody leads")
        killed_at = time.monotonic()
        running.bundle.kill("sweeper")
        holders = _until(
            lambda: found if len(found := running.call(_holders(running))) > 1 else None,
            "another one leads",
        )
        took_over = time.monotonic() - killed_at
        gate.touch()
        ended = [plane.wait(run_id, 90) for run_id in runs]
        plane.client.close()
        assert took_over < LIMIT_SECONDS
        assert holders[0] == first
        assert len(set(holders)) == 2, "both holders are in the ledger"
        assert {run.state for run in ended} == {"SUCCEEDED"}
        markers = plane.committed_versions("t.gated")
        assert len(markers) == len({key.split("/versions/")[0] for key in markers}) == RUNS
        emulated.objects.close()


async def _holders(running: RunningBundle) -> list[str]:
    """Who has led so far, in order, out of the ledger."""
    calls = FirestoreCalls("demo-arco", emulator=running.environment("FIRESTORE_EMULATOR_HOST"))
    store = FirestoreStore("demo-arco", calls=calls)
    try:
        segments = await store.segments(str(leadership_entity(LEASE)))
    finally:
        await store.close()
    return [entry.event.data.holder for raw in segments for entry in decode_segment(raw).entries]


async def _sweep(running: RunningBundle) -> None:
    """Let Cloud Scheduler call now, instead of at the next full minute."""
    channel = grpc.aio.insecure_channel(running.environment("ARCO_FLOW_SCHEDULER_ENDPOINT"))
    client = scheduler_v1.CloudSchedulerAsyncClient(
        transport=CloudSchedulerGrpcAsyncIOTransport(channel=channel)
    )
    await client.run_job(name=f"{running.bundle.settings.place.parent}/jobs/sweeper")
    await channel.close()


def _running(plane: PlaneUnderTest, runs: list[str]) -> int:
    return sum(plane.run(run_id).tasks[0].state == "RUNNING" for run_id in runs)


def _until(holds, what: str, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
    raise AssertionError(f"it did not come to that {what}")

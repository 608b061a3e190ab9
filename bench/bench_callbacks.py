"""1,000 simultaneous completions of one run over real HTTP: no update lost, and how many commits.

Baseline of the same run: as many requests to a route that only answers (`/health/live`).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from common import WARM_UP, plane_with, report

from arco_flow.adapters.local.wiring import LocalPlane
from arco_flow.domain.envelope import CompletedRequest, DispatchEnvelope, parse_envelope
from arco_flow.engine import query, run_bridge
from arco_flow.engine.views import RunSpec

TASKS = 1000
CONNECTIONS = 50

CODE = (
    WARM_UP
    + f"""
@asset(partitions=StaticPartitions([f"k{{i}}" for i in range({TASKS})]))
def fan() -> None:
    return None
"""
)


async def measure() -> dict[str, Any]:
    async with plane_with(CODE) as plane:
        envelopes: list[DispatchEnvelope] = []

        async def keep(body: bytes, _delivery: object) -> None:
            envelopes.append(parse_envelope(body))

        # Workers of our own: they take every dispatch and answer all of them at one moment.
        plane.tasks.register("worker", keep)
        plane.tasks.set_concurrency("worker", TASKS)
        object.__setattr__(plane.engine.settings, "max_in_flight", TASKS)
        accepted = await run_bridge.request_run(
            plane.engine,
            plane.scope,
            RunSpec(selection="benched.fan", all_partitions=True),
            actor="bench",
        )
        while len(envelopes) < TASKS:
            await asyncio.sleep(0.005)
        opened = await query.get_run(plane.engine, plane.scope, accepted.run_id, tasks=False)
        requests = [_completed(envelope) for envelope in envelopes]
        seconds, statuses, latencies = await storm(plane, requests)
        while True:
            run = await query.get_run(plane.engine, plane.scope, accepted.run_id, tasks=False)
            if run.end_time:
                break
            await asyncio.sleep(0.005)
        idle = [(b"GET", "/health/live", b"", b"")] * TASKS
        baseline, _, _ = await storm(plane, idle)
    latencies.sort()
    return {
        "callbacks": TASKS,
        "answered_200": statuses.count(200),
        "tasks_succeeded": run.task_counts.get("SUCCEEDED", 0),
        "commits": run.version - opened.version,
        "seconds": round(seconds, 3),
        "callbacks_per_second": round(TASKS / seconds),
        "latency_ms": {
            "p50": round(1000 * latencies[TASKS // 2], 1),
            "p99": round(1000 * latencies[TASKS * 99 // 100], 1),
        },
        "times_an_empty_route": round(seconds / baseline, 1),
    }


Call = tuple[bytes, str, bytes, bytes]


def _completed(envelope: DispatchEnvelope) -> Call:
    body = msgspec.json.encode(
        CompletedRequest(
            attempt=envelope.attempt,
            attempt_id=envelope.attempt_id,
            worker_id="bench",
            outcome="SUCCEEDED",
            output={"rowCount": 1},
        )
    )
    path = f"/v1/tasks/{envelope.task_id}/completed"
    return (b"POST", path, body, envelope.task_token.encode())


async def storm(plane: LocalPlane, calls: list[Call]) -> tuple[float, list[int], list[float]]:
    """All calls at once over a fixed number of kept connections."""
    host, _, port = plane.url.removeprefix("http://").rpartition(":")
    pending = list(reversed(calls))
    statuses: list[int] = []
    latencies: list[float] = []
    started = time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while pending:
            statuses.append(await exchange(reader, writer, pending.pop(), host))
            latencies.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return time.perf_counter() - started, statuses, latencies


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: Call, host: str
) -> int:
    method, path, body, token = call
    head = (
        f"{method.decode()} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token.decode()}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in answer.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    await reader.readexactly(length)
    return int(answer.split(b" ", 2)[1])


if __name__ == "__main__":
    report("callbacks", measure)

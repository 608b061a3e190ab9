"""The Cloud Tasks emulator: tasks created and dispatched per second, and its processor time.

The emulator is a process of its own; the target, in this process, answers 200 to everything.
Baseline of dispatch: nothing, the service's own limit is 500 per second and queue.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc.aio
from common import report
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

TASKS = 4000
QUEUES = 8
CALLERS = 20
LOCATION = "projects/bench/locations/local"
BODY = b"x" * 500
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
EMULATORS = Path(__file__).resolve().parents[1] / "emulators"


class Target(asyncio.Protocol):
    """Answers each request when its body is there, and counts it."""

    seen = 0
    all_seen = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(BODY):
            return
        self._received = b""
        Target.seen += 1
        self._transport.write(ANSWER)
        if Target.seen == TASKS:
            Target.all_seen.set()


async def measure(*options: str) -> dict[str, Any]:
    Target.seen, Target.all_seen = 0, asyncio.Event()
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    emulator, port = _started(*options)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            transport = CloudTasksGrpcAsyncIOTransport(channel=channel)
            client = tasks_v2.CloudTasksAsyncClient(transport=transport)
            queues = [await _paused(client, number) for number in range(QUEUES)]
            created = await _timed(_create_all(client, queues, url))
            for queue in queues:
                await client.resume_queue(name=queue)
            dispatched = await _timed(Target.all_seen.wait())
    finally:
        emulator.terminate()
        emulator.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "created_per_second": round(TASKS / created),
        "dispatched_per_second": round(TASKS / dispatched),
        "processor_ms_per_task": round(1000 * spent / TASKS, 2),
    }


def _started(*options: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "arco_emulators", "tasks", "--port=0", "--admin-port=0"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, cwd=EMULATORS
    )
    assert process.stdout
    line = process.stdout.readline()
    return process, line.partition("127.0.0.1:")[2].partition(",")[0]


async def _paused(client: Any, number: int) -> str:
    name = f"{LOCATION}/queues/bench-{number}"
    await client.create_queue(parent=LOCATION, queue={"name": name})
    await client.pause_queue(name=name)
    return name


async def _create_all(client: Any, queues: list[str], url: str) -> None:
    pending = iter(range(TASKS))
    token = {"service_account_email": "bench@example.com", "audience": "bench"}
    task = tasks_v2.Task(http_request=tasks_v2.HttpRequest(url=url, body=BODY, oidc_token=token))

    async def caller() -> None:
        for number in pending:
            queue = queues[number % len(queues)]
            await client.create_task(
                tasks_v2.CreateTaskRequest(
                    parent=queue, task=tasks_v2.Task(task, name=f"{queue}/tasks/{number:08x}")
                )
            )

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _timed(work: Any) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="arco-flow-bench-") as folder:
        identity = f"--identity={folder}"
        return {
            "tasks": TASKS,
            "queues": QUEUES,
            "in_memory": await measure(identity),
            "with_data_file": await measure(identity, f"--data={folder}/tasks.db"),
        }


if __name__ == "__main__":
    report("Cloud Tasks emulator", main)

"""Many at once on the emulated plane: callbacks of one run, and requests under one run key."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import grpc
import msgspec
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from arco_flow.domain.envelope import CompletedRequest
from arco_flow.domain.ids import attempt_id_of, callback_task_id, dispatch_id_of
from e2e.harness import PlaneUnderTest, write_module
from emulated.plane import RunningBundle, own_bundle

TASKS = 1000
AT_ONCE = 100
REQUESTS = 50

FAN = f"""
    from arco_flow import StaticPartitions, asset

    @asset(namespace="t", partitions=StaticPartitions([f"k{{i:04}}" for i in range({TASKS})]))
    def fan() -> None:
        return None

    @asset(namespace="t")
    def one() -> None:
        return None
"""


def test_a_thousand_reports_of_one_run_at_once_lose_nothing(tmp_path: Path, capsys) -> None:
    """No lost update, no failed transaction told to a caller, and few commits."""
    module = write_module(tmp_path, "shop", FAN)
    with own_bundle(engine={"ARCO_FLOW_MAX_IN_FLIGHT": str(TASKS)}) as running:
        workspace = running.workspace()
        plane = PlaneUnderTest(tmp_path, workspace, workspace.objects)
        plane.deploy(module)
        running.call(_pause_workers(running))
        run_id = plane.request("t.fan", all_partitions=True).run_id
        tasks = _dispatched(plane, run_id)
        before = _commits(plane, run_id)
        started = time.perf_counter()
        answers = asyncio.run(_report_all(plane, run_id, tasks))
        run = plane.wait(run_id, 120)
        seconds = time.perf_counter() - started
        commits = _commits(plane, run_id) - before
        plane.client.close()
        workspace.objects.close()
    assert len(tasks) == TASKS
    assert {status for status, _ in answers} == {200}, answers[:3]
    assert (run.state, run.task_counts) == ("SUCCEEDED", {"SUCCEEDED": TASKS})
    assert commits <= 50, commits
    with capsys.disabled():
        figures = {"callbacks": TASKS, "commits": commits, "seconds": round(seconds, 2)}
        print(json.dumps({"emulated_fan_in": figures}))


def test_fifty_requests_of_one_key_over_two_processes_make_one_run(tmp_path: Path) -> None:
    """All are told of the same run; another request under the key is a recorded conflict."""
    module = write_module(tmp_path, "shop", FAN)
    with own_bundle(copies={"api": 2}) as running:
        workspace = running.workspace()
        plane = PlaneUnderTest(tmp_path, workspace, workspace.objects)
        plane.deploy(module)
        spec = {"selection": "t.one", "runKey": "the-key"}
        answers = asyncio.run(_request_all(running, workspace, [spec] * REQUESTS))
        accepted = [json.loads(body) for status, body in answers if status == 200]
        assert [status for status, _ in answers if status not in (200, 503)] == []
        assert len(accepted) > REQUESTS // 2
        assert len({answer["runId"] for answer in accepted}) == 1
        assert sum(answer["created"] for answer in accepted) <= 1
        other = {"selection": "t.fan", "allPartitions": True, "runKey": "the-key"}
        ((status, body),) = asyncio.run(_request_all(running, workspace, [other]))
        assert (status, json.loads(body)["error"]["status"]) == (409, "ALREADY_EXISTS")
        run_id = accepted[0]["runId"]
        plane.wait(run_id)
        kinds = {event["type"] for event in plane.events(run_id)}
        assert "RunKeyConflicted" in kinds
        plane.client.close()
        workspace.objects.close()


async def _pause_workers(running: RunningBundle) -> None:
    """Let no worker have a task: this test reports in their place."""
    channel = grpc.aio.insecure_channel(running.environment("ARCO_FLOW_TASKS_ENDPOINT"))
    client = tasks_v2.CloudTasksAsyncClient(
        transport=CloudTasksGrpcAsyncIOTransport(channel=channel)
    )
    await client.pause_queue(name=f"{running.bundle.settings.place.parent}/queues/worker")
    await channel.close()


def _dispatched(plane: PlaneUnderTest, run_id: str) -> list[str]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = plane.run(run_id)
        if run.task_counts.get("DISPATCHED") == TASKS:
            return [task.task for task in run.tasks]
    raise AssertionError(run.task_counts)


def _commits(plane: PlaneUnderTest, run_id: str) -> int:
    return plane.run(run_id).version


async def _report_all(
    plane: PlaneUnderTest, run_id: str, tasks: list[str]
) -> list[tuple[int, bytes]]:
    gate = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(plane.plane.callback_url) as session:

        async def report(task: str) -> tuple[int, bytes]:
            body = CompletedRequest(
                attempt=1,
                attempt_id=attempt_id_of(dispatch_id_of(run_id, task, 1)),
                worker_id="w1",
                outcome="SUCCEEDED",
                output={"rowCount": 0},
            )
            headers = {
                "authorization": f"Bearer {plane.attempt_token(run_id, task)}",
                "content-type": "application/json",
            }
            path = f"/v1/tasks/{callback_task_id(run_id, task)}/completed"
            async with (
                gate,
                session.post(path, data=msgspec.json.encode(body), headers=headers) as answer,
            ):
                return answer.status, await answer.read()

        return list(await asyncio.gather(*map(report, tasks)))


async def _request_all(running: RunningBundle, workspace, specs) -> list[tuple[int, bytes]]:
    """Each other request to the other process of the API."""
    async with aiohttp.ClientSession() as session:

        async def request(number: int, spec) -> tuple[int, bytes]:
            name = "api-2" if number % 2 else "api"
            url = running.bundle.processes[name].url
            headers = {"authorization": f"Bearer {running.plane.token(workspace.email, name)}"}
            path = f"{url}/v1/workspaces/{workspace.scope.workspace}/runs"
            async with session.post(path, json=spec, headers=headers) as answer:
                return answer.status, await answer.read()

        return list(await asyncio.gather(*(request(n, spec) for n, spec in enumerate(specs))))

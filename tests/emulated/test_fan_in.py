"""Many at once on the emulated plane: callbacks of one run, and requests under one run key."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import msgspec
import pytest

from arco_flow.domain.envelope import CompletedRequest
from e2e.harness import ATTEMPTS, TIDY_SOON, PlaneUnderTest, running_plane, write_module
from emulated.plane import CHAOS, ENGINE, RunningBundle, own_bundle

TASKS = 1000
MOST_COMMITS = 50
EMBEDDED_CONNECTIONS = 900
"""It takes 1,000 at a time, and whoever looks at the run has one, too."""
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
    emulated = _emulated_fan_in(tmp_path / "emulated", {})
    engine = replace(TIDY_SOON, max_in_flight=TASKS)
    with running_plane(tmp_path / "embedded", works=False, engine=engine) as plane:
        embedded = _fan_in(plane, connections=EMBEDDED_CONNECTIONS)
    with capsys.disabled():
        print(json.dumps({"fan_in": {"emulated": emulated, "embedded": embedded}}))


def test_beside_chaos_a_thousand_reports_at_once_lose_nothing_either(
    tmp_path: Path, capsys
) -> None:
    chaos = _emulated_fan_in(tmp_path, CHAOS)
    with capsys.disabled():
        print(json.dumps({"fan_in": {"chaos": chaos}}))


def _emulated_fan_in(folder: Path, faults: dict) -> dict[str, float]:
    engine = {**ENGINE, "ARCO_FLOW_MAX_IN_FLIGHT": str(TASKS)}
    with (
        own_bundle(engine=engine, faults=faults) as running,
        running.under_test(folder) as plane,
    ):
        running.deliver_to_workers(resume=False)
        return _fan_in(plane, connections=TASKS, attempts=_attempts(faults))


def _fan_in(plane: PlaneUnderTest, *, connections: int, attempts: int = 1) -> dict[str, float]:
    """Report the end of every task of one run at once; how that went."""
    plane.deploy(write_module(plane.folder, "shop", FAN))
    run_id = plane.request("t.fan", all_partitions=True).run_id
    tasks = _dispatched(plane, run_id)
    before = plane.run(run_id).version
    started = time.perf_counter()
    answers = asyncio.run(_report_all(plane, run_id, tasks, connections, attempts))
    run = plane.wait(run_id, 120)
    seconds = time.perf_counter() - started
    commits = run.version - before
    assert len(tasks) == TASKS
    assert {status for status, _ in answers} == {200}, answers[:3]
    assert (run.state, run.task_counts) == ("SUCCEEDED", {"SUCCEEDED": TASKS})
    assert commits <= MOST_COMMITS, commits
    return {"callbacks": TASKS, "commits": commits, "seconds": round(seconds, 2)}


@pytest.mark.parametrize("faults", [{}, CHAOS], ids=["calm", "chaos"])
def test_fifty_requests_of_one_key_over_two_processes_make_one_run(
    tmp_path: Path, faults: dict
) -> None:
    """All are told of the same run; another request under the key is a recorded conflict."""
    module = write_module(tmp_path, "shop", FAN)
    with (
        own_bundle(copies={"api": 2}, engine=ENGINE, faults=faults) as running,
        running.under_test(tmp_path) as plane,
    ):
        workspace = plane.plane
        plane.deploy(module)
        spec, attempts = {"selection": "t.one", "runKey": "the-key"}, _attempts(faults)
        answers = asyncio.run(_request_all(running, workspace, [spec] * REQUESTS, attempts))
        assert [status for status, _ in answers] == [200] * REQUESTS, answers
        accepted = [json.loads(body) for _, body in answers]
        assert len({answer["runId"] for answer in accepted}) == 1
        # Under chaos the answer of the one that made it may be lost on its way to the store.
        assert sum(answer["created"] for answer in accepted) in ((0, 1) if faults else (1,))
        other = {"selection": "t.fan", "allPartitions": True, "runKey": "the-key"}
        ((status, body),) = asyncio.run(_request_all(running, workspace, [other], attempts))
        assert (status, json.loads(body)["error"]["status"]) == (409, "ALREADY_EXISTS")
        run_id = accepted[0]["runId"]
        plane.wait(run_id)
        # The conflict was posted before it was answered, and is folded when its wake comes.
        plane.kept.settle()
        kinds = {event["type"] for event in plane.events(run_id)}
        assert "RunKeyConflicted" in kinds
        plane.require_every_promise()


def _attempts(faults: dict) -> int:
    """Workers and the command line ask again what is answered 503 and what a lost connection
    leaves open; calm, nobody has to."""
    return ATTEMPTS["chaos"] if faults else 1


def _dispatched(plane: PlaneUnderTest, run_id: str) -> list[str]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = plane.run(run_id)
        if run.task_counts.get("DISPATCHED") == TASKS:
            return [task.task for task in run.tasks]
    raise AssertionError(run.task_counts)


async def _report_all(
    plane: PlaneUnderTest, run_id: str, tasks: list[str], connections: int, attempts: int
) -> list[tuple[int, bytes]]:
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(plane.plane.callback_url, connector=connector) as session:

        async def report(task: str) -> tuple[int, bytes]:
            attempt = plane.attempt(run_id, task)
            body = CompletedRequest(
                attempt=1,
                attempt_id=attempt.attempt_id,
                worker_id="w1",
                outcome="SUCCEEDED",
                output={"rowCount": 0},
            )
            headers = {
                "authorization": f"Bearer {attempt.token}",
                "content-type": "application/json",
            }
            path = f"/v1/tasks/{attempt.task_id}/completed"
            raw = msgspec.json.encode(body)
            return await _post(session, path, attempts, data=raw, headers=headers)

        return list(await asyncio.gather(*map(report, tasks)))


async def _post(
    session: aiohttp.ClientSession, path: str, attempts: int, **request
) -> tuple[int, bytes]:
    """An answer that is not 503, as long as there are attempts."""
    for left in reversed(range(attempts)):
        try:
            async with session.post(path, **request) as answer:
                found = answer.status, await answer.read()
        except aiohttp.ClientConnectionError:
            if not left:
                raise
            continue
        if answer.status != 503:
            break
    return found


async def _request_all(
    running: RunningBundle, workspace, specs, attempts: int
) -> list[tuple[int, bytes]]:
    """Each other request to the other process of the API."""
    async with aiohttp.ClientSession() as session:

        async def request(number: int, spec) -> tuple[int, bytes]:
            name = "api-2" if number % 2 else "api"
            url = running.bundle.processes[name].url
            headers = {"authorization": f"Bearer {running.plane.token(workspace.email, name)}"}
            path = f"{url}/v1/workspaces/{workspace.scope.workspace}/runs"
            return await _post(session, path, attempts, json=spec, headers=headers)

        return list(await asyncio.gather(*(request(n, spec) for n, spec in enumerate(specs))))

"""An attempt's token goes to its own plane, whatever an envelope or an answer says."""

from __future__ import annotations

import asyncio
import json

import pytest
from plane_stub import Bench, CallbackServer

from arco_flow.domain.envelope import parse_envelope
from arco_flow.domain.errors import InvalidInput
from arco_flow.worker.callbacks import CallbackClient, Refused
from arco_flow.worker.dispatch import Dispatcher
from arco_flow.worker.pool import WorkerPool
from arco_flow.worker.process import WorkerSpec

PLANE = "https://plane.example"
CODE = """
from arco_flow.sdk.asset import asset

@asset
def noop() -> int:
    return 1
"""


def raw(bench: Bench, url: str) -> bytes:
    return json.dumps({**bench.envelope("sales.noop"), "callbackBaseUrl": url}).encode()


@pytest.mark.parametrize(
    "url",
    [
        "https://attacker.example",
        "http://plane.example",
        "https://plane.example.attacker.example",
        "https://plane.example@attacker.example",
        "https://plane.example:8443",
        "https://plane.example/v2",
        "https://plane.example?x=",
        "https://plane.example#",
        "https://PLANE.example",
        "https://plane.example ",
        "//plane.example",
        "http://169.254.169.254",
        "",
    ],
)
def test_an_envelope_of_another_host_is_refused_before_it_is_run(bench: Bench, url: str) -> None:
    ran: list[str] = []
    dispatcher = Dispatcher(lambda e: bool(ran.append(e.task_id)), callback_base_url=PLANE)
    reply = dispatcher.handle("POST", "/dispatch", raw(bench, url))
    assert (reply.status, json.loads(reply.body)["error"]) == (400, "invalid_argument")
    assert ran == []


@pytest.mark.parametrize(
    ("expected", "url"),
    [(PLANE, PLANE), (PLANE, f"{PLANE}/"), (f"{PLANE}/", PLANE), ("", "https://any.example")],
)
def test_an_envelope_of_the_own_plane_is_run(bench: Bench, expected: str, url: str) -> None:
    dispatcher = Dispatcher(lambda _: True, callback_base_url=expected)
    assert dispatcher.handle("POST", "/dispatch", raw(bench, url)).status == 200


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_worker_process_tells_another_host_nothing(bench: Bench, by: str) -> None:
    target = bench.write(CODE)
    options = ("--callback-base-url", PLANE) if by == "option" else ()
    environment = {"ARCO_FLOW_CALLBACK_BASE_URL": PLANE} if by == "environment" else {}
    with bench.worker(target, *options, **environment) as worker:
        worker.send(raw(bench, bench.server.url))
        assert worker.answer().status == 400
    assert bench.server.calls.empty()
    assert bench.marker("sales.noop") is None


def test_a_pool_does_not_even_report_a_death_to_another_host(bench: Bench) -> None:
    """Its processes can not start, so that it would have a death to report."""
    spec = WorkerSpec(
        target=str(bench.root / "absent.py"),
        root=str(bench.root),
        objects=str(bench.objects_folder),
        environment={"PATH": "", "PYTHONHOME": str(bench.root)},
        callback_base_url=PLANE,
    )

    async def scenario() -> None:
        pool = WorkerPool(spec, size=1)
        await pool.start()
        try:
            with pytest.raises(InvalidInput, match="this worker's plane is at") as caught:
                await pool.dispatch(raw(bench, bench.server.url))
            assert caught.value.reason == "WRONG_CALLBACK_URL"
        finally:
            await pool.close(0)

    asyncio.run(scenario())
    assert bench.server.calls.empty()


def test_a_pool_passes_its_plane_on_to_its_processes(bench: Bench) -> None:
    spec = WorkerSpec(
        target=str(bench.write(CODE)),
        root=str(bench.root),
        objects=str(bench.objects_folder),
        callback_base_url=bench.server.url,
    )

    async def scenario() -> int:
        pool = WorkerPool(spec, size=1)
        await pool.start()
        try:
            return await pool.dispatch(raw(bench, f"{bench.server.url}/"))
        finally:
            await pool.close(5)

    assert asyncio.run(scenario()) == 200
    assert bench.server.next("completed")["outcome"] == "SUCCEEDED"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(bench: Bench, status: int) -> None:
    attacker = CallbackServer()
    try:
        bench.server.answer = lambda _kind, _body: (status, {})
        bench.server.headers = {"Location": f"{attacker.url}/v1/tasks/x/started"}
        client = CallbackClient()
        answer = client.started(parse_envelope(raw(bench, bench.server.url)), "w")
        client.close()
        assert isinstance(answer, Refused)
        assert answer.status == status
        assert attacker.calls.empty()
    finally:
        attacker.close()

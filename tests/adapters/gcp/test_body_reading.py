"""A body is read when it is known who sends it, and worked on when it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.gcp.served import SCOPE, USER, Body, Lines, Served, issuer
from arco_flow.domain.envelope import DispatchEnvelope, parse_envelope
from arco_flow.domain.ids import callback_task_id, run_entity
from arco_flow.http.deliveries import MAX_DELIVERY_BYTES
from arco_flow.http.routing import API_BODY_BYTES, CALLBACK_BODY_BYTES

RUNS, OTHER_RUNS = "/v1/workspaces/prod/runs", "/v1/workspaces/other/runs"


@pytest.fixture
def served() -> Served:
    return Served(Lines())


def dispatched(served: Served) -> DispatchEnvelope:
    """The envelope of an attempt."""
    served.deploy()
    assert served.ask("api", "POST", RUNS, b'{"selection": "shop.a"}').status_code == 200
    served.deliver_queued()
    return parse_envelope(served.sent["worker"][0])


def stranger() -> str:
    return issuer().token("x@other.example", "https://functions.example")


NOT_LET_IN: Mapping[str, tuple[int, str, dict[str, Any]]] = {
    "no token": (401, "api", {"path": RUNS, "token": ""}),
    "a bad token": (401, "api", {"path": RUNS, "token": "x"}),
    "the workspace of somebody else": (404, "api", {"path": OTHER_RUNS}),
    "a path that is none": (404, "api", {"path": "/v1/x"}),
    "an unknown argument": (400, "api", {"path": f"{RUNS}?x=1"}),
    "a delivery without a token": (401, "dispatch", {"token": ""}),
    "a delivery with a user's token": (401, "dispatch", {"token": USER}),
    "a delivery of another account": (403, "dispatch", {"token": stranger}),
    "a push of another account": (403, "run_bridge", {"token": stranger}),
    "a delivery to a path that is none": (404, "dispatch", {"path": "/x"}),
    "a delivery to the path of health": (404, "dispatch", {"path": "/health/live"}),
    "a delivery by another method": (405, "dispatch", {"method": "PUT"}),
    "a report without a token": (401, "worker_callback", {"path": "task", "token": ""}),
    "a report with a bad token": (401, "worker_callback", {"path": "task", "token": "a.b.c"}),
    "a report with a user's token": (401, "worker_callback", {"path": "task", "token": USER}),
    "a report on another task": (403, "worker_callback", {"path": "other"}),
}


@pytest.mark.parametrize("what", NOT_LET_IN)
def test_the_body_of_whoever_is_not_let_in_is_not_read(served: Served, what: str) -> None:
    status, function, request = NOT_LET_IN[what]
    if function == "worker_callback":
        envelope = dispatched(served)
        other = callback_task_id(envelope.run_id, "shop.b")
        task = {"task": envelope.task_id, "other": other}[request["path"]]
        token = request.get("token", envelope.task_token)
        request = {"path": f"/v1/tasks/{task}/started", "token": token}
    if callable(request.get("token")):
        request = {**request, "token": request["token"]()}
    body = Body(b"{}")
    assert served.ask(function, body=body, **request).status_code == status
    assert body.asked == 0


def test_the_body_of_a_good_caller_is_read_in_its_parts(served: Served) -> None:
    served.deploy()
    raw = b'{"selection": "shop.a"}'
    body = Body(raw[:5], raw[5:9], raw[9:])
    assert served.ask("api", "POST", RUNS, body).status_code == 200
    assert body.asked == 3


@pytest.mark.parametrize(
    ("function", "limit"),
    [
        ("api", API_BODY_BYTES),
        ("worker_callback", CALLBACK_BODY_BYTES),
        ("dispatch", MAX_DELIVERY_BYTES),
    ],
)
def test_a_body_is_not_collected_beyond_its_limit(
    served: Served, function: str, limit: int
) -> None:
    request: dict[str, Any] = {"path": RUNS} if function == "api" else {}
    if function == "worker_callback":
        envelope = dispatched(served)
        path = f"/v1/tasks/{envelope.task_id}/completed"
        request = {"path": path, "token": envelope.task_token}
    body = Body(bytes(limit), b"x", bytes(limit))
    answer = served.ask(function, body=body, **request)
    assert (answer.status_code, body.asked) == (413, 2)
    if function == "worker_callback":
        told = json.loads(answer.body)
        assert told["error"] == "body_too_large", "in the protocol of workers"


@pytest.mark.parametrize("function", ["dispatch", "run_bridge", "worker", "timer_ingest"])
def test_a_delivery_that_breaks_off_is_neither_worked_on_nor_put_aside(
    served: Served, function: str
) -> None:
    run = dispatched(served).run_id
    beginning = str(run_entity(SCOPE, run))[:-3].encode()
    answer = served.ask(function, body=Body(beginning, cut=True))
    assert answer.status_code == 400
    assert json.loads(answer.body)["error"]["details"][0]["reason"] == "MALFORMED_REQUEST"
    assert served.buried == []


def test_a_request_that_breaks_off_is_not_carried_out(served: Served) -> None:
    served.deploy()
    whole = b'{"selection": "shop.a"}'
    assert served.ask("api", "POST", RUNS, Body(whole, cut=True)).status_code == 400
    assert json.loads(served.ask("api", "GET", RUNS).body)["runs"] == []

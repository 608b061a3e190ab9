import datetime as dt
import json
import socket
import threading

import pytest

from arco_flow.domain.envelope import (
    CallbackResponse,
    CompletedRequest,
    DispatchEnvelope,
    parse_envelope,
)
from arco_flow.worker.callbacks import (
    CallbackClient,
    Refused,
    Unreachable,
    backoff,
    token_seconds,
)
from arco_flow.worker.connection import IDLE_SECONDS
from arco_flow.worker.dispatch import Dispatcher


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(clock):
    made = CallbackClient(clock=clock, wait=clock.wait)
    yield made
    made.close()


def envelope_of(bench, **changes) -> DispatchEnvelope:
    return parse_envelope(json.dumps({**bench.envelope("a.b"), **changes}).encode())


def report() -> CompletedRequest:
    return CompletedRequest(attempt=1, attempt_id="att_1", worker_id="w", outcome="SUCCEEDED")


def test_callbacks_carry_the_token_and_the_path(bench, client):
    answer = client.started(envelope_of(bench, taskId="a/b c"), "worker-1")
    assert isinstance(answer, CallbackResponse)
    task, kind, body, token = bench.server.calls.get(timeout=5)
    assert (task, kind, token) == ("a%2Fb%20c", "started", "Bearer the-token")
    assert body["attemptId"] == "att_1"
    assert body["workerId"] == "worker-1"
    assert body["startedAt"].endswith("Z")


def test_one_connection_serves_all_calls(bench, client):
    envelope = envelope_of(bench)
    client.started(envelope, "w")
    first = client._connection._socket
    client.heartbeat(envelope, "w", progress_pct=40, message="loading")
    client.completed(envelope, report())
    assert client._connection._socket is first
    assert [bench.server.next()["attempt"] for _ in range(3)] == [1, 1, 1]


def test_a_busy_plane_is_asked_again_when_it_says(bench, client, clock):
    answers = iter([(503, {}), (429, {}), (500, {})])
    bench.server.headers = {"Retry-After": "7"}
    bench.server.answer = lambda kind, body: next(answers, (200, {"acknowledged": True}))
    assert isinstance(client.started(envelope_of(bench), "w"), CallbackResponse)
    assert clock.waits == [7.0, 7.0, 7.0]


def test_pauses_grow_and_are_spread(bench, client, clock):
    bench.server.answer = lambda kind, body: (503, {})
    answer = client.started(envelope_of(bench), "w")
    assert isinstance(answer, Unreachable)
    assert "status 503" in answer.reason
    assert 45 <= clock.now <= 60
    assert clock.waits[0] < 0.2 < clock.waits[3]
    assert max(clock.waits) <= 15
    assert len({backoff(3) for _ in range(20)}) > 1


def test_a_plane_that_is_gone_is_unreachable_after_the_budget(bench, client, clock):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    answer = client.started(envelope_of(bench, callbackBaseUrl=url), "w")
    assert isinstance(answer, Unreachable)
    assert "refused" in answer.reason


def test_a_completion_is_tried_as_long_as_the_token_lives(bench, clock, client):
    bench.server.answer = lambda kind, body: (503, {})
    end = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)).isoformat()
    client.completed(envelope_of(bench, tokenExpiresAt=end), report())
    assert 500 < clock.now <= 600
    assert token_seconds(envelope_of(bench, tokenExpiresAt="2020-01-01T00:00:00Z")) == 0
    assert token_seconds(envelope_of(bench, tokenExpiresAt="never")) == 3600


def test_an_orphan_gives_up_after_five_seconds(bench, clock):
    client = CallbackClient(clock=clock, wait=clock.wait, orphaned=lambda: True)
    bench.server.answer = lambda kind, body: (503, {})
    assert isinstance(client.completed(envelope_of(bench), report()), Unreachable)
    assert clock.now <= 5
    client.close()


def test_a_heartbeat_is_tried_once(bench, client, clock):
    bench.server.answer = lambda kind, body: (503, {})
    assert isinstance(client.heartbeat(envelope_of(bench), "w"), Unreachable)
    assert clock.waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410])
def test_refusals_are_answers(bench, client, clock, status):
    payload = {"error": "attempt_mismatch", "message": "stale", "state": "RUNNING"}
    bench.server.answer = lambda kind, body: (status, payload)
    assert client.started(envelope_of(bench), "w") == Refused(
        status, "attempt_mismatch", "stale", "RUNNING"
    )
    assert clock.waits == []


def test_a_refusal_by_something_else_is_still_one(bench, client):
    bench.server.answer = lambda kind, body: (403, {"html": "nope"})
    answer = client.started(envelope_of(bench), "w")
    assert isinstance(answer, Refused)
    assert answer.error == "unreadable"


def test_a_connection_that_went_stale_is_opened_anew(bench, client, clock):
    envelope = envelope_of(bench)
    client.started(envelope, "w")
    client._connection._socket.shutdown(socket.SHUT_RDWR)
    assert isinstance(client.completed(envelope, report()), CallbackResponse)
    assert clock.waits == []


def test_a_connection_that_was_idle_for_long_is_not_used_again(bench, client, clock):
    """It may have been dropped unheard, and a claim on it would wait for its whole time-out."""
    envelope = envelope_of(bench)
    client.started(envelope, "w")
    first = client._connection._socket
    clock.now += IDLE_SECONDS
    client.heartbeat(envelope, "w")
    assert client._connection._socket is first
    clock.now += IDLE_SECONDS + 1
    client.heartbeat(envelope, "w")
    assert client._connection._socket is not first
    assert clock.waits == []


# -- who may run, and what is answered without running ------------------------------------


def dispatcher_of(run, scope=None):
    return Dispatcher(run, scope)


def raw(bench, **changes) -> bytes:
    return json.dumps({**bench.envelope("a.b"), **changes}).encode()


def test_a_dispatch_in_flight_is_answered_503_and_later_200_without_running(bench):
    entered, leave, runs = threading.Event(), threading.Event(), []

    def run(envelope):
        runs.append(envelope.attempt_id)
        entered.set()
        assert leave.wait(20)
        return True

    dispatcher = dispatcher_of(run)
    thread = threading.Thread(target=dispatcher.handle, args=("POST", "/dispatch", raw(bench)))
    thread.start()
    assert entered.wait(20)
    reply = dispatcher.handle("POST", "/dispatch", raw(bench))
    assert (reply.status, reply.retry_after_seconds) == (503, 1)
    leave.set()
    thread.join()
    assert dispatcher.handle("POST", "/dispatch", raw(bench)).status == 200
    assert runs == ["att_1"]


def test_an_unclaimed_or_broken_dispatch_may_come_again(bench):
    outcomes = iter([False, RuntimeError("bug"), True])

    def run(envelope):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    dispatcher = dispatcher_of(run)
    answers = [dispatcher.handle("POST", "/dispatch", raw(bench)).status for _ in range(4)]
    assert answers == [503, 500, 200, 200]


def test_only_the_last_thousand_attempts_are_remembered(bench):
    runs = []
    dispatcher = dispatcher_of(lambda envelope: runs.append(envelope.attempt_id) or True)
    for number in range(1025):
        dispatcher.handle("POST", "/dispatch", raw(bench, attemptId=f"att_{number}"))
    dispatcher.handle("POST", "/dispatch", raw(bench, attemptId="att_0"))
    dispatcher.handle("POST", "/dispatch", raw(bench, attemptId="att_1024"))
    assert len(runs) == 1026


def test_wrong_requests_are_refused(bench):
    from arco_flow.domain.ids import Scope

    dispatcher = dispatcher_of(lambda envelope: True, Scope("t", "other"))
    assert dispatcher.handle("POST", "/dispatch", b"{").status == 400
    reply = dispatcher.handle("POST", "/dispatch", raw(bench))
    assert reply.status == 400
    assert b"serves" in reply.body
    assert dispatcher.handle("POST", "/dispatch", raw(bench, attempt=0)).status == 400
    assert dispatcher.handle("GET", "/nope", b"").status == 404
    assert dispatcher.handle("GET", "/health/live", b"").status == 200

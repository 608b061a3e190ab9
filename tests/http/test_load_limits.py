"""A caller that asks without end is told when to come again, and nobody waits in others' way."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import msgspec
import pytest
from http_plane import BASE, NEIGHBOUR, READER, WRITER, Plane, error_of, manifest, reason_of
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.http.app import App
from arco_flow.http.load_limits import COUNTED_CALLERS, Bucket, CallerRates, Rate, Waits, take
from arco_flow.http.messages import Request, Response
from arco_flow.http.refusals import TooManyRequests

RATES = st.builds(Rate, st.integers(1, 1000), st.integers(1, 1000))
PAUSES = st.lists(st.floats(0, 10, allow_nan=False), max_size=200)


def passed(rates: CallerRates, caller: str = "ana", requests: int = 1) -> int:
    """How many of the requests are admitted."""
    admitted = 0
    for _ in range(requests):
        try:
            rates.admit(caller)
        except TooManyRequests:
            continue
        admitted += 1
    return admitted


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# -- the rule ------------------------------------------------------------------------------------


def test_a_burst_passes_and_then_as_many_as_the_rate_says() -> None:
    time = Time()
    rates = CallerRates(Rate(10, 20), time)
    assert passed(rates, requests=100) == 20
    time.now += 0.5
    assert passed(rates, requests=100) == 5
    time.now += 3600
    assert passed(rates, requests=100) == 20, "more than a burst is not saved up"


def test_a_refusal_says_after_how_many_whole_seconds_a_request_passes() -> None:
    time = Time()
    rates = CallerRates(Rate(1, 3), time)
    passed(rates, requests=3)
    with pytest.raises(TooManyRequests) as caught:
        rates.admit("ana")
    assert caught.value.retry_after_seconds == 1
    time.now += caught.value.retry_after_seconds
    assert passed(rates) == 1


def test_who_is_refused_does_not_wait_longer_for_having_asked() -> None:
    time = Time()
    rates = CallerRates(Rate(1, 1), time)
    passed(rates)
    time.now += 0.9
    assert passed(rates, requests=1000) == 0
    time.now += 0.1
    assert passed(rates) == 1


def test_one_caller_takes_nothing_of_another_one() -> None:
    rates = CallerRates(Rate(1, 1), Time())
    assert passed(rates, "ana", 5) == 1
    assert passed(rates, "bo", 5) == 1


def test_no_more_callers_are_remembered_than_are_counted() -> None:
    rates = CallerRates(Rate(1, 1), Time())
    for number in range(COUNTED_CALLERS + 1):
        assert passed(rates, f"user{number}") == 1
    assert passed(rates, "user0") == 1, "it begins anew"
    assert passed(rates, f"user{COUNTED_CALLERS}") == 0


@given(RATES, PAUSES)
def test_within_any_time_no_more_pass_than_a_burst_and_the_rate(
    rate: Rate, pauses: list[float]
) -> None:
    bucket: Bucket | None = None
    now = passes = 0.0
    for pause in pauses:
        now += pause
        bucket, early = take(rate, bucket, now)
        passes += early == 0
        assert 0 <= bucket.tokens <= rate.burst
        # A sum of many spans is off by what floats are.
        assert early <= 1 / rate.per_second + 1e-9
    assert passes <= rate.burst + now * rate.per_second + 1e-6


@given(RATES, PAUSES)
def test_who_comes_when_it_was_told_passes(rate: Rate, pauses: list[float]) -> None:
    bucket: Bucket | None = None
    now = 0.0
    for pause in pauses:
        now += pause
        bucket, early = take(rate, bucket, now)
        if early:
            now += early + 1e-6
            bucket, early = take(rate, bucket, now)
            assert early == 0


def test_a_clock_that_goes_back_gives_and_takes_nothing() -> None:
    bucket, _ = take(Rate(1, 5), Bucket(2.0, 100.0), 90.0)
    assert bucket.tokens == 1.0


# -- over HTTP -----------------------------------------------------------------------------------


@pytest.fixture
def limited() -> Plane:
    plane = Plane(rate=Rate(1, 3))
    plane.ask("POST", f"{BASE}/deployments?location.target=shop", manifest())
    return plane


def test_too_many_requests_are_429_with_the_pause_to_keep(limited: Plane) -> None:
    answers = [limited.ask("GET", f"{BASE}/runs") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429]
    error = error_of(answers[-1])
    assert (error["status"], reason_of(answers[-1])) == ("RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS")
    assert dict(answers[-1].headers)["retry-after"] == "1"
    assert error["details"][1]["retryDelay"] == "1s"


def test_refused_requests_count_and_other_callers_are_served(limited: Plane) -> None:
    statuses = [limited.ask("GET", f"{BASE}/runs/nowhere").status for _ in range(3)]
    assert statuses == [404, 404, 429]
    assert limited.ask("GET", f"{BASE}/runs", token=READER).status == 200
    assert limited.ask("GET", "/v1/workspaces/other/runs", token=NEIGHBOUR).status == 200
    for _ in range(5):
        assert limited.ask("GET", f"{BASE}/runs", token="nobody's").status == 401
        assert limited.ask("GET", "/health/ready", token="").status == 200


def test_reports_of_workers_are_never_too_many(limited: Plane) -> None:
    limited.ask("POST", f"{BASE}/runs", {"selection": "shop.a"})
    limited.work()
    envelope = limited.envelopes[0]
    report = {"attempt": 1, "attemptId": envelope.attempt_id, "workerId": "w"}
    path = f"/v1/tasks/{envelope.task_id}/heartbeat"
    limited.ask("POST", path.replace("heartbeat", "started"), report, token=envelope.task_token)
    for _ in range(20):
        assert limited.ask("POST", path, report, token=envelope.task_token).status == 200


def test_a_plane_that_was_given_no_rate_takes_requests_as_they_come() -> None:
    plane = Plane()
    assert {plane.ask("GET", f"{BASE}/runs").status for _ in range(500)} == {200}


# -- who waits -----------------------------------------------------------------------------------


@pytest.fixture
def running() -> tuple[Plane, str]:
    plane = Plane()
    plane.ask("POST", f"{BASE}/deployments?location.target=shop", manifest())
    return plane, plane.post("/runs", {"selection": "shop.a"})["runId"]


def test_a_place_to_wait_is_given_back() -> None:
    waits = Waits(2)
    with ExitStack() as stack:
        assert [stack.enter_context(waits.place()) for _ in range(3)] == [True, True, False]
    with ExitStack() as stack, pytest.raises(ZeroDivisionError), waits.place():
        raise ZeroDivisionError
    with ExitStack() as stack:
        assert [stack.enter_context(waits.place()) for _ in range(3)] == [True, True, False]


def test_one_caller_too_many_is_answered_at_once_and_the_others_go_on_waiting(
    running: tuple[Plane, str],
) -> None:
    plane, run = running
    app = App(plane.engine, plane.authenticator, max_waits=2)

    def waiting(seconds: int) -> asyncio.Task[Response]:
        headers = {"authorization": f"Bearer {WRITER}"}
        request = Request("GET", f"{BASE}/runs/{run}", f"wait={seconds}s", headers)
        return asyncio.create_task(app.handle(request))

    async def main() -> None:
        patient = [waiting(60), waiting(60)]
        await asyncio.sleep(0)
        answer = await asyncio.wait_for(waiting(60), 5)
        assert msgspec.json.decode(answer.body)["state"] == "RUNNING"
        assert not any(task.done() for task in patient)
        for task in patient:
            task.cancel()
        await asyncio.gather(*patient, return_exceptions=True)
        follower = waiting(60)
        await asyncio.sleep(0)
        assert not follower.done(), "there is a place again"
        follower.cancel()

    asyncio.run(main())

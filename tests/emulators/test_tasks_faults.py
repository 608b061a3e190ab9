"""What goes wrong on purpose, and what is counted of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from google.api_core import exceptions

from emulators import tasks_client
from emulators.tasks_client import LOCATION, at, seconds

QUICK = {"min_backoff": seconds(0.01), "max_backoff": seconds(0.02)}


@pytest.fixture(scope="module")
def service(loop, tmp_path_factory):
    return tasks_client.start(loop, tmp_path_factory.mktemp("identity"))


@pytest.fixture
def queue(service):
    return service.queue(retry_config=QUICK)


def test_a_delivery_can_come_twice_with_the_same_headers(service, queue, inbox):
    with service.faults(duplicate=1, duplicate_ms=[0, 5]):
        service.create(queue, inbox.url, http_request={"body": b"x"})
        first, second = inbox.receive(), inbox.receive()
        service.idle()
    assert (first.headers, first.body) == (second.headers, second.body)
    assert inbox.received.empty()


def test_a_delivery_can_come_late(service, queue, inbox):
    with service.faults(delay_ms=[150, 200]):
        due = service.create(queue, inbox.url).schedule_time.timestamp()
        request = inbox.receive()
    assert service.now() - due >= 0.15
    assert float(request.headers["X-CloudTasks-TaskETA"]) == pytest.approx(due, abs=1e-5)


def test_a_delivery_can_come_before_its_time(service, queue, inbox):
    due = service.now() + 3600
    with service.faults(early=1, early_ms=[3_600_000, 3_600_000]):
        service.create(queue, inbox.url, schedule_time=at(due))
        request = inbox.receive()
    assert float(request.headers["X-CloudTasks-TaskETA"]) == pytest.approx(due, abs=1e-5)


def test_a_dropped_delivery_is_made_again_and_was_no_attempt(service, queue, inbox):
    before = service.counted("faults", "dropped")
    with service.faults(drop=0.5, drop_ms=[0, 5]):
        names = {service.create(queue, inbox.url).name.rpartition("/")[2] for _ in range(20)}
        requests = [inbox.receive() for _ in names]
        service.idle()
    assert service.counted("faults", "dropped") > before
    assert {request.headers["X-CloudTasks-TaskName"] for request in requests} == names
    assert {request.headers["X-CloudTasks-TaskRetryCount"] for request in requests} == {"0"}
    assert inbox.received.empty()


def test_what_a_target_did_can_be_asked_of_it_again_because_its_answer_was_lost(
    service, queue, inbox
):
    with service.faults(lose_answer=1):
        service.create(queue, inbox.url)
        inbox.receive()
    again = inbox.receive()
    while again.headers["X-CloudTasks-TaskRetryCount"] == "0":
        again = inbox.receive()
    assert "X-CloudTasks-TaskPreviousResponse" not in again.headers


def test_a_call_can_be_refused_and_then_nothing_is_done(service, queue, inbox):
    with service.faults(unavailable=1), pytest.raises(exceptions.ServiceUnavailable):
        service.create(queue, inbox.url, task_id="refused")
    service.create(queue, inbox.url, task_id="refused")
    inbox.receive()


def test_a_call_can_be_done_and_yet_be_answered_with_an_error(service, queue, inbox):
    with service.faults(landed=1), pytest.raises(exceptions.ServiceUnavailable):
        service.create(queue, inbox.url, task_id="landed")
    inbox.receive()
    with pytest.raises(exceptions.AlreadyExists):
        service.create(queue, inbox.url, task_id="landed")


def test_one_seed_makes_one_sequence_of_faults(service, queue, inbox):
    def outcomes():
        with service.faults(unavailable=0.5):
            return [_succeeds(lambda: service.client.pause_queue(name=queue)) for _ in range(12)]

    first = outcomes()
    assert outcomes() == first
    assert {True, False} == set(first)


def test_a_new_queue_can_be_unknown_for_a_while(service):
    with service.faults(settle_ms=[60_000, 60_000]):
        name = service.queue()
        with pytest.raises(exceptions.NotFound, match="wait at least a minute"):
            service.client.get_queue(name=name)
    service.advance(60)
    assert service.client.get_queue(name=name).name == name


def test_a_purge_can_take_its_time(service, inbox):
    queue = service.queue()
    service.client.pause_queue(name=queue)
    service.create(queue, inbox.url)
    with service.faults(purge_ms=[60_000, 60_000]):
        service.client.purge_queue(name=queue)
    assert len(list(service.client.list_tasks(parent=queue))) == 1
    later = service.create(queue, inbox.url).name
    service.advance(60)
    assert [task.name for task in service.client.list_tasks(parent=queue)] == [later]


def test_answers_that_say_slow_down_slow_the_queue_down(service, inbox):
    queue = service.queue(retry_config=QUICK, rate_limits={"max_dispatches_per_second": 40})
    inbox.answers.extend([503] * 4)
    with service.faults(throttle=1):
        service.create(queue, inbox.url)
        requests = [inbox.receive() for _ in range(5)]
    # From 40 per second to 20, 10, 5: without the fault all come within 0.1 seconds.
    assert requests[-1].at - requests[0].at >= 0.25


def test_with_every_fault_at_once_each_task_is_delivered_and_ends(service, inbox):
    queue = service.queue(retry_config=QUICK)
    knobs = {
        "delay_ms": [0, 20],
        "duplicate": 0.2,
        "drop": 0.1,
        "drop_ms": [0, 20],
        "lose_answer": 0.1,
        "early": 0.1,
        "unavailable": 0.1,
        "landed": 0.1,
    }
    inbox.answers.extend([500, 503, 429, 404] * 5)
    names = [f"task-{number}" for number in range(100)]
    with service.faults(**knobs):
        for name in names:
            _until_created(lambda name=name: service.create(queue, inbox.url, task_id=name))
    service.idle()
    received = [inbox.received.get_nowait() for _ in range(inbox.received.qsize())]
    assert {request.headers["X-CloudTasks-TaskName"] for request in received} == set(names)
    assert len(received) > len(names) + 20
    state = service.admin("GET", "/admin/stats")["queues"][queue]
    assert state == {"tasks": 0, "under_way": 0, "tombstones": 100}


@pytest.mark.parametrize(
    ("knobs", "problem"),
    [
        ({"dupliacte": 0.2}, "no fault is called 'dupliacte'; there are delay_ms, duplicate"),
        ({"duplicate": 2}, "duplicate is a probability from 0 to 1, not 2"),
        ({"duplicate": "often"}, "duplicate takes a number, not 'often'"),
        ({"delay_ms": [5, 1]}, "delay_ms is a span low:high in milliseconds"),
        ([1], "a JSON object is wanted, not list"),
    ],
)
def test_a_knob_that_does_not_exist_or_fit_is_refused_and_nothing_is_changed(
    service, knobs, problem
):
    before = service.admin("GET", "/admin/faults")
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        service.admin("PATCH", "/admin/faults", knobs)
    assert problem in json.loads(refused.value.read())["error"]
    assert service.admin("GET", "/admin/faults") == before


def test_the_clock_only_moves_forward(service):
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        service.advance(-1)
    assert "only moves forward" in json.loads(refused.value.read())["error"]


def test_operations_are_counted_by_method_and_deliveries_by_fate(service, inbox):
    queue = service.queue(retry_config=QUICK)
    service.admin("DELETE", "/admin/stats")
    inbox.answers.append(500)
    service.create(queue, inbox.url, task_id="counted")
    inbox.receive(), inbox.receive()
    service.idle()
    with pytest.raises(exceptions.AlreadyExists):
        service.create(queue, inbox.url, task_id="counted")
    stats = service.admin("GET", "/admin/stats")
    assert stats["calls"] == {"CreateTask": 2}
    assert stats["errors"] == {"CreateTask ALREADY_EXISTS": 1}
    assert stats["deliveries"] == {"failed": 1, "retries": 1, "sent": 2, "succeeded": 1}
    assert stats["queues"][queue] == {"tasks": 0, "under_way": 0, "tombstones": 1}


def test_waiting_for_quiet_has_an_end(service, queue, inbox):
    released = inbox.hold()
    service.create(queue, inbox.url)
    inbox.receive()
    with pytest.raises(urllib.error.HTTPError, match="408"):
        service.admin("GET", "/admin/idle?timeout_seconds=0.05")
    released.set()
    service.idle()


def test_the_emulator_forgets_everything_when_it_is_told_to(service, queue, inbox):
    service.create(queue, inbox.url, schedule_time=at(service.now() + 60))
    service.admin("POST", "/admin/reset")
    assert not list(service.client.list_queues(parent=LOCATION))
    service.client.create_queue(parent=LOCATION, queue={"name": queue})


def test_the_administrative_port_says_that_the_emulator_is_well(service):
    assert service.admin("GET", "/health") == {"status": "ok"}
    assert service.admin("GET", "/certs")


def _until_created(create):
    """As a careful caller does: try again, and take a task that is there for success."""
    while True:
        try:
            create()
        except exceptions.ServiceUnavailable:
            continue
        except exceptions.AlreadyExists:
            pass
        return


def _succeeds(call):
    try:
        call()
    except exceptions.ServiceUnavailable:
        return False
    return True

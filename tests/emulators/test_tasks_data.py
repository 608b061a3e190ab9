"""What the emulator holds survives its process."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from arco_emulators.tasks.settings import Limits
from emulators import tasks_client
from emulators.conftest import Loop
from emulators.tasks_client import LOCATION, at, seconds

QUEUE = f"{LOCATION}/queues/kept"


@pytest.fixture
def serve(tmp_path):
    """Start an emulator on one data file; starting it again ends the one before."""
    loops = []

    def started():
        for loop in loops:
            loop.close()
        loops[:] = [Loop()]
        limits = Limits(min_deadline_seconds=0.05)
        return tasks_client.start(loops[0], tmp_path, data=tmp_path / "tasks.db", limits=limits)

    yield started
    for loop in loops:
        loop.close()


def _create_queue(service, **settings):
    service.client.create_queue(parent=LOCATION, queue={"name": QUEUE, **settings})


def test_queues_tasks_and_their_state_survive(serve, inbox):
    service = serve()
    _create_queue(service, rate_limits={"max_concurrent_dispatches": 3})
    service.client.pause_queue(name=QUEUE)
    task = service.create(QUEUE, inbox.url, task_id="kept", http_request={"body": b"x"})
    service = serve()
    queue = service.client.get_queue(name=QUEUE)
    assert queue.state == tasks_v2.Queue.State.PAUSED
    assert queue.rate_limits.max_concurrent_dispatches == 3
    full = tasks_v2.Task.View.FULL
    found = service.client.get_task(request={"name": task.name, "response_view": full})
    assert (found.schedule_time, found.http_request.body) == (task.schedule_time, b"x")
    service.client.resume_queue(name=QUEUE)
    assert inbox.receive().body == b"x"


def test_names_of_ended_tasks_and_deleted_queues_stay_taken(serve, inbox):
    service = serve()
    _create_queue(service)
    service.create(QUEUE, inbox.url, task_id="done")
    inbox.receive()
    service.idle()
    later = at(service.now() + 60)
    name = service.create(QUEUE, inbox.url, task_id="deleted", schedule_time=later).name
    service.client.delete_task(name=name)
    other = f"{LOCATION}/queues/gone"
    service.client.create_queue(parent=LOCATION, queue={"name": other})
    service.client.delete_queue(name=other)
    service = serve()
    for task_id in ("done", "deleted"):
        with pytest.raises(exceptions.AlreadyExists):
            service.create(QUEUE, inbox.url, task_id=task_id)
    with pytest.raises(exceptions.NotFound, match="existed recently"):
        service.client.get_task(name=name)
    with pytest.raises(exceptions.FailedPrecondition):
        service.client.create_queue(parent=LOCATION, queue={"name": other})
    service.advance(24 * 3600)
    service.create(QUEUE, inbox.url, task_id="done")


def test_the_attempts_of_a_task_survive(serve, inbox):
    service = serve()
    _create_queue(service, retry_config={"min_backoff": seconds(5), "max_backoff": seconds(5)})
    inbox.answers.append(404)
    service.create(QUEUE, inbox.url)
    inbox.receive()
    service.idle()
    service = serve()
    service.advance(6)
    headers = inbox.receive().headers
    assert headers["X-CloudTasks-TaskRetryCount"] == "1"
    assert headers["X-CloudTasks-TaskExecutionCount"] == "1"
    assert headers["X-CloudTasks-TaskPreviousResponse"] == "404"


def test_what_was_under_way_is_sent_again(serve, inbox):
    service = serve()
    _create_queue(service)
    released = inbox.hold()
    service.create(QUEUE, inbox.url)
    first = inbox.receive()
    serve()
    again = inbox.receive()
    released.set()
    assert first.headers["X-CloudTasks-TaskName"] == again.headers["X-CloudTasks-TaskName"]


def test_a_deleted_queue_leaves_no_tasks_behind(serve, inbox):
    service = serve()
    _create_queue(service)
    service.client.pause_queue(name=QUEUE)
    service.create(QUEUE, inbox.url)
    service.client.delete_queue(name=QUEUE)
    service = serve()
    assert not list(service.client.list_queues(parent=LOCATION))
    service.advance(4 * 24 * 3600)
    _create_queue(service)
    assert not list(service.client.list_tasks(parent=QUEUE))


def test_two_emulators_do_not_share_a_file(serve, tmp_path):
    serve()
    loop = Loop()
    try:
        with pytest.raises(BlockingIOError, match="open in another process"):
            tasks_client.start(loop, tmp_path, data=tmp_path / "tasks.db")
    finally:
        loop.close()

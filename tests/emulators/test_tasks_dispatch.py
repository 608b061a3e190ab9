"""What targets are sent, when, and what becomes of their answers."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import jwt as pyjwt
import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from arco_emulators.tasks.settings import Limits
from emulators import tasks_client
from emulators.targets import SECONDS
from emulators.tasks_client import at, seconds

QUICK = {"min_backoff": seconds(0.01), "max_backoff": seconds(0.02)}
EMAIL = "tasks@shop.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def service(loop, tmp_path_factory):
    limits = Limits(min_deadline_seconds=0.05)
    return tasks_client.start(loop, tmp_path_factory.mktemp("identity"), limits=limits)


@pytest.fixture
def client(service):
    return service.client


@pytest.fixture
def queue(service):
    return service.queue(retry_config=QUICK)


def _cloud_headers(request):
    return {
        name.removeprefix("X-CloudTasks-"): value
        for name, value in request.headers.items()
        if name.startswith("X-CloudTasks-")
    }


def _gone(service, name):
    service.idle()
    with pytest.raises(exceptions.NotFound, match="existed recently"):
        service.client.get_task(name=name)
    return True


def test_a_task_is_sent_as_it_was_created_and_is_gone_after_a_2xx(service, queue, inbox):
    inbox.answers.append(204)
    headers = {"X-Mixed-Case": "1", "content-type": "application/json"}
    name = service.create(
        queue,
        f"{inbox.url}?q=%2F",
        http_request={"body": b"{}", "headers": headers, "http_method": "PUT"},
    ).name
    request = inbox.receive()
    assert (request.method, request.body) == ("PUT", b"{}")
    assert request.path.endswith("?q=%2F")
    assert request.headers["X-Mixed-Case"] == "1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["User-Agent"] == "Google-Cloud-Tasks"
    assert _gone(service, name)


def test_nothing_is_added_to_a_request_that_the_service_does_not_add(service, queue, inbox):
    service.create(queue, inbox.url)
    added = set(inbox.receive().headers)
    assert {name for name in added if not name.startswith("X-CloudTasks-")} == {
        "Host",
        "User-Agent",
        "Content-Length",
    }


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_every_method_is_sent(service, queue, inbox, method):
    service.create(queue, inbox.url, http_request={"http_method": method})
    assert inbox.receive().method == method


def test_the_headers_tell_of_earlier_attempts_as_recorded_from_the_service(service, queue, inbox):
    inbox.answers.extend([503, 404, 200])
    name = service.create(queue, inbox.url, task_id="counted").name
    first, second, third = (_cloud_headers(inbox.receive()) for _ in range(3))
    eta = {headers.pop("TaskETA") for headers in (first, second, third)}
    common = {"QueueName": queue.rpartition("/")[2], "TaskName": "counted"}
    assert first == {**common, "TaskRetryCount": "0", "TaskExecutionCount": "0"}
    assert second == {
        **common,
        "TaskRetryCount": "1",
        "TaskExecutionCount": "0",
        "TaskPreviousResponse": "503",
        "TaskRetryReason": "",
    }
    assert third == {
        **common,
        "TaskRetryCount": "2",
        "TaskExecutionCount": "1",
        "TaskPreviousResponse": "404",
        "TaskRetryReason": "",
    }
    assert len(eta) == 3
    assert _gone(service, name)


def test_the_eta_is_the_time_for_which_the_task_was_scheduled(service, queue, inbox):
    due = service.now() + 0.2
    created = service.create(queue, inbox.url, schedule_time=at(due))
    request = inbox.receive()
    assert float(_cloud_headers(request)["TaskETA"]) == pytest.approx(due, abs=1e-5)
    assert created.schedule_time.timestamp() == pytest.approx(due, abs=1e-5)
    assert service.now() >= due


def test_a_task_far_ahead_is_sent_when_the_clock_has_come_there(service, queue, inbox):
    service.create(queue, inbox.url, task_id="later", schedule_time=at(service.now() + 3600))
    service.create(queue, inbox.url, task_id="now")
    assert _cloud_headers(inbox.receive())["TaskName"] == "now"
    service.advance(3599)
    service.create(queue, inbox.url, task_id="again")
    assert _cloud_headers(inbox.receive())["TaskName"] == "again"
    service.advance(1)
    assert _cloud_headers(inbox.receive())["TaskName"] == "later"


def test_due_tasks_are_sent_in_the_order_of_their_times(service, client, inbox):
    queue = service.queue(rate_limits={"max_concurrent_dispatches": 1})
    client.pause_queue(name=queue)
    now = service.now()
    for task_id, ahead in (("third", 30), ("first", 10), ("second", 20)):
        service.create(queue, inbox.url, task_id=task_id, schedule_time=at(now + ahead))
    service.advance(60)
    client.resume_queue(name=queue)
    order = [_cloud_headers(inbox.receive())["TaskName"] for _ in range(3)]
    assert order == ["first", "second", "third"]


def test_the_token_is_of_the_account_for_the_audience(service, queue, inbox, loop):
    token = {"service_account_email": EMAIL, "audience": "https://callback"}
    service.create(queue, inbox.url, http_request={"oidc_token": token})
    service.create(queue, inbox.url, http_request={"oidc_token": {**token, "audience": ""}})
    keys = pyjwt.PyJWKClient(f"{service.admin_url}/jwks")
    audiences = set()
    for _ in range(2):
        kind, _, text = inbox.receive().headers["Authorization"].partition(" ")
        assert kind == "Bearer"
        claims = pyjwt.decode(
            text,
            keys.get_signing_key_from_jwt(text).key,
            algorithms=["RS256"],
            issuer="https://accounts.google.com",
            options={"verify_aud": False},
        )
        assert (claims["email"], claims["email_verified"]) == (EMAIL, True)
        audiences.add(claims["aud"])
    assert audiences == {"https://callback", inbox.url}


def test_an_oauth_token_is_a_bearer_token_too(service, queue, inbox):
    token = {"service_account_email": EMAIL}
    service.create(queue, inbox.url, http_request={"oauth_token": token})
    assert inbox.receive().headers["Authorization"].startswith("Bearer ya29.")


def test_the_queue_can_override_where_and_how_tasks_are_sent(service, target, inbox):
    host, _, port = target.base_url.removeprefix("http://").partition(":")
    queue = service.queue(
        http_target={
            "http_method": "POST",
            "uri_override": {
                "scheme": "HTTP",
                "host": host,
                "port": int(port),
                "path_override": {"path": inbox.url.rpartition(port)[2]},
                "query_override": {"query_params": "from=queue"},
            },
            "header_overrides": [{"header": {"key": "X-From", "value": "queue"}}],
            "oidc_token": {"service_account_email": EMAIL, "audience": "queue"},
        }
    )
    service.create(queue, "https://elsewhere.example/x", http_request={"http_method": "GET"})
    request = inbox.receive()
    assert (request.method, request.path.partition("?")[2]) == ("POST", "from=queue")
    assert request.headers["X-From"] == "queue"
    claims = pyjwt.decode(
        request.headers["Authorization"].split()[1], options={"verify_signature": False}
    )
    assert claims["aud"] == "queue"


@pytest.mark.parametrize("status", [301, 307, 400, 404, 409, 429, 500, 503])
def test_every_other_answer_than_2xx_is_tried_again(service, queue, inbox, status):
    inbox.answers.append((status, {"Location": inbox.url}))
    service.create(queue, inbox.url)
    inbox.receive()
    assert _cloud_headers(inbox.receive())["TaskRetryCount"] == "1"


def test_a_target_that_can_not_be_reached_is_tried_until_the_attempts_are_used_up(service):
    queue = service.queue(retry_config={**QUICK, "max_attempts": 3})
    exhausted = service.counted("deliveries", "exhausted")
    assert _gone(service, service.create(queue, "http://127.0.0.1:9/").name)
    assert _gone(service, service.create(queue, "http://exa mple/%zz").name)
    assert service.counted("deliveries", "exhausted") == exhausted + 2


def test_a_task_that_used_up_its_attempts_is_deleted(service, inbox):
    queue = service.queue(retry_config={**QUICK, "max_attempts": 2})
    inbox.answers.extend([500, 500, 500])
    name = service.create(queue, inbox.url, task_id="twice").name
    inbox.receive(), inbox.receive()
    assert _gone(service, name)
    assert inbox.received.empty()
    with pytest.raises(exceptions.AlreadyExists):
        service.create(queue, inbox.url, task_id="twice")


def test_the_attempts_go_on_until_the_duration_is_over_too(service, inbox):
    duration = {"max_attempts": 1, "max_retry_duration": seconds(3600)}
    queue = service.queue(retry_config={**QUICK, **duration})
    inbox.answers.extend([500] * 3)
    service.create(queue, inbox.url)
    for _ in range(4):
        inbox.receive()
    service.idle()


def test_the_retry_rule_of_a_task_overrides_that_of_its_queue(service, inbox):
    queue = service.queue(retry_config={"min_backoff": seconds(3600)})
    inbox.answers.append(500)
    service.create(queue, inbox.url, retry_config=QUICK)
    inbox.receive(), inbox.receive()


def test_a_failed_task_shows_its_attempts_and_when_the_next_one_is(service, client, inbox):
    queue = service.queue(retry_config={"min_backoff": seconds(50), "max_backoff": seconds(60)})
    inbox.answers.append(404)
    name = service.create(queue, inbox.url).name
    inbox.receive()
    service.idle()
    task = client.get_task(name=name)
    assert (task.dispatch_count, task.response_count) == (1, 1)
    assert task.last_attempt.response_status.code == 5
    assert task.last_attempt.response_status.message == "HTTP status code 404"
    assert task.first_attempt.dispatch_time == task.last_attempt.dispatch_time
    assert not task.first_attempt.response_time
    wait = task.schedule_time - task.last_attempt.response_time
    assert wait.total_seconds() == pytest.approx(50, abs=0.1)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_an_answer_can_ask_for_more_time(service, client, inbox, form):
    later = datetime.fromtimestamp(service.now(), UTC) + timedelta(seconds=70)
    asked = {"seconds": "70", "date": format_datetime(later, usegmt=True)}[form]
    inbox.answers.append((429, {"Retry-After": asked}))
    name = service.create(service.queue(retry_config=QUICK), inbox.url).name
    inbox.receive()
    service.idle()
    wait = client.get_task(name=name).schedule_time.timestamp() - service.now()
    assert 60 < wait <= 70.5


def test_an_answer_after_the_deadline_is_none(service, client, inbox):
    queue = service.queue(retry_config={"min_backoff": seconds(3600)})
    released = inbox.hold()
    name = service.create(queue, inbox.url, dispatch_deadline=seconds(0.1)).name
    inbox.receive()
    service.idle()
    released.set()
    task = client.get_task(name=name)
    assert (task.dispatch_count, task.response_count) == (1, 0)
    assert task.last_attempt.response_status.code == 4
    assert not task.last_attempt.response_time


def test_a_queue_sends_no_more_at_once_than_it_may(service, client, inbox):
    queue = service.queue(rate_limits={"max_concurrent_dispatches": 2})
    released = inbox.hold()
    for _ in range(5):
        service.create(queue, inbox.url)
    inbox.receive(), inbox.receive()
    states = service.admin("GET", "/admin/stats")["queues"][queue]
    assert (states["under_way"], states["tasks"]) == (2, 5)
    released.set()
    for _ in range(3):
        inbox.receive()


def test_a_queue_sends_no_faster_than_it_may(service, inbox):
    queue = service.queue(rate_limits={"max_dispatches_per_second": 40})
    for _ in range(30):
        service.create(queue, inbox.url)
    requests = [inbox.receive() for _ in range(30)]
    # Ten at once, and the other twenty at 40 per second.
    assert requests[-1].at - requests[0].at >= 0.45


def test_a_paused_queue_takes_tasks_and_sends_none_until_it_is_resumed(service, client, inbox):
    queue = service.queue()
    client.pause_queue(name=queue)
    service.create(queue, inbox.url)
    service.idle()
    assert inbox.received.empty()
    client.resume_queue(name=queue)
    inbox.receive()


def test_a_run_sends_a_task_that_is_neither_due_nor_in_a_running_queue(service, client, inbox):
    queue = service.queue()
    client.pause_queue(name=queue)
    name = service.create(queue, inbox.url, schedule_time=at(service.now() + 3600)).name
    answered = client.run_task(name=name)
    inbox.receive()
    assert answered.dispatch_count == 1
    assert answered.last_attempt.dispatch_time
    assert _gone(service, name)


def test_a_run_that_fails_is_tried_again_after_the_back_off(service, client, inbox):
    queue = service.queue(retry_config={"min_backoff": seconds(40), "max_backoff": seconds(60)})
    inbox.answers.append(500)
    name = service.create(queue, inbox.url, schedule_time=at(service.now() + 3600)).name
    client.run_task(name=name)
    inbox.receive()
    service.idle()
    wait = client.get_task(name=name).schedule_time.timestamp() - service.now()
    assert 20 < wait <= 40.5


def test_a_task_can_be_run_while_it_is_under_way(service, client, queue, inbox):
    released = inbox.hold()
    name = service.create(queue, inbox.url).name
    inbox.receive()
    client.run_task(name=name)
    inbox.receive()
    released.set()
    assert _gone(service, name)


def test_a_task_deleted_under_way_is_not_tried_again(service, client, queue, inbox):
    inbox.answers.append(500)
    released = inbox.hold()
    name = service.create(queue, inbox.url).name
    inbox.receive()
    client.delete_task(name=name)
    released.set()
    assert _gone(service, name)
    assert inbox.received.empty()


def test_a_name_stays_taken_after_its_task_succeeded(service, queue, inbox):
    service.create(queue, inbox.url, task_id="done")
    inbox.receive()
    service.idle()
    with pytest.raises(exceptions.AlreadyExists):
        service.create(queue, inbox.url, task_id="done")


def test_a_task_is_deleted_when_it_is_as_old_as_a_task_can_be(service, client, inbox):
    queue = service.queue()
    client.pause_queue(name=queue)
    name = service.create(queue, inbox.url).name
    service.advance(32 * 24 * 3600)
    client.resume_queue(name=queue)
    assert _gone(service, name)
    assert inbox.received.empty()


def test_simultaneous_creations_of_one_name_make_one_task(service, queue, inbox):
    outcomes = []

    def create():
        try:
            outcomes.append(service.create(queue, inbox.url, task_id="raced"))
        except exceptions.AlreadyExists:
            outcomes.append(None)

    threads = [threading.Thread(target=create) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len([task for task in outcomes if task]) == 1
    inbox.receive()
    service.idle()
    assert inbox.received.empty()


def test_the_asynchronous_client_works_too(service, queue, inbox, loop):
    async def create():
        import grpc.aio
        from google.cloud.tasks_v2.services.cloud_tasks.transports import (
            CloudTasksGrpcAsyncIOTransport,
        )

        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
            transport = CloudTasksGrpcAsyncIOTransport(channel=channel)
            client = tasks_v2.CloudTasksAsyncClient(transport=transport)
            task = await client.create_task(parent=queue, task={"http_request": {"url": inbox.url}})
            listed = await client.list_queues(parent=tasks_client.LOCATION)
            return task.name, [queue.name async for queue in listed]

    name, queues = loop.call(create())
    inbox.receive()
    assert queue in queues
    assert _gone(service, name)

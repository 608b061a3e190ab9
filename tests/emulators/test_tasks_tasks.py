"""Tasks as the official client creates, reads, lists, deletes and batches them."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from emulators import tasks_client
from emulators.tasks_client import LOCATION, at, seconds

FULL = tasks_v2.Task.View.FULL
URL = "http://127.0.0.1:9/never"
DAY = 24 * 3600


@pytest.fixture(scope="module")
def service(loop, tmp_path_factory):
    return tasks_client.start(loop, tmp_path_factory.mktemp("identity"))


@pytest.fixture
def client(service):
    return service.client


@pytest.fixture
def queue(service, client):
    """A queue whose tasks stay where they are."""
    name = service.queue()
    client.pause_queue(name=name)
    return name


def test_a_task_is_answered_with_what_the_service_sets(service, queue):
    before = int(service.now())
    task = service.create(queue, URL, http_request={"body": b"secret"})
    assert task.name.startswith(f"{queue}/tasks/")
    assert task.name.rpartition("/")[2].isdecimal()
    assert before <= task.create_time.timestamp() <= task.schedule_time.timestamp()
    assert task.create_time.microsecond == 0
    assert task.dispatch_deadline.total_seconds() == 600
    assert task.http_request.http_method == tasks_v2.HttpMethod.POST
    assert task.http_request.headers == {"User-Agent": "Google-Cloud-Tasks"}
    assert task.dispatch_count == task.response_count == 0


def test_the_basic_view_is_without_the_body(service, client, queue):
    created = service.create(queue, URL, http_request={"body": b"secret"})
    basic = client.get_task(name=created.name)
    full = client.get_task(request={"name": created.name, "response_view": FULL})
    assert (created.view, created.http_request.body) == (tasks_v2.Task.View.BASIC, b"")
    assert (basic.view, basic.http_request.body) == (tasks_v2.Task.View.BASIC, b"")
    assert (full.view, full.http_request.body) == (FULL, b"secret")


def test_a_task_can_be_answered_in_full_at_once(client, queue):
    task = {"http_request": {"url": URL, "body": b"secret"}}
    created = client.create_task(request={"parent": queue, "task": task, "response_view": FULL})
    assert created.http_request.body == b"secret"


def test_the_case_of_header_names_is_kept_and_reserved_ones_are_left_out(service, client, queue):
    headers = {
        "X-Mixed-Case": "preserve-me",
        "content-type": "application/json",
        "Host": "other.example",
        "X-Google-Secret": "1",
        "X-CloudTasks-TaskName": "forged",
        "user-agent": "mine",
    }
    name = service.create(queue, URL, http_request={"headers": headers}).name
    assert client.get_task(name=name).http_request.headers == {
        "X-Mixed-Case": "preserve-me",
        "content-type": "application/json",
        "User-Agent": "Google-Cloud-Tasks",
    }


def test_a_time_in_the_past_becomes_now_and_one_ahead_is_kept(service, queue):
    now = service.now()
    past = service.create(queue, URL, schedule_time=at(now - 3600))
    ahead = service.create(queue, URL, schedule_time=at(int(now) + 3600.123456))
    assert past.schedule_time.timestamp() >= now - 0.001
    assert ahead.schedule_time.timestamp() == pytest.approx(int(now) + 3600.123456, abs=1e-6)


def test_what_only_the_service_sets_can_not_be_given(service, queue):
    task = service.create(queue, URL, dispatch_count=7, create_time=at(1))
    assert task.dispatch_count == 0
    assert task.create_time.timestamp() > 1


def test_a_name_is_taken_while_its_task_lives(service, queue):
    service.create(queue, URL, task_id="tick-1")
    with pytest.raises(exceptions.AlreadyExists, match=r"^409 Requested entity already exists$"):
        service.create(queue, URL, task_id="tick-1")


def test_a_name_stays_taken_after_deletion_until_its_time_is_over(service, client, queue):
    name = service.create(queue, URL, task_id="tick-2").name
    client.delete_task(name=name)
    with pytest.raises(exceptions.AlreadyExists):
        service.create(queue, URL, task_id="tick-2")
    with pytest.raises(exceptions.NotFound, match="The task either successfully completed or was"):
        client.get_task(name=name)
    service.advance(DAY - 60)
    with pytest.raises(exceptions.AlreadyExists):
        service.create(queue, URL, task_id="tick-2")
    service.advance(61)
    assert service.create(queue, URL, task_id="tick-2").name == name


def test_one_name_can_be_used_in_two_queues(service, queue):
    service.create(queue, URL, task_id="shared")
    service.create(service.queue(), URL, task_id="shared")


@pytest.mark.parametrize("method", ["get_task", "delete_task", "run_task"])
def test_a_task_that_never_was_is_not_found(client, queue, method):
    with pytest.raises(exceptions.NotFound, match=r"^404 Requested entity was not found\.$"):
        getattr(client, method)(name=f"{queue}/tasks/absent")


@pytest.mark.parametrize("method", ["delete_task", "run_task"])
def test_a_task_that_is_deleted_can_be_neither_deleted_nor_run(service, client, queue, method):
    name = service.create(queue, URL).name
    client.delete_task(name=name)
    with pytest.raises(exceptions.NotFound, match=r"^404 Requested entity was not found\.$"):
        getattr(client, method)(name=name)


@pytest.mark.parametrize("task_id", ["not a valid id", "a" * 501, "a/b", "ä"])
def test_a_task_id_has_the_right_form(service, queue, task_id):
    with pytest.raises(exceptions.InvalidArgument, match="can contain only letters") as refused:
        service.create(queue, URL, task_id=task_id)
    assert f'Task ID "{task_id}"' in str(refused.value)
    assert "Task ID must between 1 and 500 characters." in str(refused.value)


def test_a_task_name_is_that_of_its_queue(client, queue):
    with pytest.raises(exceptions.InvalidArgument) as refused:
        client.create_task(
            parent=queue, task={"name": f"{queue}-other/tasks/a", "http_request": {"url": URL}}
        )
    assert refused.value.message == (
        f"The queue name from request ('{queue}') must be the same as the queue name in the named "
        f"task ('{queue}-other')."
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "HttpRequest.url is required."),
        ("example.com/path", "HttpTarget.url must start with 'http://' or 'https://'."),
        ("ftp://example.com/", "HttpTarget.url must start with 'http://' or 'https://'."),
        ("http://" + "a" * 2083, "HttpTarget.url must not be longer than 2083 characters."),
    ],
)
def test_a_task_has_a_url_that_can_be_sent_to(service, queue, url, message):
    with pytest.raises(exceptions.InvalidArgument) as refused:
        service.create(queue, url)
    assert refused.value.message == message


def test_an_escape_that_is_wrong_is_found_only_when_the_task_is_sent(service, queue):
    service.create(queue, "http://example.com/%zz")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            {"http_request": {"http_method": "GET", "body": b"x"}},
            "not allowed with HTTP method GET",
        ),
        ({"http_request": {"headers": {"a": "b" * 81920}}}, "smaller than 80KB"),
        ({"http_request": {"body": b"x" * 102_400}}, "Task size too large"),
        ({"http_request": {"oidc_token": {"audience": "a"}}}, "service_account_email"),
        ({"dispatch_deadline": seconds(14)}, r"between \[15s, 1800s\]"),
        ({"dispatch_deadline": seconds(1801)}, r"between \[15s, 1800s\]"),
        ({"retry_config": {"max_attempts": -2}}, "max_attempts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_task_that_the_service_would_not_take_is_refused(service, queue, task, message):
    with pytest.raises(exceptions.InvalidArgument, match=message):
        service.create(queue, URL, **task)


def test_a_task_without_a_request_is_refused(client, queue):
    with pytest.raises(exceptions.InvalidArgument, match="message_type"):
        client.create_task(parent=queue, task={})
    with pytest.raises(exceptions.MethodNotImplemented, match="App Engine"):
        client.create_task(parent=queue, task={"app_engine_http_request": {"relative_uri": "/"}})


def test_a_task_is_scheduled_thirty_days_ahead_at_most(service, queue):
    now = service.now()
    service.create(queue, URL, schedule_time=at(now + 30 * DAY - 60))
    with pytest.raises(exceptions.InvalidArgument, match="more than 720h in the future"):
        service.create(queue, URL, schedule_time=at(now + 30 * DAY + 60))


def test_tasks_are_listed_page_by_page(service, client, queue):
    names = sorted(
        service.create(queue, URL, task_id=key, http_request={"body": b"x"}).name
        for key in ("a", "b", "c", "d", "e")
    )
    pages = list(client.list_tasks(request={"parent": queue, "page_size": 2}).pages)
    assert [task.name for page in pages for task in page.tasks] == names
    assert [len(page.tasks) for page in pages] == [2, 2, 1]
    assert not pages[0].tasks[0].http_request.body
    full = client.list_tasks(request={"parent": queue, "response_view": FULL})
    assert [task.http_request.body for task in full] == [b"x"] * 5


def test_a_page_token_that_nobody_gave_out_is_refused(client, queue):
    with pytest.raises(exceptions.InvalidArgument, match="page token"):
        client.list_tasks(request={"parent": queue, "page_token": "what?"})
    with pytest.raises(exceptions.InvalidArgument, match="page_size"):
        client.list_tasks(request={"parent": queue, "page_size": -1})


def test_a_purge_deletes_all_tasks_and_keeps_the_queue(service, client, queue):
    service.create(queue, URL, task_id="purged")
    service.create(queue, URL)
    assert client.purge_queue(name=queue).purge_time
    assert not list(client.list_tasks(parent=queue))
    with pytest.raises(exceptions.AlreadyExists):
        service.create(queue, URL, task_id="purged")


def test_a_deleted_queue_takes_its_tasks_with_it(service, client, queue):
    name = service.create(queue, URL).name
    client.delete_queue(name=queue)
    with pytest.raises(exceptions.NotFound):
        client.get_task(name=name)


def _batch(queue, *task_ids, url=URL):
    return [
        {"parent": queue, "task": {"name": f"{queue}/tasks/{key}", "http_request": {"url": url}}}
        for key in task_ids
    ]


def test_a_batch_creates_what_it_can_and_says_what_failed(client, queue):
    requests = [*_batch(queue, "a", "b", "a"), *_batch(queue, "c", url="")]
    operation = client.batch_create_tasks(request={"parent": queue, "requests": requests})
    assert [task.name.rpartition("/")[2] for task in operation.result().tasks] == ["a", "b"]
    states = tasks_v2.BatchCreateTasksMetadata.State
    assert operation.metadata.state == states.PARTIALLY_SUCCEEDED
    failed = {index: status.code for index, status in operation.metadata.failed_requests.items()}
    assert failed == {2: 6, 3: 3}


def test_a_batch_in_which_all_failed_is_an_error(client, queue):
    request = {"parent": queue, "requests": _batch(queue, "a b")}
    operation = client.batch_create_tasks(request=request)
    with pytest.raises(exceptions.Aborted, match="None of the requests succeeded"):
        operation.result()


def test_a_batch_that_is_repeated_under_its_id_is_done_once(client, queue):
    request = {"parent": queue, "requests": _batch(queue, "x"), "request_id": "again"}
    first, second = (client.batch_create_tasks(request=request) for _ in range(2))
    assert first.operation.name == second.operation.name
    assert [task.name for task in second.result().tasks] == [f"{queue}/tasks/x"]
    assert client.get_operation({"name": first.operation.name}).done


def test_a_batch_has_its_limits(client, queue):
    requests = _batch(queue, *(f"t{number}" for number in range(101)))
    with pytest.raises(exceptions.InvalidArgument, match="1 to 100 requests, not 101"):
        client.batch_create_tasks(request={"parent": queue, "requests": requests})
    with pytest.raises(exceptions.InvalidArgument, match="for the queue of the batch"):
        client.batch_create_tasks(
            request={"parent": queue, "requests": _batch(f"{LOCATION}/queues/other", "a")}
        )


def test_a_batch_deletes_what_it_can_and_says_what_failed(service, client, queue):
    names = [service.create(queue, URL).name for _ in range(2)]
    names.append(f"{queue}/tasks/absent")
    operation = client.batch_delete_tasks(request={"parent": queue, "names": names})
    operation.result()
    assert operation.metadata.failed_requests[2].code == 5
    assert not list(client.list_tasks(parent=queue))


def test_what_is_not_emulated_says_so(client):
    with pytest.raises(exceptions.MethodNotImplemented):
        client.get_cmek_config(name=f"{LOCATION}/cmekConfig")

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf.field_mask_pb2 import FieldMask

from emulators import tasks_client
from emulators.tasks_client import LOCATION, seconds

ABSENT = "Queue does not exist. If you just created the queue, wait at least a minute"


@pytest.fixture(scope="module")
def service(loop, tmp_path_factory):
    return tasks_client.start(loop, tmp_path_factory.mktemp("identity"))


@pytest.fixture
def client(service):
    return service.client


def test_a_new_queue_has_the_defaults_of_the_service(service, client):
    queue = client.get_queue(name=service.queue())
    assert queue.state == tasks_v2.Queue.State.RUNNING
    assert queue.rate_limits.max_dispatches_per_second == 500
    assert queue.rate_limits.max_burst_size == 100
    assert queue.rate_limits.max_concurrent_dispatches == 1000
    assert queue.retry_config.max_attempts == 100
    assert queue.retry_config.max_doublings == 16
    assert queue.retry_config.min_backoff.total_seconds() == 0.1
    assert queue.retry_config.max_backoff.total_seconds() == 3600
    assert not queue.retry_config.max_retry_duration
    assert not queue.purge_time


def test_a_queue_keeps_what_it_was_created_with(service, client):
    name = service.queue(
        rate_limits={"max_dispatches_per_second": 5, "max_concurrent_dispatches": 2},
        retry_config={"max_attempts": -1, "min_backoff": seconds(2)},
    )
    queue = client.get_queue(name=name)
    assert queue.rate_limits.max_dispatches_per_second == 5
    assert queue.rate_limits.max_concurrent_dispatches == 2
    assert queue.retry_config.max_attempts == -1
    assert queue.retry_config.min_backoff.total_seconds() == 2


def test_an_update_changes_what_its_mask_names_and_nothing_else(service, client):
    name = service.queue(retry_config={"max_attempts": 7})
    queue = client.update_queue(
        queue={
            "name": name,
            "state": tasks_v2.Queue.State.PAUSED,
            "rate_limits": {"max_concurrent_dispatches": 3, "max_dispatches_per_second": 9},
            "retry_config": {"max_attempts": 2},
        },
        update_mask=FieldMask(paths=["rate_limits.max_concurrent_dispatches", "state"]),
    )
    assert queue.rate_limits.max_concurrent_dispatches == 3
    assert queue.rate_limits.max_dispatches_per_second == 500
    assert queue.retry_config.max_attempts == 7
    assert queue.state == tasks_v2.Queue.State.RUNNING


def test_an_update_without_a_mask_replaces_the_configuration(service, client):
    name = service.queue(retry_config={"max_attempts": 7})
    queue = client.update_queue(queue={"name": name, "rate_limits": {"max_burst_size": 999}})
    assert queue.retry_config.max_attempts == 100
    assert queue.rate_limits.max_burst_size == 100


def test_an_update_creates_the_queue_when_there_is_none(client):
    name = f"{LOCATION}/queues/upserted"
    client.update_queue(queue={"name": name, "retry_config": {"max_attempts": 4}})
    assert client.get_queue(name=name).retry_config.max_attempts == 4


def test_an_update_of_a_field_that_does_not_exist_is_refused(service, client):
    with pytest.raises(exceptions.InvalidArgument, match="Invalid update_mask: rate_limit"):
        client.update_queue(
            queue={"name": service.queue()}, update_mask=FieldMask(paths=["rate_limit"])
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limits": {"max_dispatches_per_second": 501}},
        {"rate_limits": {"max_concurrent_dispatches": 5001}},
        {"retry_config": {"max_attempts": -2}},
        {"retry_config": {"min_backoff": seconds(5), "max_backoff": seconds(4)}},
    ],
)
def test_a_value_out_of_bounds_is_refused(service, settings):
    with pytest.raises(exceptions.InvalidArgument):
        service.queue(**settings)


def test_queues_are_paused_and_resumed(service, client):
    name = service.queue()
    assert client.pause_queue(name=name).state == tasks_v2.Queue.State.PAUSED
    assert client.get_queue(name=name).state == tasks_v2.Queue.State.PAUSED
    assert client.resume_queue(name=name).state == tasks_v2.Queue.State.RUNNING


def test_queues_are_listed_page_by_page_within_their_location(client):
    parent = "projects/shop/locations/europe-north1"
    names = [f"{parent}/queues/{key}" for key in ("a", "b", "c", "d", "e")]
    for name in reversed(names):
        client.create_queue(parent=parent, queue={"name": name})
    client.pause_queue(name=names[2])
    pages = list(client.list_queues(request={"parent": parent, "page_size": 2}).pages)
    assert [len(page.queues) for page in pages] == [2, 2, 1]
    assert [queue.name for page in pages for queue in page.queues] == names
    paused = client.list_queues(request={"parent": parent, "filter": "state: PAUSED"})
    assert [queue.name for queue in paused] == [names[2]]


def test_a_filter_that_is_not_emulated_is_refused(client):
    with pytest.raises(exceptions.InvalidArgument, match="state:<STATE>"):
        client.list_queues(request={"parent": LOCATION, "filter": "rate_limits > 5"})


def test_a_queue_that_exists_can_not_be_created(service, client):
    with pytest.raises(exceptions.AlreadyExists, match=r"^409 Queue already exists$"):
        client.create_queue(parent=LOCATION, queue={"name": service.queue()})


def test_the_name_of_a_deleted_queue_is_blocked_until_its_time_is_over(service, client):
    name = service.queue()
    client.delete_queue(name=name)
    with pytest.raises(exceptions.NotFound, match=ABSENT):
        client.get_queue(name=name)
    for create in (
        lambda: client.create_queue(parent=LOCATION, queue={"name": name}),
        lambda: client.update_queue(queue={"name": name}),
    ):
        with pytest.raises(exceptions.FailedPrecondition, match="existed too recently"):
            create()
    service.advance(3 * 24 * 3600)
    assert client.create_queue(parent=LOCATION, queue={"name": name}).name == name


@pytest.mark.parametrize("method", ["get_queue", "pause_queue", "resume_queue", "purge_queue"])
def test_a_queue_that_does_not_exist_is_not_found(client, method):
    with pytest.raises(exceptions.NotFound, match=ABSENT):
        getattr(client, method)(name=f"{LOCATION}/queues/absent")


def test_deleting_a_queue_that_does_not_exist_says_so_in_its_own_words(client):
    with pytest.raises(exceptions.NotFound, match=r"^404 Requested entity was not found\.$"):
        client.delete_queue(name=f"{LOCATION}/queues/absent")


def test_tasks_of_a_queue_that_does_not_exist_are_refused(service, client):
    with pytest.raises(exceptions.NotFound, match=ABSENT):
        service.create(f"{LOCATION}/queues/absent", "http://127.0.0.1:9")
    with pytest.raises(exceptions.NotFound, match=ABSENT):
        client.list_tasks(parent=f"{LOCATION}/queues/absent")


@pytest.mark.parametrize("name", ["", "orders", f"{LOCATION}/queues/a_b", f"{LOCATION}/queues/"])
def test_a_queue_has_a_name_of_the_right_form(client, name):
    with pytest.raises(exceptions.InvalidArgument, match='Queue name must be formatted: "projects'):
        client.create_queue(parent=LOCATION, queue={"name": name})


def test_a_parent_that_is_no_location_is_answered_as_a_project_of_somebody_else(client):
    with pytest.raises(exceptions.PermissionDenied, match="resource project not-a-parent"):
        client.create_queue(parent="not-a-parent", queue={"name": f"{LOCATION}/queues/q"})


def test_a_policy_is_kept_and_every_permission_granted(service, client):
    name = service.queue()
    policy = client.get_iam_policy(request={"resource": name})
    policy.bindings.add(role="roles/cloudtasks.enqueuer", members=["user:a@example.com"])
    client.set_iam_policy(request={"resource": name, "policy": policy})
    assert client.get_iam_policy(request={"resource": name}).bindings[0].members == [
        "user:a@example.com"
    ]
    asked = {"resource": name, "permissions": ["cloudtasks.tasks.create"]}
    assert client.test_iam_permissions(request=asked).permissions == ["cloudtasks.tasks.create"]


def test_locations_are_listed_and_found(service, client):
    service.queue()
    listed = client.list_locations(request={"name": "projects/shop"}).locations
    assert LOCATION in [location.name for location in listed]
    assert client.get_location(request={"name": LOCATION}).location_id == "europe-west1"

"""Cloud Scheduler as the official client sees it, and what targets are sent."""

from __future__ import annotations

import itertools
import queue as queues
from datetime import UTC, datetime

import grpc
import jwt as pyjwt
import pytest
from google.api_core import exceptions
from google.cloud import scheduler_v1
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
    CloudSchedulerGrpcTransport,
)
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import types as pubsub

from arco_emulators import rpc
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.identity import Issuer
from arco_emulators.scheduler.emulator import serving
from arco_emulators.scheduler.schedule import Schedule
from arco_emulators.scheduler.settings import Settings
from emulators.conftest import Loop
from emulators.targets import SECONDS
from emulators.tasks_client import LOCATION, Service, seconds

EMAIL = "scheduler@shop.iam.gserviceaccount.com"
NEVER_SOON = "0 0 29 2 *"
HOURLY = "0 * * * *"
QUICK = {"min_backoff_duration": seconds(0.01), "max_backoff_duration": seconds(0.02)}
State = scheduler_v1.Job.State
_numbers = itertools.count()


def _start(loop, folder, **settings):
    settings = Settings(min_deadline_seconds=0.05, **settings)
    running = loop.enter(serving(settings, Issuer.open(folder)))
    channel = grpc.insecure_channel(f"127.0.0.1:{running.port}")
    client = scheduler_v1.CloudSchedulerClient(
        transport=CloudSchedulerGrpcTransport(channel=channel)
    )
    admin_url = f"http://127.0.0.1:{running.admin_port}"
    return Service(client, running.port, admin_url, running.emulator)


@pytest.fixture(scope="module")
def published():
    return queues.Queue()


@pytest.fixture(scope="module")
def pubsub_host(loop, published):
    """A Pub/Sub service that knows one topic."""

    def publish(request):
        if not request.topic.endswith("/topics/ticks"):
            raise rpc.Refused(grpc.StatusCode.NOT_FOUND, "Topic not found")
        published.put(request)
        return pubsub.PublishResponse.pb()(message_ids=["1"])

    methods = {"Publish": rpc.Method(pubsub.PublishRequest.pb(), publish)}
    gate = rpc.Gate(Chaos(), Counters())
    port = loop.enter(rpc.serving(gate.handlers({"google.pubsub.v1.Publisher": methods})))
    return f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def service(loop, tmp_path_factory, pubsub_host):
    return _start(loop, tmp_path_factory.mktemp("identity"), pubsub_host=pubsub_host)


@pytest.fixture
def client(service):
    """Jobs of other tests do not disturb."""
    yield service.client
    service.admin("DELETE", "/admin/faults")
    service.admin("POST", "/admin/reset")


def _job(client, url="http://127.0.0.1:9/", schedule=NEVER_SOON, **fields):
    target = {"http_target": {"uri": url, **fields.pop("http_target", {})}}
    if "pubsub_target" in fields:
        target = {}
    job = {"name": f"{LOCATION}/jobs/j-{next(_numbers)}", "schedule": schedule, **target, **fields}
    return client.create_job(parent=LOCATION, job=job)


def _next(service, job):
    """Let the clock come to the job's next time."""
    due = service.client.get_job(name=job.name).schedule_time.timestamp()
    service.advance(max(0, due - service.now()) + 0.001)


def test_a_new_job_is_answered_with_what_the_service_sets(service, client):
    job = _job(client, schedule=HOURLY)
    assert job.state == State.ENABLED
    assert job.time_zone == "UTC"
    assert job.attempt_deadline.total_seconds() == 180
    assert job.retry_config.retry_count == 0
    assert job.retry_config.min_backoff_duration.total_seconds() == 5
    assert job.retry_config.max_backoff_duration.total_seconds() == 3600
    assert job.retry_config.max_doublings == 5
    assert job.http_target.http_method == scheduler_v1.HttpMethod.POST
    assert job.http_target.headers == {"User-Agent": "Google-Cloud-Scheduler"}
    assert 0 < job.schedule_time.timestamp() - service.now() <= 3600
    assert job.user_update_time.timestamp() == pytest.approx(service.now(), abs=SECONDS)
    assert not job.last_attempt_time
    assert client.get_job(name=job.name) == job


def test_a_job_without_a_name_gets_one(client):
    job = client.create_job(
        parent=LOCATION, job={"schedule": HOURLY, "http_target": {"uri": "http://127.0.0.1:9"}}
    )
    assert job.name.startswith(f"{LOCATION}/jobs/")


def test_a_slot_is_sent_to_the_target_with_its_time(service, client, inbox):
    job = _job(
        client,
        inbox.url,
        schedule="30 4 * * *",
        time_zone="Europe/Berlin",
        http_target={
            "body": b"{}",
            "http_method": "PUT",
            "headers": {"X-Mixed-Case": "1", "X-CloudScheduler": "forged"},
            "oidc_token": {"service_account_email": EMAIL},
        },
    )
    _next(service, job)
    request = inbox.receive()
    slot = datetime.fromtimestamp(job.schedule_time.timestamp(), UTC)
    assert (request.method, request.body) == ("PUT", b"{}")
    assert request.headers["X-CloudScheduler"] == "true"
    assert request.headers["X-CloudScheduler-JobName"] == job.name.rpartition("/")[2]
    assert request.headers["X-CloudScheduler-ScheduleTime"] == f"{slot:%Y-%m-%dT%H:%M:%SZ}"
    assert slot.astimezone(Schedule.parse(HOURLY, "Europe/Berlin").zone).hour == 4
    assert request.headers["User-Agent"] == "Google-Cloud-Scheduler"
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert request.headers["X-Mixed-Case"] == "1"
    claims = pyjwt.decode(
        request.headers["Authorization"].split()[1], options={"verify_signature": False}
    )
    assert (claims["email"], claims["aud"]) == (EMAIL, inbox.url)


def test_after_a_slot_comes_the_next_one(service, client, inbox):
    job = _job(client, inbox.url, schedule=HOURLY)
    times = []
    for _ in range(3):
        _next(service, job)
        times.append(inbox.receive().headers["X-CloudScheduler-ScheduleTime"])
        service.idle()
    slots = [datetime.fromisoformat(time).timestamp() for time in times]
    assert slots[1] - slots[0] == slots[2] - slots[1] == 3600
    done = client.get_job(name=job.name)
    assert done.schedule_time.timestamp() == slots[2] + 3600
    assert done.last_attempt_time.timestamp() >= slots[2]
    assert done.status.code == 0


def test_a_failed_attempt_is_not_tried_again_by_default(service, client, inbox):
    inbox.answers.append(404)
    job = _job(client, inbox.url, schedule=HOURLY)
    _next(service, job)
    inbox.receive()
    service.idle()
    failed = client.get_job(name=job.name)
    assert failed.status.code == 5
    assert failed.schedule_time.timestamp() == job.schedule_time.timestamp() + 3600
    assert inbox.received.empty()


def test_a_failed_attempt_is_tried_again_as_often_as_the_job_says(service, client, inbox):
    inbox.answers.extend([500] * 9)
    job = _job(client, inbox.url, schedule=HOURLY, retry_config={**QUICK, "retry_count": 2})
    _next(service, job)
    times = {inbox.receive().headers["X-CloudScheduler-ScheduleTime"] for _ in range(3)}
    service.idle()
    assert inbox.received.empty()
    assert len(times) == 1


def test_retries_end_when_one_succeeds(service, client, inbox):
    inbox.answers.extend([500, 503])
    job = _job(client, inbox.url, schedule=HOURLY, retry_config={**QUICK, "retry_count": 5})
    _next(service, job)
    for _ in range(3):
        inbox.receive()
    service.idle()
    assert inbox.received.empty()
    assert client.get_job(name=job.name).status.code == 0


def test_retries_end_at_the_next_slot(service, client, inbox):
    inbox.answers.append(500)
    retry = {"retry_count": 5, "min_backoff_duration": seconds(3600)}
    job = _job(client, inbox.url, schedule=HOURLY, retry_config=retry)
    _next(service, job)
    inbox.receive()
    service.idle()
    following = client.get_job(name=job.name).schedule_time.timestamp()
    assert following == job.schedule_time.timestamp() + 3600


def test_a_slot_waits_until_the_one_before_has_ended_and_only_the_last_is_made_up(
    service, client, inbox
):
    released = inbox.hold()
    job = _job(client, inbox.url, schedule=HOURLY)
    _next(service, job)
    first = inbox.receive()
    service.advance(3 * 3600)
    assert service.admin("GET", "/admin/stats")["jobs"][job.name]["under_way"]
    released.set()
    second = inbox.receive()
    service.idle()
    slots = [
        datetime.fromisoformat(request.headers["X-CloudScheduler-ScheduleTime"]).timestamp()
        for request in (first, second)
    ]
    assert slots[1] - slots[0] == 3 * 3600
    assert inbox.received.empty()


def test_an_answer_after_the_deadline_is_none(service, client, inbox):
    released = inbox.hold()
    job = _job(client, inbox.url, schedule=HOURLY, attempt_deadline=seconds(0.1))
    _next(service, job)
    inbox.receive()
    service.idle()
    released.set()
    assert client.get_job(name=job.name).status.code == 4


def test_a_paused_job_is_not_executed_until_it_is_resumed(service, client, inbox):
    job = _job(client, inbox.url, schedule=HOURLY)
    assert client.pause_job(name=job.name).state == State.PAUSED
    service.advance(2 * 3600)
    service.idle()
    assert inbox.received.empty()
    assert not client.get_job(name=job.name).schedule_time
    resumed = client.resume_job(name=job.name)
    assert resumed.state == State.ENABLED
    assert 0 < resumed.schedule_time.timestamp() - service.now() <= 3600
    _next(service, job)
    inbox.receive()


def test_a_job_is_paused_and_resumed_once(client):
    job = _job(client)
    with pytest.raises(exceptions.FailedPrecondition, match="PAUSED"):
        client.resume_job(name=job.name)
    client.pause_job(name=job.name)
    with pytest.raises(exceptions.FailedPrecondition, match="ENABLED"):
        client.pause_job(name=job.name)


def test_a_job_can_be_run_now_even_when_it_is_paused(service, client, inbox):
    job = _job(client, inbox.url)
    client.pause_job(name=job.name)
    assert client.run_job(name=job.name).last_attempt_time
    time = inbox.receive().headers["X-CloudScheduler-ScheduleTime"]
    assert datetime.fromisoformat(time).timestamp() == pytest.approx(service.now(), abs=SECONDS)
    service.idle()
    assert client.get_job(name=job.name).state == State.PAUSED


def test_an_update_changes_what_its_mask_names_and_arms_the_job_anew(service, client, inbox):
    job = _job(client, schedule=NEVER_SOON, description="kept")
    updated = client.update_job(
        job={"name": job.name, "schedule": HOURLY, "description": "lost", "state": State.PAUSED},
        update_mask=FieldMask(paths=["schedule", "state"]),
    )
    assert (updated.schedule, updated.description) == (HOURLY, "kept")
    assert updated.state == State.ENABLED
    assert updated.schedule_time.timestamp() - service.now() <= 3600


def test_an_update_can_change_the_kind_of_target(client):
    job = _job(client)
    updated = client.update_job(
        job={
            "name": job.name,
            "pubsub_target": {"topic_name": "projects/shop/topics/ticks", "data": b"x"},
        },
        update_mask=FieldMask(paths=["pubsub_target"]),
    )
    assert "pubsub_target" in updated
    assert "http_target" not in updated


def test_an_update_that_is_refused_changes_nothing(client):
    job = _job(client)
    for fields, path in (({"schedule": "often"}, "schedule"), ({}, "scedule")):
        with pytest.raises(exceptions.InvalidArgument):
            client.update_job(job={"name": job.name, **fields}, update_mask=FieldMask(paths=[path]))
    assert client.get_job(name=job.name) == job


def test_jobs_are_listed_page_by_page_within_their_location(client):
    names = sorted(_job(client).name for _ in range(5))
    pages = list(client.list_jobs(request={"parent": LOCATION, "page_size": 2}).pages)
    assert [len(page.jobs) for page in pages] == [2, 2, 1]
    assert sorted(job.name for page in pages for job in page.jobs) == names
    assert not list(client.list_jobs(parent="projects/shop/locations/asia-east1"))


def test_a_deleted_job_is_gone_and_its_name_free(service, client, inbox):
    job = _job(client, inbox.url, schedule=HOURLY)
    client.delete_job(name=job.name)
    service.advance(3600)
    service.idle()
    assert inbox.received.empty()
    with pytest.raises(exceptions.NotFound):
        client.get_job(name=job.name)
    _job(client, name=job.name)


def test_a_job_that_exists_can_not_be_created(client):
    name = _job(client).name
    with pytest.raises(exceptions.AlreadyExists):
        _job(client, name=name)


@pytest.mark.parametrize("method", ["get_job", "delete_job", "pause_job", "resume_job", "run_job"])
def test_a_job_that_does_not_exist_is_not_found(client, method):
    with pytest.raises(exceptions.NotFound):
        getattr(client, method)(name=f"{LOCATION}/jobs/absent")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"schedule": ""}, "is not unix-cron"),
        ({"schedule": "* * * * * *"}, "is not unix-cron"),
        ({"schedule": "@daily"}, "is not unix-cron"),
        ({"schedule": "0 0 L * *"}, "is not unix-cron"),
        ({"schedule": "every 5 minutes"}, "is not unix-cron"),
        ({"schedule": "61 * * * *"}, "is not unix-cron"),
        ({"schedule": "0 0 31 2 *"}, "never comes"),
        ({"time_zone": "Mars/Olympus"}, "tz database"),
        ({"retry_config": {"retry_count": 6}}, "retry_count"),
        ({"retry_config": {"min_backoff_duration": seconds(3601)}}, "min_backoff_duration"),
        ({"attempt_deadline": seconds(1801)}, "attempt_deadline"),
        ({"description": "x" * 501}, "description"),
        ({"name": "orders"}, "Job name must be formatted"),
        ({"name": f"{LOCATION}/jobs/a b"}, "Job name must be formatted"),
        ({"http_target": {"uri": "ftp://x"}}, "HttpTarget.uri must start with"),
        ({"http_target": {"http_method": "GET", "body": b"x"}}, "not allowed with HTTP method"),
        ({"pubsub_target": {"topic_name": "projects/other/topics/t", "data": b"x"}}, "topic"),
        ({"pubsub_target": {"topic_name": "projects/shop/topics/t"}}, "data or at least"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_job_that_the_service_would_not_take_is_refused(client, fields, problem):
    with pytest.raises(exceptions.InvalidArgument, match=problem):
        _job(client, **fields)


def test_a_job_has_a_target_that_is_emulated(client):
    with pytest.raises(exceptions.InvalidArgument, match="target"):
        client.create_job(parent=LOCATION, job={"schedule": HOURLY})
    with pytest.raises(exceptions.MethodNotImplemented, match="App Engine"):
        client.create_job(
            parent=LOCATION,
            job={"schedule": HOURLY, "app_engine_http_target": {"relative_uri": "/"}},
        )
    with pytest.raises(exceptions.InvalidArgument, match="parent"):
        client.create_job(parent="shop", job={"schedule": HOURLY})


def test_a_job_can_publish_a_message(service, client, published):
    target = {
        "topic_name": "projects/shop/topics/ticks",
        "data": b"tick",
        "attributes": {"kind": "tick"},
    }
    job = _job(client, schedule=HOURLY, pubsub_target=target)
    _next(service, job)
    message = published.get(timeout=SECONDS).messages[0]
    assert (message.data, dict(message.attributes)) == (b"tick", {"kind": "tick"})
    service.idle()
    assert client.get_job(name=job.name).status.code == 0


def test_a_topic_that_does_not_exist_is_a_failed_attempt(service, client):
    target = {"topic_name": "projects/shop/topics/absent", "data": b"tick"}
    job = _job(client, schedule=HOURLY, pubsub_target=target)
    _next(service, job)
    service.idle()
    assert client.get_job(name=job.name).status.message == "Topic not found"


def test_without_a_pubsub_emulator_a_publication_says_what_is_missing(tmp_path):
    loop = Loop()
    try:
        service = _start(loop, tmp_path, pubsub_host="")
        target = {"topic_name": "projects/shop/topics/ticks", "data": b"tick"}
        job = _job(service.client, pubsub_target=target)
        service.client.run_job(name=job.name)
        service.idle()
        status = service.client.get_job(name=job.name).status
        assert (status.code, "PUBSUB_EMULATOR_HOST" in status.message) == (9, True)
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("knobs", "sent", "count"),
    [
        ({"duplicate": 1, "duplicate_ms": 0}, 2, "duplicated"),
        ({"drop": 0.5, "drop_ms": 1, "seed": 1}, 1, "dropped"),
        ({"miss": 1}, 0, "missed"),
        ({"lose_answer": 1}, 1, "lost answers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_slot_can_go_wrong_on_purpose(service, client, inbox, knobs, sent, count):
    job = _job(client, inbox.url, schedule=HOURLY)
    before = service.counted("faults", count)
    service.admin("PATCH", "/admin/faults", knobs)
    _next(service, job)
    for _ in range(sent):
        inbox.receive()
    service.idle()
    assert inbox.received.empty()
    assert service.counted("faults", count) > before
    following = client.get_job(name=job.name).schedule_time.timestamp()
    assert following == job.schedule_time.timestamp() + 3600


def test_a_slot_can_come_early_or_late_and_keeps_its_time(service, client, inbox):
    service.admin("PATCH", "/admin/faults", {"delay_ms": 60_000})
    late = _job(client, inbox.url, schedule=HOURLY)
    _next(service, late)
    service.idle()
    assert inbox.received.empty()
    service.advance(60)
    slot = datetime.fromtimestamp(late.schedule_time.timestamp(), UTC)
    time = inbox.receive().headers["X-CloudScheduler-ScheduleTime"]
    assert datetime.fromisoformat(time) == slot


def test_a_call_can_be_refused(service, client):
    service.admin("PATCH", "/admin/faults", {"unavailable": 1})
    with pytest.raises(exceptions.ServiceUnavailable):
        client.create_job(parent=LOCATION, job={"schedule": HOURLY})


def test_jobs_survive_in_their_file(tmp_path, inbox):
    def started():
        loop = Loop()
        return loop, _start(loop, tmp_path, data=tmp_path / "scheduler.db", pubsub_host="")

    loop, service = started()
    kept = _job(service.client, inbox.url, schedule=HOURLY)
    paused = _job(service.client)
    gone = _job(service.client)
    service.client.pause_job(name=paused.name)
    service.client.delete_job(name=gone.name)
    loop.close()
    loop, service = started()
    try:
        states = {job.name: job.state for job in service.client.list_jobs(parent=LOCATION)}
        assert states == {kept.name: State.ENABLED, paused.name: State.PAUSED}
        _next(service, kept)
        inbox.receive()
    finally:
        loop.close()


def test_the_asynchronous_client_works_too(service, loop):
    async def listed():
        from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
            CloudSchedulerGrpcAsyncIOTransport,
        )

        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
            transport = CloudSchedulerGrpcAsyncIOTransport(channel=channel)
            client = scheduler_v1.CloudSchedulerAsyncClient(transport=transport)
            return [job async for job in await client.list_jobs(parent=LOCATION)]

    assert loop.call(listed()) == []


def _slots(cron, zone, start, count):
    schedule = Schedule.parse(cron, zone)
    slots, time = [], datetime.fromisoformat(start).timestamp()
    for _ in range(count):
        time = schedule.after(time)
        slots.append(f"{datetime.fromtimestamp(time, UTC):%m-%dT%H:%M}")
    return slots


def test_a_fixed_time_in_the_hour_that_is_repeated_comes_twice():
    found = _slots("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 3)
    assert found == ["11-01T05:30", "11-01T06:30", "11-02T06:30"]


def test_a_fixed_time_in_the_hour_that_is_left_out_comes_at_its_end():
    found = _slots("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2)
    assert found == ["03-08T07:00", "03-09T06:30"]


def test_an_hourly_job_keeps_its_pace_over_a_change_of_the_clock():
    found = _slots(HOURLY, "America/New_York", "2026-11-01T04:30:00Z", 3)
    assert found == ["11-01T05:00", "11-01T06:00", "11-01T07:00"]


def test_month_and_day_may_be_named_and_days_are_joined_by_or():
    found = _slots("0 12 13 Nov FRI", "utc", "2026-11-05T13:00:00Z", 3)
    assert found == ["11-06T12:00", "11-13T12:00", "11-20T12:00"]


def test_of_several_slots_that_have_passed_the_last_follows():
    schedule = Schedule.parse("*/10 * * * *", "UTC")
    assert schedule.following(600, 700) == 1200
    assert schedule.following(600, 1200) == 1200
    assert schedule.following(600, 3599) == 3000

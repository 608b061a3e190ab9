"""Jobs become what the list says; those of others are left alone."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from google.cloud import scheduler_v1
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
    CloudSchedulerGrpcTransport,
)

from arco_emulators.scheduler.emulator import serving
from arco_emulators.scheduler.settings import Settings
from arco_flow.adapters.gcp.scheduler_jobs import Reconciled, ScheduledCall, SchedulerJobs
from arco_flow.domain.errors import InvalidInput, Unavailable
from conformance.emulators import served_by_a_thread
from conformance.google_cloud import a_project
from conformance.google_queues import LOCATION, issuer

SWEEP = ScheduledCall("sweeper", "0 0 29 2 *", "http://sweeper/", "http://sweeper", "s@test", 300)
COMPACT = replace(SWEEP, name="compactor", cron="0 4 29 2 *")


@pytest.fixture(scope="module")
def endpoint():
    running = served_by_a_thread(lambda: serving(Settings(), issuer()))
    return f"127.0.0.1:{running.port}"


@pytest.fixture
def project():
    return a_project()


@pytest.fixture
def jobs(endpoint, project):
    opened = SchedulerJobs(project, LOCATION, endpoint=endpoint)
    yield opened
    opened.close()


@pytest.fixture
def client(endpoint):
    with grpc.insecure_channel(endpoint) as channel:
        yield scheduler_v1.CloudSchedulerClient(
            transport=CloudSchedulerGrpcTransport(channel=channel)
        )


def test_what_is_missing_is_made_with_all_that_it_needs(jobs, client, project):
    assert jobs.reconcile([SWEEP, COMPACT]) == Reconciled(["sweeper", "compactor"], [], [])
    job = client.get_job(name=f"projects/{project}/locations/{LOCATION}/jobs/sweeper")
    assert (job.schedule, job.time_zone) == (SWEEP.cron, "Etc/UTC")
    assert job.http_target.uri == SWEEP.url
    assert job.http_target.http_method is scheduler_v1.HttpMethod.POST
    assert job.http_target.oidc_token.audience == SWEEP.audience
    assert job.http_target.oidc_token.service_account_email == SWEEP.account
    assert job.attempt_deadline.total_seconds() == 300


def test_what_is_as_it_should_be_is_not_touched(jobs):
    jobs.reconcile([SWEEP, COMPACT])
    assert jobs.reconcile([COMPACT, SWEEP]) == Reconciled([], [], [])


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "1 0 29 2 *"},
        {"url": "http://other/"},
        {"audience": "http://other"},
        {"account": "other@test"},
        {"deadline_seconds": 60},
    ],
)
def test_what_differs_is_changed(jobs, change):
    jobs.reconcile([SWEEP, COMPACT])
    wanted = [replace(SWEEP, **change), COMPACT]
    assert jobs.reconcile(wanted) == Reconciled([], ["sweeper"], [])
    assert jobs.reconcile(wanted) == Reconciled([], [], [])


def test_what_is_listed_no_more_is_removed_but_not_what_others_made(jobs, client, project):
    parent = f"projects/{project}/locations/{LOCATION}"
    theirs = scheduler_v1.Job(
        name=f"{parent}/jobs/theirs", schedule="0 0 29 2 *", http_target={"uri": "http://theirs/"}
    )
    client.create_job(parent=parent, job=theirs)
    jobs.reconcile([SWEEP, COMPACT])
    assert jobs.reconcile([SWEEP]) == Reconciled([], [], ["compactor"])
    names = [job.name.rpartition("/")[2] for job in client.list_jobs(parent=parent)]
    assert sorted(names) == ["sweeper", "theirs"]


def test_a_cron_that_can_not_be_read_is_told(jobs):
    with pytest.raises(InvalidInput, match="Cloud Scheduler failed: INVALID_ARGUMENT"):
        jobs.reconcile([replace(SWEEP, cron="not a cron")])


def test_a_scheduler_that_does_not_answer_is_an_outage():
    jobs = SchedulerJobs("test", LOCATION, endpoint="127.0.0.1:1")
    with pytest.raises(Unavailable, match="Cloud Scheduler failed: UNAVAILABLE"):
        jobs.reconcile([SWEEP])
    jobs.close()

"""The jobs of Cloud Scheduler, made to be what a list of them says.

A job that we made says so in its description, so that jobs of others are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import grpc
from google.cloud import scheduler_v1
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
    CloudSchedulerGrpcTransport,
)

from arco_flow.adapters.gcp.client_failures import ClientError
from arco_flow.adapters.gcp.failures import failure

OURS: Final = "made by Arco Flow"
TIME_ZONE: Final = "Etc/UTC"
"""The only one without hours that come twice or never; schedules with zones are not jobs."""
_FIELDS: Final = ("description", "schedule", "time_zone", "http_target", "attempt_deadline")
_ONCE: Final[dict[str, Any]] = {"retry": None, "timeout": 20.0}
_POST: Final = int(scheduler_v1.HttpMethod.POST)


@dataclass(frozen=True, slots=True)
class ScheduledCall:
    """A function that is called at times of a cron. audience, account: of the identity token.
    deadline_seconds: how long one call may take, 15 to 1800."""

    name: str
    cron: str
    url: str
    audience: str
    account: str
    deadline_seconds: int = 180


class Reconciled(NamedTuple):
    """Names of the jobs that were made, changed, removed."""

    created: list[str]
    updated: list[str]
    deleted: list[str]


class SchedulerJobs:
    """The jobs of one project and location. endpoint: host:port of an emulator, "" = Google's."""

    def __init__(self, project: str, location: str, *, endpoint: str = "") -> None:
        self._parent = f"projects/{project}/locations/{location}"
        self._client = _client(endpoint)

    def close(self) -> None:
        """Give the connection back."""
        self._client.transport.close()

    def reconcile(self, calls: Sequence[ScheduledCall]) -> Reconciled:
        """Create what is missing, change what differs, remove ours that are in the list no more.

        Repeating it is harmless, and what is needed after an error. Raises Unavailable.
        """
        try:
            return self._reconcile({call.name: self._job(call) for call in calls})
        except ClientError as error:
            raise failure(error, "Cloud Scheduler") from error

    def _reconcile(self, wanted: dict[str, Any]) -> Reconciled:
        done = Reconciled([], [], [])
        there = {
            job.name.rpartition("/")[2]: scheduler_v1.Job.pb(job)
            for job in self._client.list_jobs(parent=self._parent, **_ONCE)
        }
        for name, job in wanted.items():
            if name not in there:
                made = scheduler_v1.Job.wrap(job)
                self._client.create_job(parent=self._parent, job=made, **_ONCE)
                done.created.append(name)
            elif _differs(there[name], job):
                # Also what an earlier change has left in UPDATE_FAILED is changed again by this.
                made, mask = scheduler_v1.Job.wrap(job), {"paths": _FIELDS}
                self._client.update_job(job=made, update_mask=mask, **_ONCE)
                done.updated.append(name)
        for name, job in there.items():
            if name not in wanted and job.description == OURS:
                self._client.delete_job(name=job.name, **_ONCE)
                done.deleted.append(name)
        return done

    def _job(self, call: ScheduledCall) -> Any:
        job = scheduler_v1.Job.pb()(
            name=f"{self._parent}/jobs/{call.name}",
            description=OURS,
            schedule=call.cron,
            time_zone=TIME_ZONE,
        )
        job.attempt_deadline.seconds = call.deadline_seconds
        target = job.http_target
        target.uri, target.http_method = call.url, _POST
        target.oidc_token.service_account_email = call.account
        target.oidc_token.audience = call.audience
        return job


def _differs(there: Any, wanted: Any) -> bool:
    is_broken = there.state == int(scheduler_v1.Job.State.UPDATE_FAILED)
    return is_broken or _shown(there) != _shown(wanted)


def _shown(job: Any) -> tuple[object, ...]:
    """What we set; the service adds headers and times of its own."""
    target = job.http_target
    return (
        job.description, job.schedule, job.time_zone, job.attempt_deadline.seconds, target.uri,
        target.http_method, target.oidc_token.service_account_email, target.oidc_token.audience,
    )  # fmt: skip


def _client(endpoint: str) -> scheduler_v1.CloudSchedulerClient:
    if not endpoint:
        return scheduler_v1.CloudSchedulerClient()
    transport = CloudSchedulerGrpcTransport(channel=grpc.insecure_channel(endpoint))
    return scheduler_v1.CloudSchedulerClient(transport=transport)

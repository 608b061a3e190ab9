"""What Terraform makes of the functions' table, made by the Google clients: for emulators.

The same queues, topics, subscriptions, bucket and jobs under the same names, so that the bundle on
emulators is wired as the deployed one is. What exists already is left as it is.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from arco_flow.adapters.gcp.functions_table import Function, FunctionsTable, Queue


@dataclass(frozen=True, slots=True)
class Place:
    """Where a plane is. endpoints: host:port of the emulators by service; storage is a URL."""

    project: str
    location: str
    bucket: str
    endpoints: Mapping[str, str]

    @property
    def parent(self) -> str:
        """Resource name that queues and jobs are below."""
        return f"projects/{self.project}/locations/{self.location}"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A push subscription, as the relay of the emulators takes it."""

    name: str
    topic: str
    endpoint: str
    service_account: str
    audience: str
    min_backoff_seconds: float
    max_backoff_seconds: float
    max_deliveries: int
    ack_deadline_seconds: int
    dead_letter_topic: str


def account_email(project: str, identity: str) -> str:
    """E-mail of the service account of an identity."""
    return f"arco-{identity}@{project}.iam.gserviceaccount.com"


def routes_of(
    place: Place, table: FunctionsTable, urls: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Where the tasks of each route go, as ARCO_FLOW_ROUTES tells a function."""
    found = {
        row.route: _route(place, row, urls[name], "/")
        for name, row in table.functions.items()
        if row.route
    }
    worker = table.of_queue("worker")
    row = table.function(worker)
    found["stop_attempt"] = _route(place, row, urls[worker], "/stop_attempt")
    return found


def _route(place: Place, row: Function, url: str, path: str) -> dict[str, Any]:
    return {
        "url": url + path,
        "audience": url,
        "account": account_email(place.project, "tasks"),
        "deadlineSeconds": max(15, min(row.timeout_seconds, 1800)),
    }


def make_queues(place: Place, table: FunctionsTable) -> None:
    """The queues of Cloud Tasks."""
    import grpc
    from google.api_core.exceptions import AlreadyExists
    from google.cloud import tasks_v2
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

    channel = grpc.insecure_channel(place.endpoints["tasks"])
    client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
    for name, queue in table.queues.items():
        try:
            client.create_queue(parent=place.parent, queue=_queue(place, name, queue))
        except AlreadyExists:
            continue
    channel.close()


def _queue(place: Place, name: str, queue: Queue) -> Any:
    from google.cloud import tasks_v2

    return tasks_v2.Queue(
        name=f"{place.parent}/queues/{name}",
        rate_limits=tasks_v2.RateLimits(
            max_dispatches_per_second=queue.per_second, max_concurrent_dispatches=queue.at_once
        ),
        retry_config=tasks_v2.RetryConfig(
            max_attempts=queue.max_attempts or -1,
            min_backoff=timedelta(seconds=queue.min_backoff_seconds),
            max_backoff=timedelta(seconds=queue.max_backoff_seconds),
        ),
    )


def make_jobs(place: Place, table: FunctionsTable, urls: Mapping[str, str]) -> None:
    """The jobs of Cloud Scheduler: one per function that is triggered by a cron."""
    from arco_flow.adapters.gcp.scheduler_jobs import ScheduledCall, SchedulerJobs

    jobs = SchedulerJobs(place.project, place.location, endpoint=place.endpoints["scheduler"])
    jobs.reconcile(
        [
            ScheduledCall(
                name=name,
                cron=row.cron,
                url=urls[name] + "/",
                audience=urls[name],
                account=account_email(place.project, row.callers[0]),
                deadline_seconds=row.timeout_seconds,
            )
            for name, row in table.functions.items()
            if row.trigger == "schedule"
        ]
    )
    jobs.close()


def make_topics(place: Place, table: FunctionsTable) -> None:
    """The topics, and the subscription that dead letters can be looked at by."""
    import grpc
    from google.api_core.exceptions import AlreadyExists
    from google.pubsub_v1 import PublisherClient, SubscriberClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    channel = grpc.insecure_channel(place.endpoints["pubsub"])
    publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    for name in table.topics:
        topic = f"projects/{place.project}/topics/{name}"
        try:
            publisher.create_topic(name=topic)
        except AlreadyExists:
            continue
        if name == "dead-letters":
            inspect = f"projects/{place.project}/subscriptions/{name}-inspect"
            subscriber.create_subscription(name=inspect, topic=topic)
    channel.close()


def subscriptions_of(
    place: Place, table: FunctionsTable, urls: Mapping[str, str]
) -> list[Subscription]:
    """The push subscriptions: one per function that is triggered by a topic."""
    return [
        _subscription(place, name, row, urls[name])
        for name, row in table.functions.items()
        if row.trigger == "pubsub"
    ]


def _subscription(place: Place, name: str, row: Function, url: str) -> Subscription:
    return Subscription(
        name=name,
        topic=row.topic,
        endpoint=url + "/",
        service_account=account_email(place.project, row.callers[0]),
        audience=url,
        min_backoff_seconds=row.retry.min_backoff_seconds,
        max_backoff_seconds=row.retry.max_backoff_seconds,
        max_deliveries=row.retry.max_deliveries,
        ack_deadline_seconds=min(row.timeout_seconds, 600),
        dead_letter_topic="dead-letters",
    )


def make_bucket(place: Place) -> None:
    """The bucket; by one request, because the client would ask for credentials."""
    body = json.dumps({"name": place.bucket}).encode()
    request = urllib.request.Request(  # noqa: S310 - the emulator's own address
        f"{place.endpoints['storage']}/storage/v1/b?project={place.project}",
        data=body,
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise

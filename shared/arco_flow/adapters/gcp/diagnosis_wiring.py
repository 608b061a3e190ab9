"""Whether queues, topics, subscriptions and jobs are those of the functions' table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.api_core.exceptions import NotFound

from arco_flow.adapters.gcp.dead_letters import SUBSCRIPTION as LETTERS
from arco_flow.adapters.gcp.functions_table import Function, Queue
from arco_flow.adapters.gcp.verdicts import CALL_SECONDS, Deployment, Problem, Verdict, counted

_APPLY: Final = "apply Terraform again: it makes what functions.yaml says"


async def routes_lead_home(deployment: Deployment) -> Verdict:
    """Tasks of each route go to the function of that route, with a token that it takes."""
    settings = deployment.settings
    rows = {n: row for n, row in deployment.table.functions.items() if row.route}
    problems = []
    for name, row in rows.items():
        target = settings.routes.get(row.route)
        allowed = {settings.accounts.get(caller) for caller in row.callers}
        if target is None:
            wrong = "is not there"
        elif target.audience != settings.urls.get(name):
            wrong = f"carries tokens for {target.audience}, which is not the URL of '{name}'"
        elif target.account not in allowed:
            wrong = f"carries tokens of {target.account}, which is no caller of '{name}'"
        else:
            continue
        problems.append(Problem(f"the route '{row.route}' {wrong}", "correct ARCO_FLOW_ROUTES"))
    return Verdict(f"{counted(len(rows), 'route')} with tokens that are taken", problems)


async def queues_as_in_table(deployment: Deployment) -> Verdict:
    """Each queue exists, runs, and has the limits of the table."""
    return await asyncio.to_thread(_queues, deployment)


async def topics_exist(deployment: Deployment) -> Verdict:
    """Each topic exists."""
    return await asyncio.to_thread(_topics, deployment)


async def subscriptions_push_home(deployment: Deployment) -> Verdict:
    """Each subscription exists, is of its topic and pushes to its function; dead letters are
    kept."""
    return await asyncio.to_thread(_subscriptions, deployment)


async def jobs_as_in_table(deployment: Deployment) -> Verdict:
    """Each job exists, is enabled, and calls its function when the table says."""
    return await asyncio.to_thread(_jobs, deployment)


def _queues(deployment: Deployment) -> Verdict:
    from google.cloud import tasks_v2
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

    problems: list[Problem] = []
    where = f"--location={deployment.settings.location}"
    with _client(
        tasks_v2.CloudTasksClient, CloudTasksGrpcTransport, deployment.settings.tasks_endpoint
    ) as client:
        for name, wanted in deployment.table.queues.items():
            what = f"the queue '{name}'"
            path = f"{deployment.parent}/queues/{name}"
            if (found := _found(problems, what, client.get_queue, name=path)) is None:
                continue
            if found.state != tasks_v2.Queue.State.RUNNING:
                mend = f"gcloud tasks queues resume {name} {where}"
                problems.append(Problem(f"{what} is {found.state.name}", mend))
            problems += _differences(what, _queue_fields(found, wanted))
    return Verdict(f"{counted(len(deployment.table.queues), 'queue')} as in the table", problems)


def _queue_fields(found: Any, wanted: Queue) -> Iterator[tuple[str, object, object]]:
    limits, retry = found.rate_limits, found.retry_config
    yield "dispatches per second", limits.max_dispatches_per_second, wanted.per_second
    yield "dispatches at once", limits.max_concurrent_dispatches, wanted.at_once
    yield "attempts", retry.max_attempts, wanted.max_attempts or -1
    yield "least back-off", retry.min_backoff.total_seconds(), wanted.min_backoff_seconds
    yield "longest back-off", retry.max_backoff.total_seconds(), wanted.max_backoff_seconds


def _topics(deployment: Deployment) -> Verdict:
    from google.pubsub_v1 import PublisherClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    problems: list[Problem] = []
    emulator = deployment.emulator("PUBSUB_EMULATOR_HOST")
    prefix = f"projects/{deployment.settings.project}/topics"
    with _client(PublisherClient, PublisherGrpcTransport, emulator) as client:
        for name in deployment.table.topics:
            _found(problems, f"the topic '{name}'", client.get_topic, topic=f"{prefix}/{name}")
    return Verdict(counted(len(deployment.table.topics), "topic"), problems)


def _subscriptions(deployment: Deployment) -> Verdict:
    from google.pubsub_v1 import SubscriberClient
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    problems: list[Problem] = []
    emulator = deployment.emulator("PUBSUB_EMULATOR_HOST")
    prefix = f"projects/{deployment.settings.project}"
    rows = {n: row for n, row in deployment.table.functions.items() if row.trigger == "pubsub"}
    with _client(SubscriberClient, SubscriberGrpcTransport, emulator) as client:
        for name, row in rows.items():
            what = f"the subscription '{name}'"
            path = f"{prefix}/subscriptions/{name}"
            if (
                found := _found(problems, what, client.get_subscription, subscription=path)
            ) is None:
                continue
            problems += _differences(what, [("topic", found.topic, f"{prefix}/topics/{row.topic}")])
            if not emulator:
                problems += _differences(what, _push_fields(deployment, found, name, row))
            problems += lasting(found)
        # Without its subscription a dead letter is gone once it is published.
        path, what = f"{prefix}/subscriptions/{LETTERS}", f"the subscription '{LETTERS}'"
        found = _found(problems, what, client.get_subscription, subscription=path)
        problems += lasting(found) if found else []
    # On the emulator a relay pulls and pushes, so there is nothing to be read of where to.
    notes = ["where they push to is the relay's on emulators"] if emulator else []
    told = counted(len(rows) + 1, "subscription")
    return Verdict(told, problems, notes)


def lasting(subscription: Any) -> list[Problem]:
    """One that nobody uses for a month is deleted, unless it is told never to be: with it goes
    what waits in it, and what is published after that."""
    rest = subscription.expiration_policy.ttl
    if not rest:
        return []
    name = subscription.name.rpartition("/")[2]
    return [
        Problem(
            f"the subscription '{name}' is deleted when it rests for {rest.days} days",
            f"gcloud pubsub subscriptions update {name} --expiration-period=never",
        )
    ]


def _push_fields(
    deployment: Deployment, found: Any, name: str, row: Function
) -> Iterator[tuple[str, object, object]]:
    url, push = deployment.settings.urls.get(name, ""), found.push_config
    yield "endpoint", push.push_endpoint, f"{url}/"
    yield "audience", push.oidc_token.audience, url
    account = deployment.settings.accounts.get(row.callers[0], "")
    yield "account", push.oidc_token.service_account_email, account
    letters = f"projects/{deployment.settings.project}/topics/dead-letters"
    yield "dead-letter topic", found.dead_letter_policy.dead_letter_topic, letters


def _jobs(deployment: Deployment) -> Verdict:
    from google.cloud import scheduler_v1
    from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
        CloudSchedulerGrpcTransport,
    )

    problems: list[Problem] = []
    endpoint = deployment.settings.scheduler_endpoint
    where = f"--location={deployment.settings.location}"
    rows = {n: row for n, row in deployment.table.functions.items() if row.trigger == "schedule"}
    with _client(
        scheduler_v1.CloudSchedulerClient, CloudSchedulerGrpcTransport, endpoint
    ) as client:
        for name, row in rows.items():
            what = f"the job '{name}'"
            path = f"{deployment.parent}/jobs/{name}"
            if (found := _found(problems, what, client.get_job, name=path)) is None:
                continue
            if found.state != scheduler_v1.Job.State.ENABLED:
                mend = f"gcloud scheduler jobs resume {name} {where}"
                problems.append(Problem(f"{what} is {found.state.name}", mend))
            problems += _differences(what, _job_fields(deployment, found, name, row))
    return Verdict(f"{counted(len(rows), 'job')} enabled, as in the table", problems)


def _job_fields(
    deployment: Deployment, found: Any, name: str, row: Function
) -> Iterator[tuple[str, object, object]]:
    url, target = deployment.settings.urls.get(name, ""), found.http_target
    yield "cron", found.schedule, row.cron
    yield "target", target.uri, f"{url}/"
    yield "audience", target.oidc_token.audience, url
    account = deployment.settings.accounts.get(row.callers[0], "")
    yield "account", target.oidc_token.service_account_email, account


def _found(problems: list[Problem], what: str, get: Callable[..., Any], **request: str) -> Any:
    """What is asked for; None when it is not there, which is one problem more."""
    try:
        return get(**request, retry=None, timeout=CALL_SECONDS)
    except NotFound:
        problems.append(Problem(f"{what} is not there", _APPLY))
        return None


def _differences(what: str, fields: Iterable[tuple[str, object, object]]) -> list[Problem]:
    return [
        Problem(f"{what} has {field} {found!r}, not {wanted!r}", _APPLY)
        for field, found, wanted in fields
        if found != wanted
    ]


@contextmanager
def _client(
    kind: Callable[..., Any], transport: Callable[..., Any], emulator: str
) -> Iterator[Any]:
    """A client of the service, or of its emulator."""
    if emulator:
        client = kind(transport=transport(channel=grpc.insecure_channel(emulator)))
    else:
        client = kind()
    try:
        yield client
    finally:
        client.transport.close()

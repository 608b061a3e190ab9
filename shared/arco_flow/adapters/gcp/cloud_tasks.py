"""The task queue on Cloud Tasks: named tasks that call a function with an identity token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.api_core.exceptions import AlreadyExists, NotFound
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from google.protobuf import duration_pb2, timestamp_pb2

from arco_flow.adapters.delivery import check_task_name
from arco_flow.adapters.gcp.failures import ApiError, Fate, failure, fate_of
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import InvalidInput, TooLarge, did_you_mean
from arco_flow.ports.tasks import NewTask

HORIZON_SECONDS: Final = 29 * 24 * 3600
"""Cloud Tasks schedules at most 30 days ahead. A timer of later comes early, finds nothing due
and is armed anew by the entity: that is what every early timer does."""
MAX_BODY_BYTES: Final = 100 * 1024
AT_ONCE: Final = 32
"""Creations in flight per call of enqueue_many: measured on the emulator, more gain nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the tasks of a route go. audience, account: of the identity token that they carry.
    deadline_seconds: how long one delivery may take, 15 to 1800."""

    url: str
    audience: str
    account: str
    deadline_seconds: int = 600


class CloudTasks:
    """`Tasks` on Cloud Tasks: one queue per queue name. Made and used in one event loop.

    targets: route -> Target. endpoint: host:port of an emulator, "" = Google's.
    """

    def __init__(
        self,
        project: str,
        location: str,
        targets: Mapping[str, Target],
        *,
        endpoint: str = "",
        counts: OperationCounts | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._parent = f"projects/{project}/locations/{location}"
        self._targets = dict(targets)
        self._counts = counts or OperationCounts()
        self._pace = pace or Pace()
        self._client = _client(endpoint)

    async def close(self) -> None:
        """Give the connection back."""
        await self._client.transport.close()

    async def enqueue(
        self, queue: str, name: str, route: str, body: bytes, *, at_ms: int = 0
    ) -> bool:
        """See Tasks."""
        return await self._create(NewTask(queue, name, route, body, at_ms))

    async def enqueue_many(self, tasks: Sequence[NewTask]) -> list[bool]:
        """See Tasks."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def create(task: NewTask) -> bool:
            async with gate:
                return await self._create(task)

        return list(await asyncio.gather(*map(create, tasks)))

    async def delete(self, queue: str, name: str) -> bool:
        """See Tasks."""
        check_task_name(queue, name)
        self._counts.add("tasks")
        try:
            await self._client.delete_task(
                name=f"{self._parent}/queues/{queue}/tasks/{name}",
                timeout=self._pace.timeout_s,
            )
        except NotFound:
            return False
        except ApiError as error:
            raise failure(error, "Cloud Tasks DeleteTask", maybe_applied=True) from error
        return True

    async def _create(self, task: NewTask) -> bool:
        """Create until it is answered: the name makes a second creation harmless, and one that
        exists may be our own, whose answer was lost."""
        check_task_name(task.queue, task.name)
        request = self._request(task)
        maybe = False
        for attempt in range(self._pace.attempts):
            self._counts.add("tasks")
            try:
                await self._client.create_task(request, timeout=self._pace.timeout_s, retry=None)
            except AlreadyExists:
                return maybe
            except ApiError as error:
                fate = fate_of(error)
                maybe = maybe or fate is Fate.UNKNOWN
                final = fate in (Fate.REFUSED, Fate.PRECONDITION)
                if final or attempt == self._pace.attempts - 1:
                    what = f"Cloud Tasks CreateTask in queue '{task.queue}'"
                    raise failure(error, what, maybe_applied=maybe) from error
                await self._pace.pause(attempt)
            else:
                return True
        raise AssertionError("a pace has at least one attempt")

    def _request(self, task: NewTask) -> Any:
        target = self._targets.get(task.route)
        if target is None:
            raise InvalidInput(
                f"no function takes the route '{task.route}'"
                f"{did_you_mean(task.route, self._targets)}",
                fix="name it in functions.yaml",
            )
        if len(task.body) > MAX_BODY_BYTES:
            raise TooLarge(f"task '{task.name}' is longer than {MAX_BODY_BYTES} bytes")
        queue = f"{self._parent}/queues/{task.queue}"
        made = tasks_v2.Task(
            name=f"{queue}/tasks/{task.name}",
            http_request=tasks_v2.HttpRequest(
                http_method=tasks_v2.HttpMethod.POST,
                url=target.url,
                headers={"content-type": "application/octet-stream"},
                body=task.body,
                oidc_token=tasks_v2.OidcToken(
                    service_account_email=target.account, audience=target.audience
                ),
            ),
            dispatch_deadline=duration_pb2.Duration(seconds=target.deadline_seconds),
        )
        if task.at_ms:
            made.schedule_time = _schedule(task.at_ms)
        return tasks_v2.CreateTaskRequest(parent=queue, task=made)


def _schedule(at_ms: int) -> timestamp_pb2.Timestamp:
    latest_ms = int((time.time() + HORIZON_SECONDS) * 1000)
    stamp = timestamp_pb2.Timestamp()
    stamp.FromMilliseconds(min(at_ms, latest_ms))
    return stamp


def _client(endpoint: str) -> tasks_v2.CloudTasksAsyncClient:
    if not endpoint:
        return tasks_v2.CloudTasksAsyncClient()
    channel = grpc.aio.insecure_channel(endpoint)
    return tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))

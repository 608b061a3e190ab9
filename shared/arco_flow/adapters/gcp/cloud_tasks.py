"""The task queue on Cloud Tasks: named tasks that call a function with an identity token.

Several tasks are created by as many calls beside each other. There is a batch call in the client,
but it answers with an operation that must be asked for again until it is done, and whether it is
served everywhere was not established.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from arco_flow.adapters.delivery import check_task_name
from arco_flow.adapters.gcp.failures import patiently
from arco_flow.adapters.gcp.grpc_calls import GrpcCalls, Method
from arco_flow.adapters.gcp.messages import message_class
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import InvalidInput, OutcomeUnknown, TooLarge, did_you_mean
from arco_flow.ports.tasks import NewTask

HORIZON_MS: Final = 29 * 24 * 3600 * 1000
"""Cloud Tasks schedules at most 30 days ahead. A timer of later comes early, finds nothing due
and is armed anew by the entity: that is what every early timer does."""
TASK_LIMIT_BYTES: Final = 100 * 1024
"""Of a whole task. Google's pages say 100 KB here and 1 MB there."""
AT_ONCE: Final = 32
"""Creations in flight per call of enqueue_many: measured on the emulator, more gain nothing."""
_THERE: Final = grpc.StatusCode.ALREADY_EXISTS
_NOT_THERE: Final = grpc.StatusCode.NOT_FOUND

_PACKAGE: Final = "google.cloud.tasks.v2"
_SERVICE: Final = f"/{_PACKAGE}.CloudTasks"
_CREATE: Final = Method(
    f"{_SERVICE}/CreateTask", f"{_PACKAGE}.CreateTaskRequest", f"{_PACKAGE}.Task"
)
_DELETE: Final = Method(
    f"{_SERVICE}/DeleteTask", f"{_PACKAGE}.DeleteTaskRequest", "google.protobuf.Empty"
)
_Task: Any = message_class(f"{_PACKAGE}.Task")
_CreateTaskRequest: Any = message_class(f"{_PACKAGE}.CreateTaskRequest")
_DeleteTaskRequest: Any = message_class(f"{_PACKAGE}.DeleteTaskRequest")
_POST: Final = 1
"""HttpMethod.POST."""


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

    targets: route -> Target. endpoint: host:port of an emulator, "" = Google's. interceptors: of
    the connection to an emulator, so that tests can make it fail.
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
        interceptors: Sequence[Any] = (),
    ) -> None:
        self._parent = f"projects/{project}/locations/{location}"
        self._targets = dict(targets)
        self._counts = counts or OperationCounts()
        self._pace = pace or Pace()
        self._api = GrpcCalls(
            "cloudtasks.googleapis.com:443", emulator=endpoint, interceptors=interceptors
        )

    async def close(self) -> None:
        """Give the connection back."""
        await self._api.close()

    async def enqueue(
        self, queue: str, name: str, route: str, body: bytes, *, at_ms: int = 0
    ) -> bool:
        """See Tasks. Raises InvalidInput and TooLarge before the call."""
        return await self._create(self._request(NewTask(queue, name, route, body, at_ms)))

    async def enqueue_many(self, tasks: Sequence[NewTask]) -> list[bool]:
        """See Tasks. Raises InvalidInput and TooLarge before the first call."""
        # Of several of one name the first is the one; the others need no call.
        places: dict[str, int] = {}
        requests = [self._request(task) for task in tasks]
        for place, request in enumerate(requests):
            places.setdefault(request.task.name, place)
        gate = asyncio.Semaphore(AT_ONCE)

        async def create(place: int) -> bool:
            async with gate:
                return await self._create(requests[place])

        outcomes = await asyncio.gather(*map(create, places.values()), return_exceptions=True)
        answers = [False] * len(tasks)
        for place, added in zip(places.values(), _all_answered(outcomes), strict=True):
            answers[place] = added
        return answers

    async def delete(self, queue: str, name: str) -> bool:
        """See Tasks. A task that is being delivered counts as not delivered yet."""
        check_task_name(queue, name)
        path = f"{self._parent}/queues/{queue}/tasks/{name}"
        request = _DeleteTaskRequest(name=path)

        async def call(maybe: bool) -> bool:
            self._counts.add("tasks")
            is_done = await self._done(_DELETE, request, {"name": path}, _NOT_THERE)
            return is_done or maybe

        return await patiently(self._pace, "Cloud Tasks DeleteTask", call, changes=True)

    async def _create(self, request: Any) -> bool:
        """Create until it is answered: the name makes a second creation harmless, and one that
        exists may be our own, whose answer was lost."""

        async def call(maybe: bool) -> bool:
            self._counts.add("tasks")
            is_done = await self._done(_CREATE, request, {"parent": request.parent}, _THERE)
            return is_done or maybe

        queue = request.parent.rpartition("/")[2]
        what = f"Cloud Tasks CreateTask in queue '{queue}'"
        return await patiently(self._pace, what, call, changes=True)

    async def _done(
        self, method: Method, request: Any, route: Mapping[str, str], done_before: grpc.StatusCode
    ) -> bool:
        """Make a call; False when it is answered that this was done before."""
        try:
            await self._api.unary(method, request, route, self._pace.timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is not done_before:
                raise
            return False
        return True

    def _request(self, new: NewTask) -> Any:
        check_task_name(new.queue, new.name)
        target = self._targets.get(new.route)
        if target is None:
            raise InvalidInput(
                f"no function takes the route '{new.route}'"
                f"{did_you_mean(new.route, self._targets)}",
                fix="name it in functions.yaml",
            )
        queue = f"{self._parent}/queues/{new.queue}"
        task = _Task(name=f"{queue}/tasks/{new.name}")
        task.dispatch_deadline.seconds = target.deadline_seconds
        if new.at_ms:
            latest_ms = time.time_ns() // 1_000_000 + HORIZON_MS
            task.schedule_time.FromMilliseconds(min(new.at_ms, latest_ms))
        call = task.http_request
        call.http_method, call.url, call.body = _POST, target.url, new.body
        call.headers["content-type"] = "application/octet-stream"
        call.oidc_token.service_account_email = target.account
        call.oidc_token.audience = target.audience
        if task.ByteSize() > TASK_LIMIT_BYTES:
            raise TooLarge(
                f"task '{new.name}' is {task.ByteSize():,} bytes; {TASK_LIMIT_BYTES:,} at most",
                fix="keep large content in an object and send its key",
                details={"size": task.ByteSize(), "limit": TASK_LIMIT_BYTES},
            )
        return _CreateTaskRequest(parent=queue, task=task)


def _all_answered(outcomes: Sequence[bool | BaseException]) -> list[bool]:
    """The answers of several creations. Raises their error: OutcomeUnknown when some were made."""
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    answered = [outcome for outcome in outcomes if isinstance(outcome, bool)]
    if not failed:
        return answered
    unknown = [error for error in failed if isinstance(error, OutcomeUnknown)]
    if answered and not unknown:
        raise OutcomeUnknown(
            f"{len(answered)} of {len(outcomes)} tasks were added, then: {failed[0]}"
        ) from failed[0]
    raise (unknown or failed)[0]

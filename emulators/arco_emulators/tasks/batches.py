"""The methods that create and delete many tasks, and the operations that they answer with."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from google.cloud import tasks_v2
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2
from grpc import StatusCode

from arco_emulators.clock import Clock
from arco_emulators.names import parent_of
from arco_emulators.outgoing import invalid
from arco_emulators.protos import stamp
from arco_emulators.rpc import Method, Refused
from arco_emulators.tasks.queues import NOT_FOUND
from arco_emulators.tasks.tasks import Tasks

MAX_CREATED = 100
MAX_DELETED = 1000
KEPT_OPERATIONS = 1000
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Batches:
    """Answers batch calls. Each item succeeds or fails alone; the operation is done at once."""

    def __init__(self, tasks: Tasks, clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock
        self._operations: dict[str, Any] = {}

    def methods(self) -> dict[str, Method]:
        """What is served of Cloud Tasks, by the names of the service."""
        return {
            "BatchCreateTasks": Method(tasks_v2.BatchCreateTasksRequest.pb(), self.create),
            "BatchDeleteTasks": Method(tasks_v2.BatchDeleteTasksRequest.pb(), self.delete),
        }

    def operation_methods(self) -> dict[str, Method]:
        """What is served of google.longrunning.Operations."""
        return {"GetOperation": Method(operations_pb2.GetOperationRequest, self.get_operation)}

    def get_operation(self, request: Any) -> Any:
        """GetOperation."""
        if request.name not in self._operations:
            raise Refused(StatusCode.NOT_FOUND, NOT_FOUND)
        return self._operations[request.name]

    def create(self, request: Any) -> Any:
        """BatchCreateTasks."""
        if any(item.parent not in ("", request.parent) for item in request.requests):
            raise invalid("Every request must be for the queue of the batch.")
        for item in request.requests:
            item.parent = request.parent
        response = tasks_v2.BatchCreateTasksResponse.pb()()

        def create(item: Any) -> None:
            response.tasks.append(self._tasks.create(item))

        metadata = tasks_v2.BatchCreateTasksMetadata.pb()()
        return self._operate(request, request.requests, MAX_CREATED, create, metadata, response)

    def delete(self, request: Any) -> Any:
        """BatchDeleteTasks."""

        def delete(name: str) -> None:
            if parent_of(name, "tasks") != request.parent:
                raise invalid("The task is of another queue.")
            self._tasks.delete(tasks_v2.DeleteTaskRequest.pb()(name=name))

        metadata = tasks_v2.BatchDeleteTasksMetadata.pb()()
        return self._operate(request, request.names, MAX_DELETED, delete, metadata, Empty())

    def _operate(
        self,
        request: Any,
        items: Sequence[Any],
        most: int,
        do: Callable[[Any], None],
        metadata: Any,
        response: Any,
    ) -> Any:
        if not 1 <= len(items) <= most:
            raise invalid(f"A batch has 1 to {most} requests, not {len(items)}.")
        name = self._operation_name(request)
        if name in self._operations:
            return self._operations[name]
        metadata.start_time.CopyFrom(stamp(self._clock.now()))
        for index, item in enumerate(items):
            try:
                do(item)
            except Refused as refused:
                metadata.failed_requests[index].code = refused.code.value[0]
                metadata.failed_requests[index].message = refused.message
        metadata.end_time.CopyFrom(stamp(self._clock.now()))
        return self._keep(_operation(name, metadata, response, len(items)))

    def _operation_name(self, request: Any) -> str:
        request_id = request.request_id or secrets.token_hex(16)
        if not _REQUEST_ID.fullmatch(request_id):
            raise invalid(f"request_id {request_id!r} is not valid.")
        return f"{parent_of(request.parent, 'queues')}/operations/{request_id}"

    def _keep(self, operation: Any) -> Any:
        self._operations[operation.name] = operation
        while len(self._operations) > KEPT_OPERATIONS:
            del self._operations[next(iter(self._operations))]
        return operation


def _operation(name: str, metadata: Any, response: Any, items: int) -> Any:
    states = type(metadata).State
    failed = len(metadata.failed_requests)
    metadata.state = states.Value("PARTIALLY_SUCCEEDED" if failed else "SUCCEEDED")
    operation = operations_pb2.Operation(name=name, done=True)
    operation.metadata.Pack(metadata)
    if failed == items:
        operation.error.code = code_pb2.ABORTED
        operation.error.message = (
            "None of the requests succeeded, refer to "
            f"{metadata.DESCRIPTOR.name}.failed_requests for individual error details"
        )
    else:
        operation.response.Pack(response)
    return operation

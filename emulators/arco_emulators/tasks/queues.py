"""The methods of the service that are about queues."""

from __future__ import annotations

from typing import Any

from google.cloud import tasks_v2
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from arco_emulators import names
from arco_emulators.clock import after
from arco_emulators.outgoing import invalid
from arco_emulators.paging import page
from arco_emulators.protos import stamp
from arco_emulators.rpc import Method, Refused
from arco_emulators.tasks.book import Book
from arco_emulators.tasks.queue import Queue
from arco_emulators.tasks.queue_config import PAUSED, RUNNING, completed, updated

MAX_PAGE = 9800
ABSENT = (
    "Queue does not exist. If you just created the queue, wait at least a minute for the queue to "
    "initialize."
)
NOT_FOUND = "Requested entity was not found."


class Queues:
    """Answers calls about queues."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def methods(self) -> dict[str, Method]:
        """What is served, by the names of the service."""
        return {
            "CreateQueue": Method(tasks_v2.CreateQueueRequest.pb(), self.create),
            "GetQueue": Method(tasks_v2.GetQueueRequest.pb(), self.get),
            "UpdateQueue": Method(tasks_v2.UpdateQueueRequest.pb(), self.update),
            "DeleteQueue": Method(tasks_v2.DeleteQueueRequest.pb(), self.delete),
            "ListQueues": Method(tasks_v2.ListQueuesRequest.pb(), self.list_queues),
            "PauseQueue": Method(tasks_v2.PauseQueueRequest.pb(), self.pause),
            "ResumeQueue": Method(tasks_v2.ResumeQueueRequest.pb(), self.resume),
            "PurgeQueue": Method(tasks_v2.PurgeQueueRequest.pb(), self.purge),
            "GetIamPolicy": Method(iam_policy_pb2.GetIamPolicyRequest, self.get_policy),
            "SetIamPolicy": Method(iam_policy_pb2.SetIamPolicyRequest, self.set_policy),
            "TestIamPermissions": Method(iam_policy_pb2.TestIamPermissionsRequest, allowed),
        }

    def existing(self, name: str, absent: str = ABSENT) -> Queue:
        """The queue of this name. Errors: Refused with the text given."""
        queue = self._book.queues.get(name)
        if queue is None or queue.visible_from > self._book.clock.now():
            raise Refused(StatusCode.NOT_FOUND, absent)
        return queue

    def create(self, request: Any) -> Any:
        """CreateQueue."""
        if not names.is_location(request.parent):
            project = request.parent.partition("/locations/")[0].removeprefix("projects/")
            raise Refused(
                StatusCode.PERMISSION_DENIED, f"Permission denied on resource project {project}."
            )
        name = request.queue.name
        if not names.is_queue(name) or names.parent_of(name, "queues") != request.parent:
            raise invalid(
                'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/'
                'queues/<QUEUE_ID>".'
            )
        if name in self._book.queues:
            raise Refused(StatusCode.ALREADY_EXISTS, "Queue already exists")
        return self._add(request.queue)

    def get(self, request: Any) -> Any:
        """GetQueue."""
        return self.existing(request.name).message

    def update(self, request: Any) -> Any:
        """UpdateQueue; creates the queue when there is none."""
        queue = self._book.queues.get(request.queue.name)
        if queue is None:
            if not names.is_queue(request.queue.name):
                raise invalid("Queue.name is not that of a queue.")
            return self._add(request.queue)
        queue.configure(updated(queue.message, request.queue, request.update_mask))
        self._book.save_queue(queue)
        return queue.message

    def delete(self, request: Any) -> Any:
        """DeleteQueue."""
        self._book.remove_queue(self.existing(request.name, NOT_FOUND))
        return Empty()

    def list_queues(self, request: Any) -> Any:
        """ListQueues."""
        prefix, state = f"{request.parent}/queues/", _state(request.filter)
        found = sorted(name for name in self._book.queues if name.startswith(prefix))
        shown, token = page(
            found, size=request.page_size, token=request.page_token, maximum=MAX_PAGE
        )
        messages = [self._book.queues[name].message for name in shown]
        return tasks_v2.ListQueuesResponse.pb()(
            queues=[queue for queue in messages if state in (0, queue.state)],
            next_page_token=token,
        )

    def pause(self, request: Any) -> Any:
        """PauseQueue."""
        return self._set_state(request.name, PAUSED)

    def resume(self, request: Any) -> Any:
        """ResumeQueue."""
        return self._set_state(request.name, RUNNING)

    def purge(self, request: Any) -> Any:
        """PurgeQueue: deletes the tasks that there are now, perhaps a little later."""
        queue, now = self.existing(request.name), self._book.clock.now()
        queue.message.purge_time.CopyFrom(stamp(now))
        self._book.save_queue(queue)
        task_names = list(queue.tasks)
        if later := self._book.chaos.seconds(self._book.chaos.faults.purge_ms):
            after(self._book.clock, later, lambda: self._purge(queue, task_names))
        else:
            self._purge(queue, task_names)
        return queue.message

    def get_policy(self, request: Any) -> Any:
        """GetIamPolicy."""
        return self.existing(request.resource).policy or policy_pb2.Policy(etag=b"ACAB")

    def set_policy(self, request: Any) -> Any:
        """SetIamPolicy. The policy is kept and read back, and nothing is decided by it."""
        self.existing(request.resource).policy = request.policy
        return request.policy

    def _add(self, message: Any) -> Any:
        if self._book.queue_graves.has(message.name, self._book.clock.now()):
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                "The queue cannot be created because a queue with this name existed too recently.",
            )
        message.state = RUNNING
        message.ClearField("purge_time")
        return self._book.add_queue(completed(message)).message

    def _set_state(self, name: str, state: int) -> Any:
        queue = self.existing(name)
        queue.message.state = state
        queue.configure(queue.message)
        self._book.save_queue(queue)
        return queue.message

    def _purge(self, queue: Queue, task_names: list[str]) -> None:
        for name in task_names:
            if entry := queue.tasks.get(name):
                self._book.end_task(queue, entry)


def allowed(request: Any) -> Any:
    """TestIamPermissions: everything is allowed."""
    return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)


def _state(text: str) -> int:
    """The state that a filter asks for; 0: any. Errors: Refused for any other filter."""
    field, _, value = text.replace("=", ":").partition(":")
    states = dict(tasks_v2.Queue.pb().State.items())
    if text and (field.strip() != "state" or value.strip() not in states):
        raise invalid(f"Of filters only state:<STATE> is emulated, not {text}.")
    return int(states.get(value.strip(), 0))

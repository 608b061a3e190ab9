"""The methods of the service that are about tasks."""

from __future__ import annotations

import secrets
from typing import Any

from google.cloud import tasks_v2
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from arco_emulators import names
from arco_emulators.outgoing import kept_headers
from arco_emulators.paging import page
from arco_emulators.protos import duration, seconds_of, stamp, whole_stamp
from arco_emulators.rpc import Method, Refused
from arco_emulators.tasks.book import Book
from arco_emulators.tasks.dispatch import Dispatcher
from arco_emulators.tasks.entry import Entry
from arco_emulators.tasks.queue import Queue
from arco_emulators.tasks.queue_config import complete_retry
from arco_emulators.tasks.queues import NOT_FOUND, Queues
from arco_emulators.tasks.request import USER_AGENT
from arco_emulators.tasks.task_checks import check_name, check_task

MAX_PAGE = 1000
DEFAULT_DEADLINE = 600.0
BASIC = int(tasks_v2.Task.View.BASIC)
FULL = int(tasks_v2.Task.View.FULL)
POST = int(tasks_v2.HttpMethod.POST)
_OUTPUT_ONLY = (
    "create_time",
    "dispatch_count",
    "response_count",
    "first_attempt",
    "last_attempt",
    "view",
)


class Tasks:
    """Answers calls about tasks."""

    def __init__(self, book: Book, queues: Queues, dispatcher: Dispatcher) -> None:
        self._book = book
        self._queues = queues
        self._dispatcher = dispatcher

    def methods(self) -> dict[str, Method]:
        """What is served, by the names of the service."""
        return {
            "CreateTask": Method(tasks_v2.CreateTaskRequest.pb(), self.create),
            "GetTask": Method(tasks_v2.GetTaskRequest.pb(), self.get),
            "ListTasks": Method(tasks_v2.ListTasksRequest.pb(), self.list_tasks),
            "DeleteTask": Method(tasks_v2.DeleteTaskRequest.pb(), self.delete),
            "RunTask": Method(tasks_v2.RunTaskRequest.pb(), self.run),
        }

    def create(self, request: Any) -> Any:
        """CreateTask."""
        queue, task = self._queues.existing(request.parent), request.task
        now = self._book.clock.now()
        if task.name:
            check_name(request.parent, task.name)
        check_task(task, self._book.limits, now)
        if task.name in queue.tasks or queue.graves.has(task.name, now):
            raise Refused(StatusCode.ALREADY_EXISTS, "Requested entity already exists")
        _complete(task, now)
        task.name = task.name or f"{request.parent}/tasks/{_new_id()}"
        entry = Entry(task)
        answer = shown(entry, request.response_view)
        self._book.put_task(queue, entry)
        return answer

    def get(self, request: Any) -> Any:
        """GetTask."""
        queue, entry = self._find(request.name)
        if entry:
            return shown(entry, request.response_view)
        if queue.graves.has(request.name, self._book.clock.now()):
            raise Refused(
                StatusCode.NOT_FOUND,
                "The task no longer exists, though a task with this name existed recently. The "
                "task either successfully completed or was deleted.",
            )
        raise Refused(StatusCode.NOT_FOUND, NOT_FOUND)

    def list_tasks(self, request: Any) -> Any:
        """ListTasks."""
        queue = self._queues.existing(request.parent)
        found, token = page(
            sorted(queue.tasks),
            size=request.page_size,
            token=request.page_token,
            maximum=MAX_PAGE,
        )
        return tasks_v2.ListTasksResponse.pb()(
            tasks=[shown(queue.tasks[name], request.response_view) for name in found],
            next_page_token=token,
        )

    def delete(self, request: Any) -> Any:
        """DeleteTask. An attempt that is under way goes on, and its answer changes nothing."""
        queue, entry = self._find(request.name)
        if not entry:
            raise Refused(StatusCode.NOT_FOUND, NOT_FOUND)
        self._book.end_task(queue, entry)
        return Empty()

    def run(self, request: Any) -> Any:
        """RunTask: one attempt now, even when the queue is paused or the task under way."""
        queue, entry = self._find(request.name)
        if not entry:
            raise Refused(StatusCode.NOT_FOUND, NOT_FOUND)
        entry.task.schedule_time.CopyFrom(stamp(self._book.clock.now()))
        # What the queue would hand out is void: the answer to this attempt decides.
        entry.ticket += 1
        self._dispatcher.force(queue, entry)
        return shown(entry, request.response_view)

    def _find(self, name: str) -> tuple[Queue, Entry | None]:
        queue = self._queues.existing(names.parent_of(name, "tasks"), NOT_FOUND)
        return queue, queue.tasks.get(name)


def shown(entry: Entry, view: int) -> Any:
    """The task as a view shows it: BASIC is without the body."""
    task = tasks_v2.Task.pb()()
    task.CopyFrom(entry.task)
    task.view = FULL if view == FULL else BASIC
    if task.view == BASIC:
        task.http_request.ClearField("body")
    return task


def _complete(task: Any, now: float) -> None:
    """Set what the service sets."""
    for field in _OUTPUT_ONLY:
        task.ClearField(field)
    task.create_time.CopyFrom(whole_stamp(now))
    due = max(now, seconds_of(task.schedule_time))
    task.schedule_time.CopyFrom(stamp(due))
    seconds = seconds_of(task.dispatch_deadline) or DEFAULT_DEADLINE
    task.dispatch_deadline.CopyFrom(duration(seconds))
    request = task.http_request
    request.http_method = request.http_method or POST
    headers = kept_headers(dict(request.headers))
    request.headers.clear()
    request.headers.update({**headers, "User-Agent": USER_AGENT})
    if task.HasField("retry_config"):
        complete_retry(task.retry_config)


def _new_id() -> str:
    """Digits, evenly distributed, as the service gives."""
    return str(secrets.randbelow(9 * 10**18) + 10**18)

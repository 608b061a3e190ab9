"""What CreateTask refuses, with the texts of the service where they are known."""

from __future__ import annotations

from typing import Any

from google.cloud import tasks_v2
from grpc import StatusCode

from arco_emulators import names
from arco_emulators.outgoing import check_request, invalid
from arco_emulators.protos import seconds_of
from arco_emulators.rpc import Refused
from arco_emulators.tasks.settings import Limits

MAX_DEADLINE = 1800.0


def check_name(parent: str, name: str) -> None:
    """Errors: Refused unless the name is that of a task in the queue."""
    queue, slash, task_id = name.partition("/tasks/")
    if not slash:
        raise invalid(
            'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/'
            '<QUEUE_ID>/tasks/<TASK_ID>".'
        )
    if queue != parent:
        raise invalid(
            f"The queue name from request ('{parent}') must be the same as the queue name in the "
            f"named task ('{queue}')."
        )
    if not names.is_long_id(task_id):
        raise invalid(
            f'Task ID "{task_id}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens '
            "(-), or underscores (_). Task ID must between 1 and 500 characters."
        )


def check_task(task: Any, limits: Limits, now: float) -> None:
    """Errors: Refused for what the service does not take."""
    if task.HasField("app_engine_http_request"):
        raise Refused(StatusCode.UNIMPLEMENTED, "App Engine tasks are not emulated.")
    if not task.HasField("http_request"):
        raise invalid("Task.message_type is required.")
    if task.ByteSize() > limits.max_task_bytes:
        raise invalid(f"Task size too large: {task.ByteSize()} bytes.")
    _check_request(task.http_request)
    if seconds_of(task.schedule_time) > now + limits.horizon_seconds:
        hours = limits.horizon_seconds / 3600
        raise invalid(f"Task.schedule_time must not be more than {hours:g}h in the future.")
    if task.HasField("dispatch_deadline"):
        _check_deadline(seconds_of(task.dispatch_deadline), limits)


def _check_request(request: Any) -> None:
    if not request.url:
        raise invalid("HttpRequest.url is required.")
    method = tasks_v2.HttpMethod(request.http_method or tasks_v2.HttpMethod.POST).name
    check_request(request, url=request.url, method=method, field="HttpTarget.url")


def _check_deadline(seconds: float, limits: Limits) -> None:
    if not limits.min_deadline_seconds <= seconds <= MAX_DEADLINE:
        low = limits.min_deadline_seconds
        raise invalid(f"Task.dispatch_deadline must be between [{low:g}s, {MAX_DEADLINE:g}s].")

"""What CreateTask refuses, with the texts of the service where they are known."""

from __future__ import annotations

from typing import Any

from google.cloud import tasks_v2
from grpc import StatusCode

from arco_emulators import names
from arco_emulators.protos import seconds_of
from arco_emulators.rpc import Refused
from arco_emulators.tasks.settings import Limits

WITH_BODY = (
    int(tasks_v2.HttpMethod.POST),
    int(tasks_v2.HttpMethod.PUT),
    int(tasks_v2.HttpMethod.PATCH),
)
MAX_URL = 2083
MAX_HEADER_BYTES = 80 * 1024
MAX_DEADLINE = 1800.0


def check_name(parent: str, name: str) -> None:
    """Errors: Refused unless the name is that of a task in the queue."""
    queue, slash, task_id = name.partition("/tasks/")
    if not slash:
        raise _invalid(
            'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/'
            '<QUEUE_ID>/tasks/<TASK_ID>".'
        )
    if queue != parent:
        raise _invalid(
            f"The queue name from request ('{parent}') must be the same as the queue name in the "
            f"named task ('{queue}')."
        )
    if not names.is_long_id(task_id):
        raise _invalid(
            f'Task ID "{task_id}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens '
            "(-), or underscores (_). Task ID must between 1 and 500 characters."
        )


def check_task(task: Any, limits: Limits, now: float) -> None:
    """Errors: Refused for what the service does not take."""
    if task.HasField("app_engine_http_request"):
        raise Refused(StatusCode.UNIMPLEMENTED, "App Engine tasks are not emulated.")
    if not task.HasField("http_request"):
        raise _invalid("Task.message_type is required.")
    if task.ByteSize() > limits.max_task_bytes:
        raise _invalid(f"Task size too large: {task.ByteSize()} bytes.")
    _check_request(task.http_request)
    if seconds_of(task.schedule_time) > now + limits.horizon_seconds:
        hours = limits.horizon_seconds / 3600
        raise _invalid(f"Task.schedule_time must not be more than {hours:g}h in the future.")
    if task.HasField("dispatch_deadline"):
        _check_deadline(seconds_of(task.dispatch_deadline), limits)


def _check_request(request: Any) -> None:
    if not request.url:
        raise _invalid("HttpRequest.url is required.")
    if not request.url.startswith(("http://", "https://")):
        raise _invalid("HttpTarget.url must start with 'http://' or 'https://'.")
    if len(request.url) > MAX_URL:
        raise _invalid(f"HttpRequest.url must not be longer than {MAX_URL} characters.")
    if request.body and request.http_method not in (0, *WITH_BODY):
        method = tasks_v2.HttpMethod(request.http_method).name
        raise _invalid(f"HttpRequest.body is not allowed with HTTP method {method}.")
    if sum(len(key) + len(value) for key, value in request.headers.items()) >= MAX_HEADER_BYTES:
        raise _invalid("HttpRequest.headers must be smaller than 80KB.")
    for token in (request.oidc_token, request.oauth_token):
        if token.ByteSize() and not token.service_account_email:
            raise _invalid("HttpRequest.authorization_header needs a service_account_email.")


def _check_deadline(seconds: float, limits: Limits) -> None:
    if not limits.min_deadline_seconds <= seconds <= MAX_DEADLINE:
        low = limits.min_deadline_seconds
        raise _invalid(f"Task.dispatch_deadline must be between [{low:g}s, {MAX_DEADLINE:g}s].")


def _invalid(message: str) -> Refused:
    return Refused(StatusCode.INVALID_ARGUMENT, message)

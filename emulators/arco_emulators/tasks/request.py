"""The HTTP request of an attempt."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from google.cloud import tasks_v2

from arco_emulators import names
from arco_emulators.identity import Issuer
from arco_emulators.outgoing import WITH_BODY, authorized, kept_headers
from arco_emulators.protos import seconds_of
from arco_emulators.sender import HttpRequest
from arco_emulators.tasks.entry import Entry

USER_AGENT = "Google-Cloud-Tasks"
_HTTP = int(tasks_v2.UriOverride.Scheme.HTTP)
_IF_NOT_EXISTS = int(tasks_v2.UriOverride.UriOverrideEnforceMode.IF_NOT_EXISTS)


def request_of(queue: Any, entry: Entry, issuer: Issuer) -> HttpRequest:
    """The request for the attempt that was just counted in the task's message."""
    task, target = entry.task, queue.http_target
    wanted = task.http_request
    method = tasks_v2.HttpMethod(target.http_method or wanted.http_method).name
    url = _url(wanted.url, target.uri_override) if target.HasField("uri_override") else wanted.url
    headers = kept_headers(dict(wanted.headers))
    for override in target.header_overrides:
        headers |= kept_headers({override.header.key: override.header.value})
    headers["User-Agent"] = USER_AGENT
    headers |= _task_headers(entry)
    with_token = target if target.WhichOneof("authorization_header") else wanted
    return HttpRequest(
        method=method,
        url=url,
        headers=authorized(headers, with_token, url, issuer),
        body=wanted.body if method in WITH_BODY else b"",
        deadline_seconds=seconds_of(task.dispatch_deadline),
    )


def _task_headers(entry: Entry) -> dict[str, str]:
    task = entry.task
    headers = {
        "X-CloudTasks-QueueName": names.last(names.parent_of(task.name, "tasks")),
        "X-CloudTasks-TaskName": names.last(task.name),
        "X-CloudTasks-TaskRetryCount": str(task.dispatch_count - 1),
        "X-CloudTasks-TaskExecutionCount": str(entry.executions),
        "X-CloudTasks-TaskETA": f"{seconds_of(task.schedule_time):.6f}",
    }
    if entry.previous:
        headers["X-CloudTasks-TaskPreviousResponse"] = str(entry.previous)
        # Recorded from the service: there, and empty.
        headers["X-CloudTasks-TaskRetryReason"] = ""
    return headers


def _url(url: str, override: Any) -> str:
    if override.uri_override_enforce_mode == _IF_NOT_EXISTS:
        # Every task of this version of the API has a URL of its own.
        return url
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    if override.HasField("host"):
        host = override.host
    if override.HasField("port"):
        port = override.port
    scheme = parts.scheme
    if override.HasField("scheme"):
        scheme = "http" if override.scheme == _HTTP else "https"
    path, query = parts.path, parts.query
    if override.HasField("path_override"):
        path = override.path_override.path
    if override.HasField("query_override"):
        query = override.query_override.query_params
    return urlunsplit((scheme, f"{host}:{port}" if port else host, path, query, ""))

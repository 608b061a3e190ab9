"""What a job may be: checks and defaults."""

from __future__ import annotations

from typing import Any

from google.cloud import scheduler_v1
from grpc import StatusCode

from arco_emulators import names
from arco_emulators.backoff import Backoff
from arco_emulators.outgoing import check_request, invalid, kept_headers
from arco_emulators.protos import duration, seconds_of
from arco_emulators.rpc import Refused
from arco_emulators.scheduler.schedule import Schedule

ENABLED = int(scheduler_v1.Job.State.ENABLED)
PAUSED = int(scheduler_v1.Job.State.PAUSED)
OUTPUT_ONLY = (
    "name",
    "user_update_time",
    "state",
    "status",
    "schedule_time",
    "last_attempt_time",
)
USER_AGENT = "Google-Cloud-Scheduler"
DEFAULT_DEADLINE = 180.0
MAX_DEADLINE = 1800.0
MAX_JOB_BYTES = 1024 * 1024


def check_name(parent: str, name: str) -> None:
    """Errors: Refused unless the name is that of a job in the location."""
    location, slash, job_id = name.partition("/jobs/")
    if not slash or location != parent or not names.is_long_id(job_id):
        raise invalid(
            f'Job name must be formatted: "{parent}/jobs/<JOB_ID>". JOB_ID can contain only '
            "letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_), 1 to 500."
        )


def completed(job: Any, min_deadline_seconds: float) -> Schedule:
    """Check the job and set the service's defaults in it; its schedule. Errors: Refused."""
    schedule = Schedule.parse(job.schedule, job.time_zone)
    job.time_zone = job.time_zone or "UTC"
    if len(job.description) > 500:
        raise invalid("The description must not be longer than 500 characters.")
    if job.ByteSize() > MAX_JOB_BYTES:
        raise invalid("Job size too large.")
    _complete_retry(job.retry_config)
    target = job.WhichOneof("target")
    if target == "http_target":
        _complete_http(job, min_deadline_seconds)
    elif target == "pubsub_target":
        _check_pubsub(job)
    elif target is None:
        raise invalid("Job.target is required.")
    else:
        raise Refused(StatusCode.UNIMPLEMENTED, "App Engine targets are not emulated.")
    return schedule


def backoff_of(job: Any) -> Backoff:
    """The retry rule of a complete job."""
    retry = job.retry_config
    return Backoff(
        min_seconds=seconds_of(retry.min_backoff_duration),
        max_seconds=seconds_of(retry.max_backoff_duration),
        max_doublings=retry.max_doublings,
        max_attempts=retry.retry_count + 1,
        # Without a number of retries there are none, whatever the duration.
        max_duration_seconds=seconds_of(retry.max_retry_duration) if retry.retry_count else 0.0,
    )


def _complete_retry(retry: Any) -> None:
    if not 0 <= retry.retry_count <= 5:
        raise invalid(f"retry_count must be between 0 and 5, not {retry.retry_count}.")
    retry.max_doublings = retry.max_doublings or 5
    if not retry.HasField("min_backoff_duration"):
        retry.min_backoff_duration.CopyFrom(duration(5))
    if not retry.HasField("max_backoff_duration"):
        retry.max_backoff_duration.CopyFrom(duration(3600))
    low, high = seconds_of(retry.min_backoff_duration), seconds_of(retry.max_backoff_duration)
    if not 0 <= low <= high:
        raise invalid("min_backoff_duration must not be greater than max_backoff_duration.")


def _complete_http(job: Any, min_deadline_seconds: float) -> None:
    target = job.http_target
    target.http_method = target.http_method or int(scheduler_v1.HttpMethod.POST)
    method = scheduler_v1.HttpMethod(target.http_method).name
    check_request(target, url=target.uri, method=method, field="HttpTarget.uri")
    headers = kept_headers(dict(target.headers))
    target.headers.clear()
    target.headers.update({**headers, "User-Agent": USER_AGENT})
    if target.body and "content-type" not in (name.lower() for name in headers):
        target.headers["Content-Type"] = "application/octet-stream"
    if not job.HasField("attempt_deadline"):
        job.attempt_deadline.CopyFrom(duration(DEFAULT_DEADLINE))
    if not min_deadline_seconds <= seconds_of(job.attempt_deadline) <= MAX_DEADLINE:
        raise invalid(
            f"attempt_deadline must be between [{min_deadline_seconds:g}s, {MAX_DEADLINE:g}s]."
        )


def _check_pubsub(job: Any) -> None:
    target, project = job.pubsub_target, "/".join(job.name.split("/")[:2])
    if not target.topic_name.startswith(f"{project}/topics/"):
        raise invalid(f"The topic must be {project}/topics/<TOPIC_ID>, in the job's project.")
    if not target.data and not target.attributes:
        raise invalid("A Pub/Sub message needs data or at least one attribute.")

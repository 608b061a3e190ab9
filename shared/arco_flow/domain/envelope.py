"""The worker protocol's messages: what the plane sends and what a worker answers.

camelCase JSON, as in the samples of the origin; the envelope's legacy snake_case form is read
too. Nothing here is pickled: values travel as object paths.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arco_flow.domain.errors import InvalidInput


class _Message(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True, frozen=True):
    """Base: camelCase, unknown fields are tolerated."""


class InputRef(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What one parameter receives.

    shape: "value" | "sequence" | "mapping". versions: (partition name, canonical partition,
    attempt id) in partition order; each is a pinned immutable version.
    """

    asset: str
    shape: str = "value"
    versions: list[tuple[str, str, str]] = []


class CodeLocation(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Where the code of the deployment is that was current when the attempt was dispatched.

    target: module, file or folder; root: folder that it is imported from, on the worker's own
    disk. code_version_id: of that deployment, which may be later than the run's.
    """

    target: str = ""
    root: str = ""
    code_version_id: str = ""


class TaskPayload(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What the task is, beyond the protocol's routing fields.

    partition: canonical; partition_name: as users see it. inputs: by parameter;
    inputs_object: key of a JSON object that holds them when they exceed 64 KiB.
    Milliseconds throughout; execution_timeout_ms 0 = unlimited. retry_number: 0 for the first.
    code_location: so that a worker needs to ask nobody for it.
    """

    asset_key: str
    partition: str = ""
    partition_name: str = ""
    operation: str = "materialize"
    manifest_id: str = ""
    code_version_id: str = ""
    inputs: dict[str, InputRef] = {}
    inputs_object: str = ""
    heartbeat_interval_ms: int = 0
    execution_timeout_ms: int = 0
    cancel_grace_ms: int = 30_000
    retry_number: int = 0
    run_tags: dict[str, str] = {}
    previous_attempt_id: str = ""
    code_location: CodeLocation | None = None


class DispatchEnvelope(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One dispatch of one attempt to a worker."""

    tenant_id: str
    workspace_id: str
    task_id: str = ""
    task_key: str
    run_id: str
    attempt: int
    attempt_id: str
    dispatch_id: str
    execution_location_id: str = ""
    partition_key: str = ""
    heartbeat_timeout_sec: int = 300
    worker_queue: str = "default-queue"
    callback_base_url: str
    task_token: str
    token_expires_at: str
    traceparent: str = ""
    payload: dict[str, Any] = {}


class StartedRequest(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """POST …/started: the worker claims the attempt."""

    attempt: int
    attempt_id: str
    worker_id: str
    traceparent: str = ""
    started_at: str = ""


class HeartbeatRequest(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """POST …/heartbeat."""

    attempt: int
    attempt_id: str
    worker_id: str
    traceparent: str = ""
    heartbeat_at: str = ""
    progress_pct: int | None = None
    message: str | None = None


class TaskError(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Why an attempt failed.

    category: USER_CODE, INFRASTRUCTURE, TIMEOUT, DATA_QUALITY, CONFIGURATION or CANCELLED.
    types: names of the exception's classes, most derived first. retryable None = by category.
    retry_after_ms: the user code asked for this delay before the next attempt.
    max_retries: the user code asked for this number of retries; it outranks the policy's number.
    """

    category: str
    message: str
    stack_trace: str = ""
    retryable: bool | None = None
    types: list[str] = []
    retry_after_ms: int | None = None
    max_retries: int | None = None


class CompletedRequest(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """POST …/completed. outcome: SUCCEEDED, FAILED or CANCELLED."""

    attempt: int
    attempt_id: str
    worker_id: str
    outcome: str
    traceparent: str = ""
    completed_at: str = ""
    output: dict[str, Any] | None = None
    error: TaskError | None = None
    metrics: dict[str, Any] | None = None
    checks: list[dict[str, Any]] | None = None
    cancelled_during_phase: str = ""
    partial_progress: dict[str, Any] | None = None


class CallbackResponse(_Message, frozen=True, rename="camel", omit_defaults=False, kw_only=True):
    """Answer to an accepted callback."""

    acknowledged: bool = True
    server_time: str = ""
    should_cancel: bool = False
    cancel_reason: str | None = None
    final_state: str | None = None


class CallbackErrorPayload(_Message, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Answer to a refused callback."""

    error: str
    message: str
    state: str | None = None
    expected_attempt: int | None = None
    received_attempt: int | None = None
    expected_attempt_id: str | None = None
    received_attempt_id: str | None = None


def parse_envelope(raw: bytes) -> DispatchEnvelope:
    """Decode a dispatch envelope, camelCase or legacy snake_case.

    A missing task id is the task key, as the origin's readers had it. Raises InvalidInput.
    """
    try:
        document = msgspec.json.decode(raw, type=dict[str, Any])
        if "tenant_id" in document:
            document = {_camel(key): value for key, value in document.items()}
        envelope = msgspec.convert(document, DispatchEnvelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"malformed envelope: {error}", reason="MALFORMED_ENVELOPE") from error
    if not envelope.task_id:
        return msgspec.structs.replace(envelope, task_id=envelope.task_key)
    return envelope


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)

"""What the description of the API says in words and examples of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from arco_flow.domain.envelope import (
    CompletedRequest,
    HeartbeatRequest,
    StartedRequest,
)
from arco_flow.domain.errors import (
    ArcoError,
    Conflict,
    Forbidden,
    Gone,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from arco_flow.domain.identifiers import ASSET_KEY, SLUG
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.views import RunSpec
from arco_flow.http.api_assets import PartitionNames
from arco_flow.http.api_runs import CancelRequest
from arco_flow.http.refusals import (
    HeadersTooLarge,
    PathTooLong,
    TooManyRequests,
    UnsupportedContent,
    too_large,
)
from arco_flow.http.routing import API_BODY_BYTES, Param

ABOUT: Final = {
    "title": "Arco Flow",
    "summary": "Deploy assets, run them, and see what came of it.",
    "description": """\
**Names.** A credential is of one workspace, which each path names.

**Errors.** Every refusal has one form, `google.rpc.Status`: `message` says what is wrong, where,
and how to mend it; `details[0].reason` is the word for programs. Repeat a request only if `details`
holds a RetryInfo. Routes below `/v1/tasks`, which workers call, answer their protocol's own form.

**Repeating.** A run that is requested under a run key (`runKey`, `requestId` or the header
`Idempotency-Key`) is made once: the same request is answered with the same run, another one under
that key is refused with 409. All other writes may be repeated.

**Pages.** Ask again with `pageToken` = `nextPageToken` and the same arguments, until it is empty.

**Waiting.** `wait` on a run holds the answer until the run changes or is over.

**Compatibility.** Answers may gain fields, and texts for people may change; names, meanings and
`reason` stay. Times are RFC 3339 in UTC, or empty for what has not happened yet.""",
    "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
}

TAGS: Final[Mapping[str, str]] = {
    "deployments": "What code is current.",
    "runs": "Request runs, follow them, end them, and read what they left behind.",
    "assets": "Assets of the current deployment, and their partitions.",
    "dynamicPartitions": "Partitions that are named at run time.",
    "tasks": "Reports of workers about attempts; called by workers alone.",
    "service": "Health, and this description.",
}

PATH_PARAMS: Final[Mapping[str, Param]] = {
    param.name: param
    for param in (
        Param("workspace", "Workspace of the credential.", example="prod", pattern=SLUG),
        Param("run", "Id of a run.", example="run_6kfq3yv2w5ndl7cz4tqohxm3ae"),
        Param("task", "Name of a task of the run.", example="shop.orders[2026-01-31]"),
        Param("asset", "Asset key.", example="shop.orders", pattern=ASSET_KEY),
        Param("definition", "Name of a dynamic partitions definition.", example="regions"),
        Param("taskId", "Opaque id of a task, from the envelope that a worker was sent."),
    )
}

HEADER_TEXTS: Final = {
    "Retry-After": {
        "description": "Seconds to wait before the request is repeated.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "The scheme of the credential that is needed.",
        "schema": {"type": "string"},
    },
}

SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "On a laptop the token that the plane wrote into its state folder; on "
        "Google Cloud an identity token, made for the audience of the plane.",
    },
    "attemptToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "`taskToken` of the envelope that a worker was sent: good for reports about "
        "its own attempt.",
    },
}

_CLAIM: Final[Mapping[str, Any]] = {
    "attempt": 1,
    "attemptId": "att_4f9a1c0be2d87356af10c9d2",
    "workerId": "worker-1",
}
BODY_EXAMPLES: Final[Mapping[type[msgspec.Struct], Mapping[str, Any]]] = {
    Manifest: {
        "codeVersionId": "8d1f2c7",
        "module": "shop.assets",
        "assets": [
            {"key": "shop.orders"},
            {"key": "shop.revenue", "deps": [{"asset": "shop.orders", "param": "orders"}]},
            {"key": "shop.taxes", "partitions": {"kind": "dynamic", "name": "regions"}},
        ],
    },
    RunSpec: {
        "selection": "shop.orders",
        "runKey": "daily:2026-01-31",
        "tags": {"team": "sales"},
    },
    CancelRequest: {"reason": "wrong day"},
    PartitionNames: {"partitions": ["eu", "us"]},
    StartedRequest: _CLAIM,
    HeartbeatRequest: {**_CLAIM, "progressPct": 40, "message": "page 4 of 10"},
    CompletedRequest: {
        **_CLAIM,
        "outcome": "FAILED",
        "error": {"category": "USER_CODE", "message": "ValueError: no rows"},
    },
}

_NO_RUN: Final = "run_6kfq3yv2w5ndl7cz4tqohxm3ae"
ERROR_EXAMPLES: Final[Mapping[type[ArcoError], ArcoError]] = {
    InvalidInput: InvalidInput(
        "pageSize 'ten' is no number",
        fix="give 1 to 1000, or leave it out",
        reason="BAD_PAGE_SIZE",
    ),
    Unauthenticated: Unauthenticated("no bearer token"),
    Forbidden: Forbidden("the credential may not do this", details={"needed": "write"}),
    NotFound: NotFound(f"no run '{_NO_RUN}'", fix="arco-flow runs", reason="RUN_NOT_FOUND"),
    Conflict: Conflict(
        f"run {_NO_RUN} is SUCCEEDED already; it can not be cancelled",
        reason="RUN_NOT_CANCELLABLE",
        details={"run": _NO_RUN, "state": "SUCCEEDED"},
    ),
    Gone: Gone("the task is SUCCEEDED", details={"error": "task_expired", "state": "SUCCEEDED"}),
    TooLarge: too_large(API_BODY_BYTES),
    PathTooLong: PathTooLong("the URL is longer than 8192 characters"),
    UnsupportedContent: UnsupportedContent(
        "content-type 'text/xml' is not read", fix="send application/json"
    ),
    TooManyRequests: TooManyRequests(per_second=20, burst=100, retry_after_seconds=1),
    HeadersTooLarge: HeadersTooLarge("more than 64 headers"),
    ArcoError: ArcoError("a defect"),
    Unavailable: Unavailable("the store does not answer"),
}

REPORT_EXAMPLES: Final[Mapping[type[ArcoError], ArcoError]] = {
    **ERROR_EXAMPLES,
    InvalidInput: InvalidInput(
        "progressPct is 101; it must be between 0 and 100", details={"error": "invalid_argument"}
    ),
    Forbidden: Forbidden("the token is of another task", details={"error": "wrong_task"}),
    NotFound: NotFound(f"no run '{_NO_RUN}'", details={"error": "task_not_found"}),
    Conflict: Conflict(
        "attempt 1 is not current",
        details={"error": "attempt_mismatch", "expectedAttempt": 2, "receivedAttempt": 1},
    ),
}
"""Of routes that workers call, in whose form `details` fill the fields."""

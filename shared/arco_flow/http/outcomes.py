"""The one table from errors to answers, and the two forms in which an answer tells an error.

API routes answer `google.rpc.Status` as JSON with one ErrorInfo always (AIP-193): `reason` is
for programs, `metadata` repeats every value of the message. Worker callbacks answer the
protocol's own CallbackErrorPayload. Whether repeating helps is part of the table, because a
client may repeat nothing but what is marked so (AIP-194).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from arco_flow.domain import errors
from arco_flow.domain.envelope import CallbackErrorPayload
from arco_flow.http import refusals
from arco_flow.http.error_bodies import ErrorBody, ErrorInfo, ErrorStatus, RetryInfo
from arco_flow.http.messages import Response

ERROR_DOMAIN: Final = "flow.arco.dev"
"""`domain` of our ErrorInfo: with `reason` it names an error for programs."""
RETRY_AFTER_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an error is answered: HTTP status, google.rpc code word, retry or not, log level."""

    status: int
    code: str
    retry: bool
    level: int


_INTERNAL: Final = Outcome(500, "INTERNAL", False, logging.ERROR)

OUTCOMES: Final[Mapping[type[Exception], Outcome]] = {
    errors.InvalidInput: Outcome(400, "INVALID_ARGUMENT", False, logging.INFO),
    errors.Unauthenticated: Outcome(401, "UNAUTHENTICATED", False, logging.WARNING),
    errors.Forbidden: Outcome(403, "PERMISSION_DENIED", False, logging.WARNING),
    errors.NotFound: Outcome(404, "NOT_FOUND", False, logging.INFO),
    errors.Conflict: Outcome(409, "ABORTED", False, logging.INFO),
    errors.Gone: Outcome(410, "FAILED_PRECONDITION", False, logging.INFO),
    errors.TooLarge: Outcome(413, "INVALID_ARGUMENT", False, logging.INFO),
    errors.Rejected: Outcome(400, "INVALID_ARGUMENT", False, logging.INFO),
    # The loser of a race was not applied, and the winner is done: the same call may pass now.
    errors.Contended: Outcome(503, "UNAVAILABLE", True, logging.WARNING),
    errors.OutcomeUnknown: Outcome(503, "UNAVAILABLE", True, logging.ERROR),
    errors.Unavailable: Outcome(503, "UNAVAILABLE", True, logging.ERROR),
    errors.ArcoError: _INTERNAL,
    refusals.MethodNotAllowed: Outcome(405, "UNIMPLEMENTED", False, logging.INFO),
    refusals.RequestTimedOut: Outcome(408, "DEADLINE_EXCEEDED", False, logging.INFO),
    refusals.LengthRequired: Outcome(411, "INVALID_ARGUMENT", False, logging.INFO),
    refusals.TooManyRequests: Outcome(429, "RESOURCE_EXHAUSTED", True, logging.INFO),
    refusals.PathTooLong: Outcome(414, "INVALID_ARGUMENT", False, logging.INFO),
    refusals.UnsupportedContent: Outcome(415, "INVALID_ARGUMENT", False, logging.INFO),
    refusals.ExpectationFailed: Outcome(417, "INVALID_ARGUMENT", False, logging.INFO),
    refusals.HeadersTooLarge: Outcome(431, "INVALID_ARGUMENT", False, logging.INFO),
    refusals.VersionNotSupported: Outcome(505, "UNIMPLEMENTED", False, logging.INFO),
}

ALREADY_EXISTS_REASONS: Final = frozenset({"RUN_KEY_CONFLICT", "REQUEST_ID_REUSED"})
"""Conflicts whose code word says that the thing exists with another content."""


def outcome_of(error: BaseException) -> Outcome:
    """The row of the error's class or of its nearest base; INTERNAL for what is no ArcoError."""
    for base in type(error).__mro__:
        if base in OUTCOMES:
            return OUTCOMES[base]
    return _INTERNAL


def api_error(error: Exception) -> Response:
    """The answer of an API route: google.rpc.Status with one ErrorInfo."""
    outcome = outcome_of(error)
    status = ErrorStatus(
        outcome.status,
        _code_word(error, outcome),
        _message(error, outcome),
        _details(error, outcome),
    )
    body = msgspec.json.encode(ErrorBody(status))
    return Response(outcome.status, body, headers=_headers(error, outcome))


def callback_error(error: Exception) -> Response:
    """The answer of a worker callback: CallbackErrorPayload, its fields out of the details."""
    outcome = outcome_of(error)
    fields = _payload_fields(error)
    payload = CallbackErrorPayload(
        error=str(fields.pop("error", "") or reason_of(error).lower()),
        message=_message(error, outcome),
        **fields,
    )
    return Response(outcome.status, msgspec.json.encode(payload), headers=_headers(error, outcome))


def reason_of(error: Exception) -> str:
    """The word for programs that says why."""
    return error.reason if isinstance(error, errors.ArcoError) else outcome_of(error).code


def _code_word(error: Exception, outcome: Outcome) -> str:
    exists = reason_of(error) in ALREADY_EXISTS_REASONS
    return "ALREADY_EXISTS" if exists else outcome.code


def _message(error: Exception, outcome: Outcome) -> str:
    """What the caller may know: nothing of our insides, nor why a credential was refused."""
    if outcome is _INTERNAL:
        return "the plane met an error of its own; its log has the details"
    if outcome.status == 401:
        return "a valid credential is needed"
    return str(error)


def _details(error: Exception, outcome: Outcome) -> list[ErrorInfo | RetryInfo]:
    hidden = outcome is _INTERNAL or outcome.status == 401
    info = ErrorInfo(
        reason=outcome.code if hidden else reason_of(error)[:63],
        domain=ERROR_DOMAIN,
        metadata={} if hidden else _metadata(error),
    )
    return [info, RetryInfo(f"{_pause_seconds(error)}s")] if outcome.retry else [info]


def _pause_seconds(error: Exception) -> int:
    """How long to wait before the call is repeated."""
    if isinstance(error, refusals.TooManyRequests):
        return error.retry_after_seconds
    return RETRY_AFTER_SECONDS


def _metadata(error: Exception) -> dict[str, str]:
    """Every value of the message as text, and where and how to mend it."""
    if not isinstance(error, errors.ArcoError):
        return {}
    found = {key: _text(value) for key, value in error.details.items()}
    if error.where:
        found.setdefault("where", error.where)
    if error.fix:
        found.setdefault("fix", error.fix)
    return found


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=str).decode()


def _payload_fields(error: Exception) -> dict[str, Any]:
    """The error's details that CallbackErrorPayload has a field for, under either spelling."""
    if not isinstance(error, errors.ArcoError):
        return {}
    found: dict[str, Any] = {}
    for info in msgspec.structs.fields(CallbackErrorPayload):
        for name in (info.name, info.encode_name):
            if name in error.details and info.name != "message":
                found[info.name] = error.details[name]
    return found


def _headers(error: Exception, outcome: Outcome) -> tuple[tuple[str, str], ...]:
    if isinstance(error, refusals.MethodNotAllowed):
        return (("allow", error.allowed),)
    if outcome.status == 401:
        return (("www-authenticate", 'Bearer realm="arco-flow"'),)
    if outcome.retry:
        return (("retry-after", str(_pause_seconds(error))),)
    return ()

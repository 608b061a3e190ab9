"""What an error of a Google API says of the call that it answers, in one table.

    status               fate                what a guarded write makes of it
    ALREADY_EXISTS       PRECONDITION        read back: it may be ours, sent twice; or Contended
    FAILED_PRECONDITION  PRECONDITION        the same
    NOT_FOUND            PRECONDITION        the same
    ABORTED              LOCKED              sent again; then Contended
    RESOURCE_EXHAUSTED   NOT_APPLIED         sent again; then Unavailable
    UNAVAILABLE          NOT_APPLIED when the connection never came about, else UNKNOWN
    DEADLINE_EXCEEDED    UNKNOWN             sent again and read back; then OutcomeUnknown
    UNKNOWN INTERNAL     UNKNOWN             the same
    CANCELLED DATA_LOSS  UNKNOWN             the same
    INVALID_ARGUMENT     REFUSED             InvalidInput
    OUT_OF_RANGE         REFUSED             InvalidInput
    PERMISSION_DENIED    REFUSED             Unavailable: our own trouble, with its mend
    UNAUTHENTICATED      REFUSED             the same
    UNIMPLEMENTED        REFUSED             the same

No client repeats a write by itself: a creation that has landed would come back as ALREADY_EXISTS,
and only who knows what was sent can tell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TypeVar

import grpc
import grpc.aio

from arco_flow.adapters.gcp.grpc_calls import NoCredentials
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.domain.errors import ArcoError, InvalidInput, OutcomeUnknown, Unavailable

T = TypeVar("T")

ApiError = (grpc.aio.AioRpcError, NoCredentials)
"""All that a call of ours may raise. What the official clients raise is told in the same words, but
by who loads them: their errors would cost every function their whole base."""


class Fate(Enum):
    """What became of a call that was answered with an error."""

    PRECONDITION = auto()
    LOCKED = auto()
    NOT_APPLIED = auto()
    UNKNOWN = auto()
    REFUSED = auto()


_FATES = {
    "ALREADY_EXISTS": Fate.PRECONDITION,
    "FAILED_PRECONDITION": Fate.PRECONDITION,
    "NOT_FOUND": Fate.PRECONDITION,
    "ABORTED": Fate.LOCKED,
    "RESOURCE_EXHAUSTED": Fate.NOT_APPLIED,
    "INVALID_ARGUMENT": Fate.REFUSED,
    "OUT_OF_RANGE": Fate.REFUSED,
    "PERMISSION_DENIED": Fate.REFUSED,
    "UNAUTHENTICATED": Fate.REFUSED,
    "UNIMPLEMENTED": Fate.REFUSED,
}
_NEVER_SENT = ("failed to connect", "DNS resolution failed", "Name resolution failure")
_FIXES = {
    "PERMISSION_DENIED": "give the service account of this function the role that it lacks",
    "UNAUTHENTICATED": "give this process credentials: a service account, or"
    " `gcloud auth application-default login`",
    "FAILED_PRECONDITION": "apply adapters/gcp/firestore.indexes.json when an index is missing",
    "NOT_FOUND": "create what is named, or correct the setting that names it",
}


def status_of(error: Exception) -> str:
    """The gRPC status of an error, such as `ABORTED`, also of an official client's; "" for one that
    never left this process."""
    if isinstance(error, grpc.aio.AioRpcError):
        status = error.code()
    else:
        status = getattr(error, "grpc_status_code", None)
    return str(status.name) if status is not None else ""


def fate_of(error: Exception) -> Fate:
    """See the table above. Without credentials nothing is sent."""
    if isinstance(error, NoCredentials):
        return Fate.NOT_APPLIED
    status = status_of(error)
    if status == "UNAVAILABLE":
        text = _text(error)
        return Fate.NOT_APPLIED if any(word in text for word in _NEVER_SENT) else Fate.UNKNOWN
    return _FATES.get(status, Fate.UNKNOWN)


def failure(error: Exception, what: str, *, maybe_applied: bool = False) -> ArcoError:
    """The error in our words. what: the service and the call, as it begins a sentence.

    maybe_applied: an earlier attempt at the same call may have had its effect.
    """
    status = status_of(error)
    text = f"{what} failed: {status or type(error).__name__}: {_first_line(error)}"
    if status in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
        return InvalidInput(text, details={"status": status})
    kind = OutcomeUnknown if maybe_applied else Unavailable
    return kind(text, fix=_FIXES.get(status), details={"status": status})


async def patiently(
    pace: Pace, what: str, call: Callable[[bool], Awaitable[T]], *, changes: bool = False
) -> T:
    """Make a call that may be made twice without harm until it is answered.

    changes: it does something. It is told whether an earlier attempt may have done it. Raises
    Unavailable (OutcomeUnknown, when it may have been done) after the last attempt, and at once
    what repeating can not mend.
    """
    maybe = False
    for attempt in range(pace.attempts):
        try:
            return await call(maybe)
        except ApiError as error:
            fate = fate_of(error)
            maybe = maybe or (changes and fate is Fate.UNKNOWN)
            is_final = fate in (Fate.REFUSED, Fate.PRECONDITION)
            if is_final or attempt == pace.attempts - 1:
                raise failure(error, what, maybe_applied=maybe) from error
        await pace.pause(attempt)
    raise AssertionError("a pace has at least one attempt")


def _first_line(error: Exception) -> str:
    return _text(error).strip().partition("\n")[0][:300]


def _text(error: Exception) -> str:
    """What the service says, in either kind of error."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.details() or ""
    return str(getattr(error, "message", None) or error)

"""What went wrong in an attempt, as the plane and people are told."""

from __future__ import annotations

import importlib
import os
import traceback
from types import TracebackType

from arco_flow.domain.envelope import TaskError
from arco_flow.domain.errors import (
    ArcoError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from arco_flow.domain.retry import error_type_names_of
from arco_flow.io.base import ValueRefused, VersionDamaged
from arco_flow.sdk.signals import Failure, RetryRequested
from arco_flow.worker.redaction import Redactor

MAX_MESSAGE_CHARS = 8 * 1024
MAX_TRACE_CHARS = 32 * 1024
RETRIES_WITHOUT_POLICY = 1
"""Of a RetryRequested that names no number, where the asset declares no policy (Dagster's)."""
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MAX_CHAIN = 20
_STORE_ERRORS = (OSError, Unavailable, OutcomeUnknown, NotFound, VersionDamaged)
_FINAL = (NotFound, VersionDamaged)


def task_error(
    error: BaseException, phase: str, redactor: Redactor, *, has_policy: bool = False
) -> TaskError:
    """The report of an exception.

    phase: resolve, load, bind, run, check or save. has_policy: whether the asset declares a
    RetryPolicy, which then says how often a RetryRequested without a number is followed.
    """
    retryable, retry_after_ms, max_retries = _asked(error, has_policy=has_policy)
    category = category_of(error, phase)
    if category == "INFRASTRUCTURE" and isinstance(error, _FINAL):
        # What is missing or damaged at rest is still so at the next attempt.
        retryable = False
    return TaskError(
        category=category,
        message=shorten(redactor.clean(message_of(error)), MAX_MESSAGE_CHARS),
        stack_trace=shorten(redactor.clean(stack_trace(error)), MAX_TRACE_CHARS),
        retryable=retryable,
        types=list(error_type_names_of(type(error))),
        retry_after_ms=retry_after_ms,
        max_retries=max_retries,
    )


def category_of(error: BaseException, phase: str) -> str:
    """USER_CODE, INFRASTRUCTURE or CONFIGURATION, by what was raised and where."""
    if isinstance(error, MemoryError):
        return "INFRASTRUCTURE"
    if phase in ("load", "save") and isinstance(error, _STORE_ERRORS):
        return "INFRASTRUCTURE"
    if phase == "resolve":
        return "CONFIGURATION"
    if phase in ("load", "bind", "save") and isinstance(error, InvalidInput):
        return "USER_CODE" if isinstance(error, ValueRefused) else "CONFIGURATION"
    return "USER_CODE"


def message_of(error: BaseException) -> str:
    """`Type: text` for the errors of others; ours say it all themselves."""
    if isinstance(error, ArcoError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"SystemExit: user code called exit({error.code!r})"
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as broken:
        text = f"its text can not be read: its __str__ raises {type(broken).__name__}"
    return f"{name}: {text}" if text else name


def stack_trace(error: BaseException) -> str:
    """The traceback from the first line of user code on; empty when there is none in it."""
    link: BaseException | None = error
    found = False
    for _ in range(_MAX_CHAIN):
        if link is None:
            break
        # The whole chain: what failed first is what the user has to mend.
        trimmed = _first_user_frame(link.__traceback__)
        link = _cause_of(link.with_traceback(trimmed))
        found = found or trimmed is not None
    if not found:
        return ""
    return "".join(traceback.TracebackException.from_exception(error, compact=True).format())


def _cause_of(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


def _first_user_frame(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_machinery(file: str) -> bool:
    return file.startswith((_OURS, "<frozen importlib")) or file == importlib.__file__


def shorten(text: str, limit: int) -> str:
    """The text with its middle left out when it is too long, saying how much."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _asked(error: BaseException, *, has_policy: bool) -> tuple[bool | None, int | None, int | None]:
    """(retryable, wait, retries) as user code asked for it by Failure or RetryRequested."""
    if isinstance(error, RetryRequested):
        unsaid = None if has_policy else RETRIES_WITHOUT_POLICY
        return True, error.after_ms, error.max_retries or unsaid
    if isinstance(error, Failure):
        return error.retryable, None, None
    return None, None, None

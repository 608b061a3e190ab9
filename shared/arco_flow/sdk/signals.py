"""Exceptions by which an asset's function tells the plane what should happen next."""

from __future__ import annotations

from collections.abc import Mapping

from arco_flow.domain.durations import Duration, parse_duration_ms
from arco_flow.domain.errors import ArcoError, InvalidInput


class RetryRequested(ArcoError):
    """Raise it to end this attempt and ask for another one.

    after: wait before it, as seconds or text (`"10s"`); None leaves the wait to the asset's
    RetryPolicy, without one there is none. after_ms holds it in milliseconds.
    max_retries: how many retries the task may have in all, those for other reasons included;
    1 to 230. None leaves the number to the asset's RetryPolicy; without a policy it is 1, as in
    Dagster.

    Raises InvalidInput for a span that can not be read, and a number out of range.
    """

    reason = "RETRY_REQUESTED"

    def __init__(
        self,
        message: str = "the asset asked for a retry",
        *,
        after: Duration | None = None,
        max_retries: int | None = None,
    ) -> None:
        self.after_ms = None if after is None else parse_duration_ms(after, name="after")
        self.max_retries = None if max_retries is None else _count(max_retries)
        super().__init__(message)


def _count(max_retries: object) -> int:
    from arco_flow.domain.retry import MAX_RETRIES

    if type(max_retries) is int and 1 <= max_retries <= MAX_RETRIES:
        return max_retries
    raise InvalidInput(
        f"RetryRequested(max_retries={max_retries!r}): not a whole number from 1 to {MAX_RETRIES}",
        fix="leave it out for the number of the asset's RetryPolicy; to fail for good, raise "
        "Failure",
        reason="BAD_RETRY_REQUEST",
    )


class Failure(ArcoError):
    """Raise it to fail the attempt with a message and metadata that people will see.

    retryable: False (the default) ends the task whatever its RetryPolicy says, True lets the
    policy's number of tries decide. metadata: shown with the failed attempt.
    """

    reason = "FAILURE"

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        self.retryable = retryable
        self.metadata: dict[str, object] = dict(metadata or {})
        super().__init__(message)


class AttemptCancelled(ArcoError):
    """The run was cancelled; raised by `AssetContext.raise_if_cancelled`."""

    reason = "CANCELLED"

"""Exceptions by which an asset's function tells the plane what should happen next."""

from __future__ import annotations

from collections.abc import Mapping

from arco_flow.domain.durations import Duration, parse_duration_ms
from arco_flow.domain.errors import ArcoError


class RetryRequested(ArcoError):
    """Raise it to end this attempt and ask for another one.

    after: wait before it, as seconds or text (`"10s"`); None leaves the wait to the asset's
    RetryPolicy. It counts as a retry: the policy's number of tries still bounds it.
    after_ms holds the wait in milliseconds. Raises InvalidInput for a span that can not be read.
    """

    reason = "RETRY_REQUESTED"

    def __init__(
        self, message: str = "the asset asked for a retry", *, after: Duration | None = None
    ) -> None:
        self.after_ms = None if after is None else parse_duration_ms(after, name="after")
        super().__init__(message)


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

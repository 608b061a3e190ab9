"""What a queue is configured to do: defaults, bounds and updates."""

from __future__ import annotations

import math
from typing import Any

from google.cloud import tasks_v2

from arco_emulators.backoff import Backoff
from arco_emulators.outgoing import invalid, masked
from arco_emulators.protos import duration, seconds_of

RUNNING = int(tasks_v2.Queue.State.RUNNING)
PAUSED = int(tasks_v2.Queue.State.PAUSED)

MAX_RATE = 500.0
MAX_CONCURRENT = 5000
OUTPUT_ONLY = ("name", "state", "purge_time", "rate_limits.max_burst_size")


def completed(queue: Any) -> Any:
    """The queue with the service's defaults in all that is unset.

    Errors: Refused for a value out of bounds.
    """
    rate, retry = queue.rate_limits, queue.retry_config
    rate.max_dispatches_per_second = rate.max_dispatches_per_second or MAX_RATE
    rate.max_concurrent_dispatches = rate.max_concurrent_dispatches or 1000
    rate.max_burst_size = max(10, math.ceil(rate.max_dispatches_per_second / 5))
    complete_retry(retry)
    _check("max_dispatches_per_second", rate.max_dispatches_per_second, 0, MAX_RATE)
    _check("max_concurrent_dispatches", rate.max_concurrent_dispatches, 0, MAX_CONCURRENT)
    queue.state = queue.state or RUNNING
    return queue


def complete_retry(retry: Any) -> None:
    """Set the service's defaults in all that is unset. Errors: Refused."""
    # Numbers have no presence in the protocol: 0 doublings can not be told from unset ones.
    retry.max_attempts = retry.max_attempts or 100
    retry.max_doublings = retry.max_doublings or 16
    if not retry.HasField("min_backoff"):
        retry.min_backoff.CopyFrom(duration(0.1))
    if not retry.HasField("max_backoff"):
        retry.max_backoff.CopyFrom(duration(3600))
    _check("max_attempts", retry.max_attempts, -1, math.inf)
    _check("max_doublings", retry.max_doublings, 0, math.inf)
    if not 0 <= seconds_of(retry.min_backoff) <= seconds_of(retry.max_backoff):
        raise invalid(
            "RetryConfig.min_backoff must be less than or equal to RetryConfig.max_backoff."
        )


def backoff_of(retry: Any) -> Backoff:
    """The retry rule of a complete configuration."""
    return Backoff(
        min_seconds=seconds_of(retry.min_backoff),
        max_seconds=seconds_of(retry.max_backoff),
        max_doublings=retry.max_doublings,
        max_attempts=retry.max_attempts,
        max_duration_seconds=seconds_of(retry.max_retry_duration),
    )


def updated(old: Any, new: Any, mask: Any) -> Any:
    """The old queue with the masked fields of the new one; with no mask, all of them.

    Errors: Refused for a field that a queue does not have.
    """
    return completed(masked(old, new, mask, output_only=OUTPUT_ONLY))


def _check(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise invalid(f"{field} must be between {low:g} and {high:g}.")

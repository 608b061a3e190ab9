"""What one process takes on: requests of each caller, and callers that it keeps waiting.

A process knows its own load alone: with more instances a caller may ask more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from arco_flow.engine.context import Cache
from arco_flow.http.refusals import TooManyRequests

MAX_WAITS: Final = 40
"""Callers that wait for a run at one time: half of what an instance of the API serves at once, so
that others find a place. One more is answered at once."""
COUNTED_CALLERS: Final = 1000
"""Of more, those that have asked nothing for the longest time begin anew."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: per_second on the long run, above 0, and `burst` at once, 1 or more."""

    per_second: int
    burst: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Requests that may still come at once, as of a moment in seconds."""

    tokens: float
    at_seconds: float


def take(rate: Rate, bucket: Bucket | None, now_seconds: float) -> tuple[Bucket, float]:
    """The bucket after one more request (None = of a new caller), and how many seconds too early
    the request was: 0 = it may pass. One that may not takes nothing."""
    if bucket is None:
        bucket = Bucket(rate.burst, now_seconds)
    gained = max(0.0, now_seconds - bucket.at_seconds) * rate.per_second
    tokens = min(float(rate.burst), bucket.tokens + gained)
    if tokens >= 1:
        return Bucket(tokens - 1, now_seconds), 0.0
    return Bucket(tokens, now_seconds), (1 - tokens) / rate.per_second


class CallerRates:
    """Admits the requests of each caller at a rate. now: seconds, monotonic."""

    def __init__(self, rate: Rate, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._now = now
        self._buckets: Cache[Bucket] = Cache(COUNTED_CALLERS)

    def admit(self, caller: str) -> None:
        """Count a request. Raises TooManyRequests, which says when to come again."""
        bucket, early = take(self._rate, self._buckets.get(caller), self._now())
        self._buckets.put(caller, bucket)
        if early:
            raise TooManyRequests(self._rate.per_second, self._rate.burst, math.ceil(early))


class Waits:
    """Counts the callers that are kept waiting."""

    def __init__(self, limit: int = MAX_WAITS) -> None:
        self._free = limit

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether one more may wait; it has the place until the end of the block."""
        if self._free <= 0:
            yield False
            return
        self._free -= 1
        try:
            yield True
        finally:
            self._free += 1

"""When a failed attempt is made again: the rule of Cloud Tasks and Cloud Scheduler."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Intervals in seconds, and what ends the attempts."""

    min_seconds: float
    max_seconds: float
    max_doublings: int
    max_attempts: int
    """With the first one; -1: no limit."""
    max_duration_seconds: float
    """Since the first attempt; 0: no limit."""

    def interval(self, failures: int) -> float:
        """Seconds from the n-th failure to the next attempt.

        The interval starts at the minimum, doubles `max_doublings` times, then grows by the same
        amount each time, and stays at the maximum.
        """
        doubled = min(failures - 1, self.max_doublings)
        step = self.min_seconds * 2.0 ** min(doubled, 64)
        return min(self.max_seconds, step * max(1, failures - self.max_doublings))

    def exhausted(self, attempts: int, age_seconds: float) -> bool:
        """Whether no further attempt is made: every limit that is set has been reached."""
        reached = []
        if self.max_attempts != -1:
            reached.append(attempts >= self.max_attempts)
        if self.max_duration_seconds > 0:
            reached.append(age_seconds >= self.max_duration_seconds)
        return bool(reached) and all(reached)


def retry_after(value: str, now: float) -> float:
    """Seconds that a `Retry-After` header asks to wait: its number, or until its date; else 0."""
    text = value.strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError):
        return 0.0

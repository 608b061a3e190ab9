"""The token bucket that limits the rate of a queue."""

from __future__ import annotations

SLOWEST = 1.0
"""Dispatches per second to which throttling slows a queue down at most."""


class TokenBucket:
    """Holds up to `burst` tokens, refilled at `rate` per second; starts full."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._nominal = self._rate = rate
        self._burst = self._tokens = burst
        self._at = now

    def configure(self, rate: float, burst: float, now: float) -> None:
        """Go on with other limits; tokens above the new burst are lost."""
        self._refill(now)
        self._nominal = self._rate = rate
        self._burst = burst
        self._tokens = min(self._tokens, burst)

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def ready_at(self, now: float) -> float:
        """When there is a token: now, or later."""
        self._refill(now)
        # A little more than exact, so that rounding does not make the timer ring in vain.
        return now if self._tokens >= 1 else now + (1 - self._tokens) / self._rate + 1e-4

    def slow_down(self, now: float) -> None:
        """Halve the rate."""
        self._refill(now)
        self._rate = max(min(SLOWEST, self._nominal), self._rate / 2)
        self._tokens = min(self._tokens, 1.0)

    def speed_up(self) -> None:
        """Come a tenth nearer to the configured rate."""
        self._rate = min(self._nominal, self._rate * 1.1)

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now

"""The real clock and the real id source."""

from __future__ import annotations

import secrets
import time
from threading import Lock

from arco_flow.adapters.ulid import RANDOM_BITS, encode_ulid

_STEP_BITS = 32


class SystemClock:
    """Wall-clock time, and ids that grow even within a millisecond or when the clock is set back.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._last_ms = 0
        self._low = 0

    def now_ms(self) -> int:
        """UTC epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def new_id(self) -> str:
        """A fresh lower-case ULID, greater than all before it in this process."""
        with self._lock:
            now = self.now_ms()
            if now > self._last_ms:
                self._last_ms, self._low = now, secrets.randbits(RANDOM_BITS)
            else:
                # A random step keeps ids hard to guess from their neighbours.
                self._low += 1 + secrets.randbits(_STEP_BITS)
            if self._low >> RANDOM_BITS:
                self._last_ms, self._low = self._last_ms + 1, secrets.randbits(_STEP_BITS)
            return encode_ulid(self._last_ms, self._low)

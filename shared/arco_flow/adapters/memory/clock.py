"""A clock that moves when it is told to."""

from __future__ import annotations

from arco_flow.adapters.ulid import encode_ulid
from arco_flow.domain.errors import InvalidInput

_START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


class VirtualClock:
    """`Clock` for tests and simulations: time stands still between `advance` calls, and the same
    calls give the same ids."""

    def __init__(self, now_ms: int = _START_MS) -> None:
        self._now_ms = now_ms
        self._ids = 0

    def now_ms(self) -> int:
        """UTC epoch milliseconds."""
        return self._now_ms

    def new_id(self) -> str:
        """A ULID whose low bits count the ids of this clock."""
        self._ids += 1
        return encode_ulid(self._now_ms, self._ids)

    def advance(self, ms: int) -> int:
        """Let time pass; the new time. Raises InvalidInput on a negative span."""
        if ms < 0:
            raise InvalidInput(f"time can not pass backwards by {-ms} ms", fix="use set_to")
        self._now_ms += ms
        return self._now_ms

    def set_to(self, now_ms: int) -> None:
        """Set the clock, also back, as a correction of the machine's clock would."""
        self._now_ms = now_ms

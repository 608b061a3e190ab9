"""Time and fresh ids, so that a simulator can own both."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The process clock and id source."""

    def now_ms(self) -> int:
        """UTC epoch milliseconds of this process; for tokens and pacing, never for ordering."""
        ...

    def new_id(self) -> str:
        """A fresh sortable id: lower-case ULID, 26 characters."""
        ...

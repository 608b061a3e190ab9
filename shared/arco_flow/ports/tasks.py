"""The task queue: named, delayed, at-least-once."""

from __future__ import annotations

from typing import Protocol


class Tasks(Protocol):
    """Deliver a body to a route, not before a time, at least once, perhaps late or twice."""

    async def enqueue(
        self, queue: str, name: str, route: str, body: bytes, *, at_ms: int = 0
    ) -> bool:
        """Add a task. False when a task of that name was known (also recently finished): that
        is success, not an error. at_ms 0 = now. Raises Unavailable, OutcomeUnknown."""
        ...

    async def delete(self, queue: str, name: str) -> bool:
        """Remove a task that was not delivered yet; False when there is none."""
        ...

"""The task queue: named, delayed, at-least-once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to add; at_ms 0 = now."""

    queue: str
    name: str
    route: str
    body: bytes
    at_ms: int = 0


class Tasks(Protocol):
    """Deliver a body to a route, not before a time, at least once, perhaps late or twice."""

    async def enqueue(
        self, queue: str, name: str, route: str, body: bytes, *, at_ms: int = 0
    ) -> bool:
        """Add a task. False when a task of that name was known (also recently finished): that
        is success, not an error. at_ms 0 = now. Raises Unavailable, OutcomeUnknown."""
        ...

    async def enqueue_many(self, tasks: Sequence[NewTask]) -> list[bool]:
        """Add several tasks in one round trip; per task as `enqueue` answers. Raises
        Unavailable when none was added, OutcomeUnknown when some may have been."""
        ...

    async def delete(self, queue: str, name: str) -> bool:
        """Remove a task that was not delivered yet; False when there is none."""
        ...

"""How often a call is made again, and how long it waits before that."""

from __future__ import annotations

from dataclasses import dataclass
from random import random


@dataclass(frozen=True, slots=True)
class Pace:
    """attempts: of one call, with the first. The wait before the next one is drawn between
    nothing and its bound, which begins at first_ms and triples: callers that met once must not
    meet again. timeout_s: of one attempt."""

    attempts: int = 4
    first_ms: int = 40
    timeout_s: float = 8.0

    def wait_s(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt (0 for the first)."""
        return self.first_ms / 1000 * float(3**attempt) * random()  # noqa: S311

    async def pause(self, attempt: int) -> None:
        """Wait after a failed attempt."""
        # Imported here, because what waits on threads needs no event loop.
        import asyncio

        await asyncio.sleep(self.wait_s(attempt))

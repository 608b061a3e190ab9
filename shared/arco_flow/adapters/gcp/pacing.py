"""How often a call is made again, and how long it waits before that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random
from typing import TypeVar

from arco_flow.adapters.gcp.failures import ApiError, Fate, failure, fate_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """attempts: of one call, with the first. The wait before the next one is drawn between
    nothing and its bound, which begins at first_ms and triples: callers that met once must not
    meet again. timeout_s: of one attempt."""

    attempts: int = 4
    first_ms: int = 40
    timeout_s: float = 8.0

    async def pause(self, attempt: int) -> None:
        """Wait after a failed attempt (0 for the first)."""
        await asyncio.sleep(self.first_ms / 1000 * 3**attempt * random())  # noqa: S311


async def patiently(pace: Pace, what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call that may be made twice without harm until it is answered.

    Raises Unavailable after the last attempt, and at once what repeating can not mend.
    """
    for attempt in range(pace.attempts):
        try:
            return await call()
        except ApiError as error:
            is_final = fate_of(error) in (Fate.REFUSED, Fate.PRECONDITION)
            if is_final or attempt == pace.attempts - 1:
                raise failure(error, what) from error
        await pace.pause(attempt)
    raise AssertionError("a pace has at least one attempt")

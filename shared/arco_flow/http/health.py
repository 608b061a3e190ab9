"""Whether the process lives, and whether it can serve.

No path ends in `z`: Cloud Run keeps some of those for itself.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from arco_flow.domain.errors import ArcoError, Unavailable
from arco_flow.engine.context import Engine
from arco_flow.http.routing import Call

READY_SECONDS: Final = 5.0
"""How long one look at the store is believed: probes come from several sides."""


class Health(msgspec.Struct, frozen=True):
    """Answer of a health route."""

    status: str


class Readiness:
    """Asks the store whether it answers, at most once in READY_SECONDS."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked_at = float("-inf")
        self._ready = False
        self._asking = asyncio.Lock()

    async def is_ready(self) -> bool:
        """Whether the store answered when it was last asked."""
        loop = asyncio.get_running_loop()
        # Who comes while the store is asked waits for the answer, not for the one of before.
        async with self._asking:
            if loop.time() - self._asked_at >= READY_SECONDS:
                self._ready = await self._ask()
                self._asked_at = loop.time()
            return self._ready

    async def _ask(self) -> bool:
        try:
            await self._engine.store.now_ms()
        except ArcoError:
            return False
        return True


async def get_liveness(_call: Call) -> Health:
    """The process answers; nothing else is touched."""
    return Health(status="live")


async def get_readiness(call: Call) -> Health:
    """The store answers, too; 503 while it does not."""
    if not await call.readiness.is_ready():
        raise Unavailable("the store does not answer", reason="NOT_READY")
    return Health(status="ready")

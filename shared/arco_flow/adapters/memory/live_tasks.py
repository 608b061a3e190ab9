"""The memory queue in real time: for a plane that forgets everything with its process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from arco_flow.adapters.delivery import DeadTask, Handler, QueueSettings
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.ports.clock import Clock
from arco_flow.ports.tasks import NewTask


class _WallClock(VirtualClock):
    """True time where a clock is wanted that could be moved; nobody here moves it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._true = clock

    def now_ms(self) -> int:
        return self._true.now_ms()


class LiveTasks:
    """`Tasks` on a MemoryTasks that an event loop drives: due deliveries run beside each other."""

    def __init__(self, clock: Clock, *, queues: Mapping[str, QueueSettings] | None = None) -> None:
        self._clock = clock
        self._tasks = MemoryTasks(_WallClock(clock), queues=queues)
        self._changed = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._driver: asyncio.Task[None] | None = None

    def register(self, route: str, handler: Handler) -> None:
        """Deliver tasks of this route to `handler(body, delivery)`."""
        self._tasks.register(route, handler)

    async def enqueue(
        self, queue: str, name: str, route: str, body: bytes, *, at_ms: int = 0
    ) -> bool:
        """See Tasks."""
        added = await self._tasks.enqueue(queue, name, route, body, at_ms=at_ms)
        self._changed.set()
        return added

    async def enqueue_many(self, tasks: Sequence[NewTask]) -> list[bool]:
        """See Tasks."""
        added = await self._tasks.enqueue_many(tasks)
        self._changed.set()
        return added

    async def delete(self, queue: str, name: str) -> bool:
        """See Tasks."""
        return await self._tasks.delete(queue, name)

    def dead(self, limit: int = 100) -> list[DeadTask]:
        """Tasks that were refused for good, newest first."""
        return self._tasks.dead(limit)

    async def start(self) -> None:
        """Begin to deliver."""
        self._driver = asyncio.create_task(self._drive())

    async def stop(self, *, drain: bool = True) -> None:
        """Take no more deliveries; drain: wait for those that run, else end them."""
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        running = list(self._running)
        if not drain:
            for delivery in running:
                delivery.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _drive(self) -> None:
        while True:
            self._changed.clear()
            for work in self._tasks.take_due():
                delivery = asyncio.create_task(work)
                self._running.add(delivery)
                delivery.add_done_callback(self._on_done)
            due_ms = self._tasks.next_ms()
            wait = None if due_ms is None else max(due_ms - self._clock.now_ms(), 0) / 1000
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _on_done(self, delivery: asyncio.Task[None]) -> None:
        self._running.discard(delivery)
        # A lane is free: what waited for it is due.
        self._changed.set()

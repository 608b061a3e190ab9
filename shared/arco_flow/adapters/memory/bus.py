"""The bus under a virtual clock."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import Faults, async_site
from arco_flow.adapters.memory.tasks import MemoryTasks, Timing, punctual
from arco_flow.adapters.queue_bus import QueueBus
from arco_flow.ports.bus import Message


class MemoryBus(QueueBus):
    """`Bus` that delivers when it is driven, to coroutines, as MemoryTasks does."""

    def __init__(
        self, clock: VirtualClock, *, faults: Faults | None = None, timing: Timing = punctual
    ) -> None:
        """timing: (queue of the subscription, name of the message, when) -> when to deliver; see
        MemoryTasks."""
        self.faults = faults or Faults()
        self._tasks = MemoryTasks(clock, timing=timing)
        super().__init__(self._tasks, clock)

    @property
    def timing(self) -> Timing:
        """When messages are delivered that are published from now on."""
        return self._tasks.timing

    @timing.setter
    def timing(self, timing: Timing) -> None:
        self._tasks.timing = timing

    @async_site("bus.publish")
    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See Bus."""
        await self._publish(topic, messages)

    def pending(self) -> int:
        """How many messages are not done, counted once per subscription."""
        return self._tasks.pending()

    def next_ms(self) -> int | None:
        """When the next delivery or deadline is due; None without any."""
        return self._tasks.next_ms()

    def take_due(self) -> list[Coroutine[Any, Any, None]]:
        """Take every delivery that is due and that its subscription has room for; see
        MemoryTasks."""
        return self._tasks.take_due()

    async def run_due(self) -> int:
        """Deliver all that is due now, also what that brings up; the number of deliveries."""
        return await self._tasks.run_due()

    async def run_until_idle(self, *, until_ms: int | None = None) -> int:
        """Advance the clock from delivery to delivery until none is left; see MemoryTasks."""
        return await self._tasks.run_until_idle(until_ms=until_ms)

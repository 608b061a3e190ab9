"""The durable bus of one process."""

from __future__ import annotations

from collections.abc import Sequence

from arco_flow.adapters.local.tasks import LocalTasks
from arco_flow.adapters.queue_bus import QueueBus
from arco_flow.ports.bus import Message
from arco_flow.ports.clock import Clock


class LocalBus(QueueBus):
    """`Bus` in the SQLite of a LocalTasks, which delivers it: a row per subscription and message.

    Subscribe before that one starts: what a subscription was not done with goes on only then,
    and what is published before is not for it.
    """

    def __init__(self, tasks: LocalTasks, clock: Clock) -> None:
        super().__init__(tasks, clock)

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See Bus. All of them are published, or none."""
        await self._publish(topic, messages)

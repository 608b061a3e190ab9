"""The Cloud Tasks emulator put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from arco_emulators import journal, locations, rpc
from arco_emulators.clock import Clock
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.identity import Issuer
from arco_emulators.running import Running, served
from arco_emulators.sender import Sender
from arco_emulators.tasks.batches import Batches
from arco_emulators.tasks.book import Book
from arco_emulators.tasks.dispatch import Dispatcher
from arco_emulators.tasks.queues import Queues
from arco_emulators.tasks.settings import Settings
from arco_emulators.tasks.tasks import Tasks

SERVICE = "google.cloud.tasks.v2.CloudTasks"


class Emulator:
    """Queues, tasks and attempts; belongs to the event loop in which it was made.

    Errors: BlockingIOError when another process has the data file.
    """

    def __init__(
        self,
        settings: Settings,
        issuer: Issuer,
        chaos: Chaos | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.chaos = chaos or Chaos()
        self.counters = Counters()
        self._sender = Sender()
        records = journal.opened(settings.data)
        self.book = Book(self.clock, self.chaos, settings.limits, records)
        self._dispatcher = Dispatcher(self.book, self._sender, issuer, self.counters)
        self._queues = Queues(self.book)
        self._tasks = Tasks(self.book, self._queues, self._dispatcher)
        self._batches = Batches(self._tasks, self.clock)

    def start(self) -> None:
        """Take up what the data file holds, and hand out what is due."""
        self.book.open(self._dispatcher.start)

    async def close(self) -> None:
        """Stop; attempts under way are broken off and made again after a restart."""
        self.book.close()
        await self._dispatcher.close()
        await self._sender.close()

    def services(self) -> rpc.Services:
        """The services that are served at the port."""
        return {
            SERVICE: {
                **self._queues.methods(),
                **self._tasks.methods(),
                **self._batches.methods(),
            },
            "google.longrunning.Operations": self._batches.operation_methods(),
            locations.SERVICE: locations.methods(lambda: self.book.queues),
        }

    def state(self) -> dict[str, Any]:
        """Per queue: tasks held, attempts under way, names not free yet."""
        return {
            "queues": {
                name: {
                    "tasks": len(queue.tasks),
                    "under_way": queue.pump.busy,
                    "tombstones": len(queue.graves),
                }
                for name, queue in self.book.queues.items()
            }
        }

    def reset(self) -> None:
        """Forget all queues and tasks."""
        self.book.reset()

    async def idle(self, ahead_seconds: float) -> None:
        """Return once no attempt is under way and no task due within these seconds."""
        await self._dispatcher.idle(ahead_seconds)


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, issuer: Issuer, chaos: Chaos | None = None
) -> AsyncIterator[Running[Emulator]]:
    """Serve the emulator and its administrative endpoint while the block runs.

    Errors: OSError when a port is taken; BlockingIOError when the data file is.
    """
    async with served(Emulator(settings, issuer, chaos), issuer, settings) as running:
        yield running

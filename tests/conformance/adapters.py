"""The adapters that the conformance suites run on.

Another adapter joins by one more entry: a factory that answers a context manager. A factory is
given an empty folder of its own and the clock that the scenario moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from arco_flow.adapters.delivery import DeadTask, Handler, QueueSettings
from arco_flow.adapters.local.bus import LocalBus
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.adapters.local.store import SqliteStore
from arco_flow.adapters.local.tasks import LocalTasks
from arco_flow.adapters.memory.bus import MemoryBus
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.adapters.subscriptions import DeadMessage, MessageHandler, SubscriptionSettings
from arco_flow.adapters.threaded import ThreadedObjects
from arco_flow.ports.bus import Bus
from arco_flow.ports.objects import AsyncObjects, Objects
from arco_flow.ports.store import Store
from arco_flow.ports.tasks import Tasks
from conformance.google_cloud import cloud_objects, firestore_store, troubled_firestore_store
from conformance.google_queues import cloud_tasks, pubsub

# Short, so that the suites can walk through a back-off and a deadline.
SETTINGS = QueueSettings(
    max_concurrent=4, min_backoff_ms=100, max_backoff_ms=1_000, dispatch_deadline_ms=5_000
)


class Queue(Tasks, Protocol):
    """What a queue under test offers beyond the port: handlers, and where refused tasks go."""

    def register(self, route: str, handler: Handler) -> None: ...

    def dead(self, limit: int = 100) -> list[DeadTask]: ...


class Topics(Bus, Protocol):
    """What a bus under test offers beyond the port: subscriptions, and their dead messages."""

    def subscribe(
        self,
        subscription: str,
        topic: str,
        handler: MessageHandler,
        *,
        settings: SubscriptionSettings | None = None,
    ) -> None: ...

    def dead(self, limit: int = 100) -> list[DeadMessage]: ...


@dataclass
class QueueUnderTest:
    """pass_time(ms): let time pass, then deliver all that is due and wait for the handlers.
    begin_time(ms): let time pass and begin to deliver, beside handlers that still run."""

    tasks: Queue
    clock: VirtualClock
    pass_time: Callable[[int], Awaitable[object]]
    begin_time: Callable[[int], Awaitable[object]]


@dataclass
class BusUnderTest:
    """pass_time, begin_time: as of a queue under test."""

    bus: Topics
    clock: VirtualClock
    pass_time: Callable[[int], Awaitable[object]]
    begin_time: Callable[[int], Awaitable[object]]


async def turns(number: int = 10) -> None:
    """Let everything that can go on without waiting do so."""
    for _ in range(number):
        await asyncio.sleep(0)


class Source(Protocol):
    """Something in memory that delivers when it is driven."""

    def take_due(self) -> Sequence[Coroutine[Any, Any, None]]: ...


class Drive:
    """Runs the deliveries of a source in memory beside each other, as a platform does."""

    def __init__(self, source: Source, clock: VirtualClock) -> None:
        self._source = source
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def begin_time(self, ms: int) -> None:
        self._clock.advance(ms)
        self._begin()
        await turns()

    async def pass_time(self, ms: int) -> None:
        await self.begin_time(ms)
        while self._running:
            await asyncio.wait(self._running)

    def _begin(self) -> None:
        for work in self._source.take_due():
            running = asyncio.ensure_future(work)
            self._running.add(running)
            running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        running.result()
        self._begin()


@asynccontextmanager
async def memory_store(folder: Path, clock: VirtualClock) -> AsyncIterator[Store]:
    yield MemoryStore(clock)


@asynccontextmanager
async def local_store(folder: Path, clock: VirtualClock) -> AsyncIterator[Store]:
    database = Database(folder)
    try:
        yield SqliteStore(database, clock)
    finally:
        database.close()


@asynccontextmanager
async def memory_queue(folder: Path, clock: VirtualClock) -> AsyncIterator[QueueUnderTest]:
    tasks = MemoryTasks(clock, default=SETTINGS)
    drive = Drive(tasks, clock)
    yield QueueUnderTest(tasks, clock, drive.pass_time, drive.begin_time)


@asynccontextmanager
async def local_queue(folder: Path, clock: VirtualClock) -> AsyncIterator[QueueUnderTest]:
    async with local_tasks(folder, clock) as (tasks, pass_time, begin_time):
        yield QueueUnderTest(tasks, clock, pass_time, begin_time)


@asynccontextmanager
async def memory_bus(folder: Path, clock: VirtualClock) -> AsyncIterator[BusUnderTest]:
    bus = MemoryBus(clock)
    drive = Drive(bus, clock)
    yield BusUnderTest(bus, clock, drive.pass_time, drive.begin_time)


@asynccontextmanager
async def local_bus(folder: Path, clock: VirtualClock) -> AsyncIterator[BusUnderTest]:
    async with local_tasks(folder, clock) as (tasks, pass_time, begin_time):
        yield BusUnderTest(LocalBus(tasks, clock), clock, pass_time, begin_time)


@asynccontextmanager
async def local_tasks(folder: Path, clock: VirtualClock) -> AsyncIterator[tuple[Any, Any, Any]]:
    database = Database(folder)
    tasks = LocalTasks(database, clock, default=SETTINGS)

    async def begin_time(ms: int) -> None:
        clock.advance(ms)
        tasks.wake()
        await turns()
        # Writes are made in order: after this one, what was to be noted is noted.
        await database.run(lambda cursor: None)
        await turns()

    async def pass_time(ms: int) -> None:
        await begin_time(ms)
        await tasks.settle()

    await tasks.start()
    try:
        yield tasks, pass_time, begin_time
    finally:
        await tasks.stop(drain=False)
        database.close()


@asynccontextmanager
async def cloud_queue(folder: Path, clock: VirtualClock) -> AsyncIterator[QueueUnderTest]:
    async with cloud_tasks(clock, SETTINGS) as (tasks, pass_time, begin_time):
        yield QueueUnderTest(tasks, clock, pass_time, begin_time)


@asynccontextmanager
async def pubsub_bus(folder: Path, clock: VirtualClock) -> AsyncIterator[BusUnderTest]:
    async with pubsub() as (bus, pass_time):
        yield BusUnderTest(bus, clock, pass_time, pass_time)


@contextmanager
def memory_objects(folder: Path) -> Iterator[tuple[Objects, AsyncObjects]]:
    objects = MemoryObjects()
    yield objects, AsyncMemoryObjects(objects)


@contextmanager
def local_objects(folder: Path) -> Iterator[tuple[Objects, AsyncObjects]]:
    objects = LocalObjects(folder / "objects")
    threaded = ThreadedObjects(objects)
    yield objects, threaded
    threaded.close()


StoreFactory = Callable[[Path, VirtualClock], AbstractAsyncContextManager[Store]]
QueueFactory = Callable[[Path, VirtualClock], AbstractAsyncContextManager[QueueUnderTest]]
BusFactory = Callable[[Path, VirtualClock], AbstractAsyncContextManager[BusUnderTest]]
ObjectsFactory = Callable[[Path], AbstractContextManager[tuple[Objects, AsyncObjects]]]

STORES: dict[str, StoreFactory] = {
    "memory": memory_store,
    "local": local_store,
    "firestore": firestore_store,
    "troubled_firestore": troubled_firestore_store,
}
DRIVEN_QUEUES: dict[str, QueueFactory] = {"memory": memory_queue, "local": local_queue}
"""Those whose deadlines follow the clock of the scenario."""
QUEUES: dict[str, QueueFactory] = {**DRIVEN_QUEUES, "cloud_tasks": cloud_queue}
DRIVEN_BUSES: dict[str, BusFactory] = {"memory": memory_bus, "local": local_bus}
"""Those whose deliveries follow the clock of the scenario."""
BUSES: dict[str, BusFactory] = {**DRIVEN_BUSES, "pubsub": pubsub_bus}
OBJECTS: dict[str, ObjectsFactory] = {
    "memory": memory_objects,
    "local": local_objects,
    "cloud_storage": cloud_objects,
}


@dataclass
class Scenarios:
    """Runs a coroutine function on an adapter, in an event loop of its own."""

    open: Callable[[Path, VirtualClock], AbstractAsyncContextManager[object]]
    folder: Path

    def run(self, scenario: Callable[..., Awaitable[None]]) -> None:
        clock = VirtualClock()

        async def main() -> None:
            # A delivery that should not have come would be waited for without an end.
            async with asyncio.timeout(60), self.open(self.folder, clock) as adapter:
                if isinstance(adapter, QueueUnderTest | BusUnderTest):
                    await scenario(adapter)
                else:
                    await scenario(adapter, clock)

        asyncio.run(main())

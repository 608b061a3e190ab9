"""The durable task queue of one process."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import compress

from arco_flow.adapters.delivery import (
    DeadTask,
    Delivery,
    Handler,
    QueueSettings,
    check_task_name,
)
from arco_flow.adapters.lanes import LaneOf
from arco_flow.adapters.local import task_table
from arco_flow.adapters.local.agenda import Agenda
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.task_table import PendingTask
from arco_flow.domain.errors import Rejected, Unavailable, did_you_mean
from arco_flow.ports.clock import Clock
from arco_flow.ports.tasks import NewTask

_log = logging.getLogger(__name__)

DAY_MS = 24 * 3600 * 1000
_NAMES_REMEMBERED = 20_000
# A suspended computer stops the loop's clock but not the wall's: look again after this long.
_LONGEST_SLEEP_SECONDS = 60.0


class LocalTasks:
    """`Tasks` in SQLite, delivered to coroutines of this process.

    At least once: what was not done when the process ended is delivered again by the next one.
    A handler that returns is done; one that raises Rejected has refused the task for good (see
    `dead`); anything else it raises is a retry after a back-off that doubles.

    Names of finished tasks are refused for a while, and remembered in memory only: a name spares
    a delivery and guards nothing, and a row per name was a fifth of the writes of a task.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        queues: Mapping[str, QueueSettings] | None = None,
        default: QueueSettings | None = None,
        window_ms: int = DAY_MS,
    ) -> None:
        """window_ms: how long the name of a finished task is refused."""
        self._db = database
        self._clock = clock
        self._window_ms = window_ms
        self._handlers: dict[str, Handler] = {}
        self._agenda = Agenda(dict(queues or {}), default or QueueSettings())
        self._running: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake_scheduled = False
        self._done: dict[tuple[str, str], int] = {}
        for task in task_table.pending_tasks(database):
            self._agenda.add(task)

    def register(self, route: str, handler: Handler) -> None:
        """Deliver tasks of this route to `handler(body, delivery)`."""
        self._handlers[route] = handler

    def configure(
        self, queue: str, settings: QueueSettings, *, lane_of: LaneOf | None = None
    ) -> None:
        """Set how a queue delivers. lane_of: tasks of one lane are delivered one after the other,
        in the order of their places; settled before `start`."""
        self._agenda.configure(queue, settings, lane_of=lane_of)

    def set_concurrency(self, queue: str, max_concurrent: int) -> None:
        """How many handlers of the queue run at once from now on."""
        settings = replace(self._agenda.settings(queue), max_concurrent=max_concurrent)
        self._agenda.configure(queue, settings)
        self.wake()

    async def enqueue(
        self, queue: str, name: str, route: str, body: bytes, *, at_ms: int = 0
    ) -> bool:
        """See Tasks. It is durable when this returns."""
        return (await self.enqueue_many([NewTask(queue, name, route, body, at_ms)]))[0]

    async def enqueue_many(self, tasks: Sequence[NewTask]) -> list[bool]:
        """See Tasks. All of them are added, or none."""
        now = self._clock.now_ms()
        pending = [PendingTask(t.queue, t.name, t.route, t.body, t.at_ms or now) for t in tasks]
        for task in tasks:
            check_task_name(task.queue, task.name)
        durable = [self._agenda.settings(task.queue).durable for task in tasks]
        # What can fail comes first.
        written = iter(await self._write_down(list(compress(pending, durable)), now))
        return [
            next(written) if kept else self._remember(task, now)
            for task, kept in zip(pending, durable, strict=True)
        ]

    async def _write_down(self, tasks: Sequence[PendingTask], now_ms: int) -> list[bool]:
        """Add tasks of durable queues; whether each is new."""
        if not tasks:
            return []

        def write(cursor: sqlite3.Cursor) -> list[bool]:
            return [
                not self._was_done(task, now_ms) and task_table.add_task(cursor, task)
                for task in tasks
            ]

        def schedule(added: list[bool]) -> None:
            for task in compress(tasks, added):
                self._agenda.add(task)
            self.wake()

        return await self._db.run(write, after=schedule)

    def _remember(self, task: PendingTask, now_ms: int) -> bool:
        """Add a task of a queue that is not durable; whether it is new."""
        if self._was_done(task, now_ms) or self._agenda.get(*task.key) is not None:
            return False
        self._agenda.add(task)
        self.wake()
        return True

    def _was_done(self, task: PendingTask, now_ms: int) -> bool:
        return self._done.get(task.key, -self._window_ms) > now_ms - self._window_ms

    def _forget(self, task: PendingTask) -> None:
        """The task is done; its name is refused for a while."""
        now_ms = self._clock.now_ms()
        self._agenda.remove(task)
        self._done.pop(task.key, None)
        self._done[task.key] = now_ms
        # In order of time, so that what is too old is in front.
        while len(self._done) > _NAMES_REMEMBERED or (
            self._done[next(iter(self._done))] <= now_ms - self._window_ms
        ):
            del self._done[next(iter(self._done))]

    async def delete(self, queue: str, name: str) -> bool:
        """See Tasks. False too while its handler runs."""
        task = self._agenda.get(queue, name)
        if task is None:
            return False
        if not self._agenda.settings(queue).durable:
            if not task.is_running:
                self._forget(task)
            return not task.is_running

        def remove(cursor: sqlite3.Cursor) -> bool:
            # Asked here, not before: between this and the commit nothing else runs.
            return not task.is_running and task_table.finish_task(cursor, task)

        def forget(removed: bool) -> None:
            if removed:
                self._forget(task)

        return await self._db.run(remove, after=forget)

    def dead(self, limit: int = 100, *, queues: Collection[str] = ()) -> list[DeadTask]:
        """Tasks of these queues (none given: of all) that were refused for good, newest first."""
        return task_table.dead_tasks(self._db, limit, queues)

    def pending(self) -> int:
        """How many tasks are not done."""
        return len(self._agenda)

    async def start(self) -> None:
        """Deliver on the running event loop until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._wake_scheduled = False
        self.wake()

    async def stop(self, *, drain: bool = True) -> None:
        """Deliver no more. drain: let running handlers end; else cancel them, to be delivered
        again by the next start."""
        self._loop = None
        self._cancel_timer()
        running = list(self._running)
        if not drain:
            for task in running:
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until no handler runs and nothing more is due now."""
        while self._wake_scheduled or self._running:
            if self._running:
                await asyncio.wait(self._running)
            await asyncio.sleep(0)

    def wake(self) -> None:
        """Look at the agenda soon: a task was added, or the clock was set."""
        if self._loop is not None and not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon(self._deliver_due)

    def _deliver_due(self) -> None:
        self._wake_scheduled = False
        loop = self._loop
        if loop is None:
            return
        self._cancel_timer()
        now = self._clock.now_ms()
        works = [self._give_up(task) for task in self._agenda.take_expired(now)]
        works += [self._deliver(task) for task in self._agenda.take_due(now)]
        for work in works:
            running = loop.create_task(work)
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        next_ms = self._agenda.next_ms()
        if next_ms is not None:
            wait = min((next_ms - now) / 1000, _LONGEST_SLEEP_SECONDS)
            self._timer = loop.call_later(wait, self._deliver_due)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _deliver(self, task: PendingTask) -> None:
        run = task.run
        try:
            await self._handle(task)
            if task.run == run:
                await self._finish(task)
        except asyncio.CancelledError as error:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            # Not ours: something that the handler awaited was cancelled.
            await self._failed(task, run, error)
        except Exception as error:
            await self._failed(task, run, error)
        finally:
            # Cancelled, or its end could not be written: it is not done, so it waits again.
            if task.is_running and task.run == run:
                self._agenda.add(task)
            self.wake()

    async def _failed(self, task: PendingTask, run: int, error: BaseException) -> None:
        if task.run != run:
            return  # late: the deadline has decided
        if isinstance(error, Rejected):
            await self._bury(task, error)
        else:
            await self._retry(task, error)

    async def _give_up(self, task: PendingTask) -> None:
        """The delivery is over its deadline: it failed, though its handler may go on."""
        limit_ms = self._agenda.settings(task.queue).dispatch_deadline_ms
        try:
            await self._retry(task, Unavailable(f"no answer within {limit_ms} ms"))
        finally:
            if self._agenda.get(*task.key) is task:
                self._agenda.add(task)
            self.wake()

    async def _handle(self, task: PendingTask) -> None:
        handler = self._handlers.get(task.route)
        if handler is None:
            raise Unavailable(
                f"no handler for route '{task.route}'{did_you_mean(task.route, self._handlers)}",
                fix="register it before start()",
            )
        await handler(task.body, Delivery(task.queue, task.name, task.attempt, task.at_ms))

    async def _finish(self, task: PendingTask) -> None:
        if not self._agenda.settings(task.queue).durable:
            self._forget(task)
            return
        await self._db.run(
            lambda cursor: task_table.finish_task(cursor, task),
            after=lambda _: self._forget(task),
        )

    async def _bury(self, task: PendingTask, error: Rejected) -> None:
        _log.error("task %s of queue %s is refused for good: %s", task.name, task.queue, error)
        now, reason = self._clock.now_ms(), f"{error.reason}: {error.message}"
        try:
            await self._db.run(
                lambda cursor: task_table.bury_task(cursor, task, now, reason),
                after=lambda _: self._forget(task),
            )
        except Unavailable as unwritten:
            await self._retry(task, unwritten)

    async def _retry(self, task: PendingTask, error: BaseException) -> None:
        wait = self._agenda.settings(task.queue).backoff_ms(task.attempt)
        _log.warning(
            "attempt %d of task %s in queue %s failed, next in %d ms",
            task.attempt, task.name, task.queue, wait, exc_info=error,
        )  # fmt: skip
        at_ms = self._clock.now_ms() + wait
        if self._agenda.settings(task.queue).durable:
            await self._write_postponed(task, at_ms)
        task.at_ms, task.attempt = at_ms, task.attempt + 1

    async def _write_postponed(self, task: PendingTask, at_ms: int) -> None:
        try:
            await self._db.run(lambda cursor: task_table.postpone_task(cursor, task, at_ms))
        except Unavailable as unwritten:
            _log.warning("the retry of task %s is kept in memory only: %s", task.name, unwritten)

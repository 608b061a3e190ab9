"""All queues and tasks, and their records in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google.cloud import tasks_v2

from arco_emulators.clock import Clock
from arco_emulators.faults import Chaos
from arco_emulators.journal import Journal
from arco_emulators.names import parent_of
from arco_emulators.protos import seconds_of
from arco_emulators.tasks.entry import Entry
from arco_emulators.tasks.graves import Graves
from arco_emulators.tasks.queue import Queue
from arco_emulators.tasks.settings import Limits

QUEUE = "queue"
QUEUE_GRAVE = "deleted queue"
TASK = "task"
TASK_GRAVE = "ended task"

Start = Callable[[Queue, Entry], None]


class Book:
    """What the emulator holds. Every change goes through here, so that the journal has it."""

    def __init__(self, clock: Clock, chaos: Chaos, limits: Limits, journal: Journal) -> None:
        self.clock = clock
        self.chaos = chaos
        self.limits = limits
        self.queues: dict[str, Queue] = {}
        self.queue_graves = Graves(limits.queue_tombstone_seconds)
        self.changed = asyncio.Event()
        """Set when something ended or a queue was changed, for those who wait for quiet."""
        self._journal = journal
        self._start: Start = _nothing

    def open(self, start: Start) -> None:
        """Take up what the journal holds; `start` begins attempts from now on."""
        self._start = start
        for record in self._journal.records(QUEUE):
            self._serve(tasks_v2.Queue.pb().FromString(record.message), visible_from=0.0)
        for record in self._journal.records(QUEUE_GRAVE):
            self.queue_graves.add(record.name, record.extra["ended"])
        graves = sorted(self._journal.records(TASK_GRAVE), key=lambda grave: grave.extra["ended"])
        for record in graves:
            if queue := self.queues.get(parent_of(record.name, "tasks")):
                queue.graves.add(record.name, record.extra["ended"])
        for record in self._journal.records(TASK):
            if queue := self.queues.get(parent_of(record.name, "tasks")):
                entry = Entry(tasks_v2.Task.pb().FromString(record.message), **record.extra)
                queue.tasks[record.name] = entry
                self.schedule(queue, entry)

    def add_queue(self, message: Any) -> Queue:
        """Serve a new queue."""
        settle = self.chaos.seconds(self.chaos.faults.settle_ms)
        queue = self._serve(message, visible_from=self.clock.now() + settle)
        self.save_queue(queue)
        return queue

    def save_queue(self, queue: Queue) -> None:
        """Keep what was changed in the queue's message."""
        self._journal.put(queue.name, QUEUE, queue.message.SerializeToString())
        self.changed.set()

    def remove_queue(self, queue: Queue) -> None:
        """Delete the queue, its tasks and what is known of their names."""
        now = self.clock.now()
        queue.pump.close()
        del self.queues[queue.name]
        self._journal.drop([*queue.tasks, *queue.graves, *self.queue_graves.expire(now)])
        self.queue_graves.add(queue.name, now)
        self._journal.put(queue.name, QUEUE_GRAVE, extra={"ended": now})
        queue.tasks.clear()
        self.changed.set()

    def put_task(self, queue: Queue, entry: Entry) -> None:
        """Keep the task as it is now, and hand it out at its schedule time."""
        name = entry.task.name
        queue.tasks[name] = entry
        self._journal.put(name, TASK, entry.task.SerializeToString(), entry.extra())
        self.schedule(queue, entry)

    def end_task(self, queue: Queue, entry: Entry) -> None:
        """The task is done or deleted; its name stays known for a while."""
        now, name = self.clock.now(), entry.task.name
        entry.ticket += 1
        del queue.tasks[name]
        if expired := queue.graves.expire(now):
            self._journal.drop(expired)
        queue.graves.add(name, now)
        # One record per name: the task's record becomes that of its ending in one step.
        self._journal.put(name, TASK_GRAVE, extra={"ended": now})
        self.changed.set()

    def schedule(self, queue: Queue, entry: Entry, *, later_seconds: float = 0.0) -> None:
        """Put the task in line for its schedule time, as far as no fault moves it."""
        chaos, faults = self.chaos, self.chaos.faults
        due = seconds_of(entry.task.schedule_time) + later_seconds
        if chaos.strikes(faults.early):
            due -= chaos.seconds(faults.early_ms)
        queue.pump.push(entry, due + chaos.seconds(faults.delay_ms))

    def reset(self) -> None:
        """Forget everything."""
        for queue in self.queues.values():
            queue.pump.close()
        self.queues.clear()
        self.queue_graves = Graves(self.limits.queue_tombstone_seconds)
        self._journal.clear()
        self.changed.set()

    def close(self) -> None:
        """Hand nothing out any more, and let go of the journal."""
        for queue in self.queues.values():
            queue.pump.close()
        self._journal.close()

    def _serve(self, message: Any, *, visible_from: float) -> Queue:
        queue = Queue(
            message,
            clock=self.clock,
            tombstone_seconds=self.limits.tombstone_seconds,
            start=self._start,
            visible_from=visible_from,
        )
        self.queues[queue.name] = queue
        return queue


def _nothing(_: Queue, __: Entry) -> None:
    """Before the emulator runs, nothing is handed out."""

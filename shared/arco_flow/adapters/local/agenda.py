"""What is to be delivered when: the queue's tables in memory, in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from arco_flow.adapters.delivery import QueueSettings
from arco_flow.adapters.lanes import LaneOf, Lanes
from arco_flow.adapters.local.task_table import PendingTask


class _Queue:
    """One queue: its waiting tasks by time, and how many of its handlers run."""

    __slots__ = ("heap", "lanes", "running", "settings")

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.heap: list[tuple[int, int, PendingTask]] = []
        self.running = 0
        self.lanes: Lanes | None = None


class Agenda:
    """Pending tasks of all queues. A task is waiting or running; add it once, then move it."""

    def __init__(self, settings: dict[str, QueueSettings], default: QueueSettings) -> None:
        self._settings = settings
        self._default = default
        self._queues: dict[str, _Queue] = {}
        self._tasks: dict[tuple[str, str], PendingTask] = {}
        self._deadlines: list[tuple[int, int, PendingTask, int]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, queue: str, name: str) -> PendingTask | None:
        """The pending task of this name, waiting or running."""
        return self._tasks.get((queue, name))

    def settings(self, queue: str) -> QueueSettings:
        """The settings of a queue."""
        return self._queue(queue).settings

    def configure(
        self, queue: str, settings: QueueSettings, *, lane_of: LaneOf | None = None
    ) -> None:
        """Replace the settings of a queue; handlers that run are let be."""
        self._queue(queue).settings = settings
        if lane_of is not None:
            lanes = self._queue(queue).lanes = Lanes(lane_of)
            for task in self._tasks.values():
                if task.queue == queue:
                    lanes.add(task.name, task.body)

    def add(self, task: PendingTask) -> None:
        """A new or an interrupted or a postponed task, waiting for its at_ms."""
        self._tasks[task.key] = task
        queue = self._queue(task.queue)
        if task.is_running:
            task.is_running = False
            queue.running -= 1
        elif queue.lanes is not None:
            queue.lanes.add(task.name, task.body)
        self._push(queue, task)

    def remove(self, task: PendingTask) -> None:
        """The task is done, dead or deleted."""
        self._tasks.pop(task.key, None)
        if task.is_running:
            task.is_running = False
            self._queue(task.queue).running -= 1
        lanes = self._queue(task.queue).lanes
        following = lanes.remove(task.name) if lanes is not None else None
        if following is not None:
            self._push(self._queue(task.queue), self._tasks[task.queue, following])

    def take_due(self, now_ms: int) -> Iterator[PendingTask]:
        """Tasks that are due and that their queues have room for; they run from here on."""
        for queue in list(self._queues.values()):
            while queue.running < queue.settings.max_concurrent:
                self._drop_removed(queue)
                if not queue.heap or queue.heap[0][0] > now_ms:
                    break
                task = heapq.heappop(queue.heap)[2]
                if queue.lanes is not None and not queue.lanes.may_go(task.name):
                    continue  # it comes back when the one before it is over
                task.is_running = True
                task.run += 1
                queue.running += 1
                self._limit(task, now_ms + queue.settings.dispatch_deadline_ms, now_ms)
                yield task

    def take_expired(self, now_ms: int) -> list[PendingTask]:
        """Tasks whose delivery is over its deadline: what it answers from here on is late. They
        count as running until they are added again."""
        expired = []
        while (next_ms := self._next_deadline()) is not None and next_ms <= now_ms:
            task = heapq.heappop(self._deadlines)[2]
            task.run += 1
            expired.append(task)
        return expired

    def next_ms(self) -> int | None:
        """When the next task of a queue that has room, or a deadline is due; None without any."""
        deadline_ms = self._next_deadline()
        times = [] if deadline_ms is None else [deadline_ms]
        for queue in self._queues.values():
            self._drop_removed(queue)
            if queue.heap and queue.running < queue.settings.max_concurrent:
                times.append(queue.heap[0][0])
        return min(times, default=None)

    def _push(self, queue: _Queue, task: PendingTask) -> None:
        self._sequence += 1
        heapq.heappush(queue.heap, (task.at_ms, self._sequence, task))

    def _limit(self, task: PendingTask, deadline_ms: int, now_ms: int) -> None:
        if deadline_ms > now_ms:
            self._sequence += 1
            heapq.heappush(self._deadlines, (deadline_ms, self._sequence, task, task.run))

    def _next_deadline(self) -> int | None:
        # Most deliveries are over long before: what is left of those is dropped as it comes up.
        deadlines = self._deadlines
        while deadlines and not (
            deadlines[0][2].is_running and deadlines[0][2].run == deadlines[0][3]
        ):
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def _drop_removed(self, queue: _Queue) -> None:
        # A deleted task stays in the heap until it comes up: searching for it would cost more.
        while queue.heap and self._tasks.get(queue.heap[0][2].key) is not queue.heap[0][2]:
            heapq.heappop(queue.heap)

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = _Queue(self._settings.get(name, self._default))
            self._queues[name] = queue
        return queue

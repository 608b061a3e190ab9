"""What is to be delivered when: the queue's tables in memory, in the order of time."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator

from arco_flow.adapters.delivery import QueueSettings
from arco_flow.adapters.lanes import LaneOf, Lanes
from arco_flow.adapters.local.task_table import PendingTask


class _Queue:
    """One queue: its waiting tasks by time, how many of its handlers run, and when those that
    have a deadline are over it, the first of them in front."""

    __slots__ = ("deadlines", "heap", "lanes", "running", "settings")

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.heap: list[tuple[int, int, PendingTask]] = []
        self.running = 0
        self.deadlines: OrderedDict[PendingTask, int] = OrderedDict()
        self.lanes: Lanes | None = None

    def start(self, task: PendingTask, now_ms: int) -> None:
        """A handler of it runs from here on."""
        task.is_running = True
        task.run += 1
        self.running += 1
        if self.settings.dispatch_deadline_ms:
            self.deadlines[task] = now_ms + self.settings.dispatch_deadline_ms

    def stop(self, task: PendingTask) -> None:
        """It does not count as running any more."""
        task.is_running = False
        self.running -= 1
        self.deadlines.pop(task, None)

    def next_deadline(self) -> int | None:
        """When the first handler is over its deadline; None without one."""
        return next(iter(self.deadlines.values())) if self.deadlines else None


class Agenda:
    """Pending tasks of all queues. A task is waiting or running; add it once, then move it."""

    def __init__(self, settings: dict[str, QueueSettings], default: QueueSettings) -> None:
        self._settings = settings
        self._default = default
        self._queues: dict[str, _Queue] = {}
        self._tasks: dict[tuple[str, str], PendingTask] = {}
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
            queue.stop(task)
        elif queue.lanes is not None:
            queue.lanes.add(task.name, task.body)
        self._push(queue, task)

    def remove(self, task: PendingTask) -> None:
        """The task is done, dead or deleted."""
        self._tasks.pop(task.key, None)
        queue = self._queue(task.queue)
        if task.is_running:
            queue.stop(task)
        following = queue.lanes.remove(task.name) if queue.lanes is not None else None
        if following is not None:
            self._push(queue, self._tasks[task.queue, following])

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
                queue.start(task, now_ms)
                yield task

    def take_expired(self, now_ms: int) -> list[PendingTask]:
        """Tasks whose delivery is over its deadline: what it answers from here on is late. They
        count as running until they are added again."""
        expired = []
        for queue in self._queues.values():
            while (next_ms := queue.next_deadline()) is not None and next_ms <= now_ms:
                task = queue.deadlines.popitem(last=False)[0]
                task.run += 1
                expired.append(task)
        return expired

    def next_ms(self) -> int | None:
        """When the next task of a queue that has room, or a deadline is due; None without any."""
        times = []
        for queue in self._queues.values():
            deadline_ms = queue.next_deadline()
            if deadline_ms is not None:
                times.append(deadline_ms)
            self._drop_removed(queue)
            if queue.heap and queue.running < queue.settings.max_concurrent:
                times.append(queue.heap[0][0])
        return min(times, default=None)

    def _push(self, queue: _Queue, task: PendingTask) -> None:
        self._sequence += 1
        heapq.heappush(queue.heap, (task.at_ms, self._sequence, task))

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

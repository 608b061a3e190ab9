"""The task queue under a virtual clock."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from arco_flow.adapters.delivery import (
    DeadTask,
    Delivery,
    Handler,
    QueueSettings,
    check_task_name,
)
from arco_flow.adapters.lanes import LaneOf, Lanes
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import Faults, async_site
from arco_flow.domain.errors import Rejected, Unavailable, did_you_mean
from arco_flow.ports.tasks import NewTask

HOUR_MS = 3600 * 1000

Timing = Callable[[str, str, int], Sequence[int]]


@dataclass(slots=True, eq=False)
class _Queue:
    """One queue: how many of its handlers run, and the deliveries that are over the limit."""

    name: str
    settings: QueueSettings
    running: int = 0
    waiting: list[tuple[int, int, _Task]] = field(default_factory=list)
    lanes: Lanes | None = None


@dataclass(slots=True, eq=False)
class _Task:
    """is_void: deleted, so that what the heap still holds of it comes to nothing."""

    queue: _Queue
    name: str
    route: str
    body: bytes
    at_ms: int
    key: tuple[str, str]
    attempt: int = 1
    running: int = 0
    is_void: bool = False


@dataclass(slots=True, eq=False)
class _Run:
    """A delivery on its way. is_over: its outcome is known, or its deadline has passed."""

    task: _Task
    due_ms: int
    deadline_ms: int
    is_over: bool = False


def punctual(_queue: str, _name: str, at_ms: int) -> tuple[int]:
    """The timing of a queue that delivers once, on time."""
    return (at_ms,)


class MemoryTasks:
    """`Tasks` that delivers when it is driven, to coroutines.

    Nothing runs in the background: `run_due` and `run_until_idle` await the handlers one after
    the other, and who takes the deliveries of `take_due` decides how they run. What a handler
    raises means what it means to the durable queue: Rejected is the end of the task, anything
    else a retry; SimulatedCrash leaves the task where it was and ends the drive. Deadlines are
    seen when the queue is driven.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        faults: Faults | None = None,
        queues: Mapping[str, QueueSettings] | None = None,
        default: QueueSettings | None = None,
        window_ms: int = HOUR_MS,
        timing: Timing = punctual,
    ) -> None:
        """window_ms: how long the name of a finished task is refused.

        timing: (queue, name, at_ms) -> when to deliver. More than one time is a duplicate; times
        before at_ms are early, after it late. Asked once per task, not for its retries.
        """
        self.faults = faults or Faults()
        self.timing = timing
        self._clock = clock
        self._settings = dict(queues or {})
        self._default = default or QueueSettings()
        self._window_ms = window_ms
        self._handlers: dict[str, Handler] = {}
        self._queues: dict[str, _Queue] = {}
        self._heap: list[tuple[int, int, _Task]] = []
        # Deliveries on their way, per length of their deadline: the first is the next to expire.
        self._limited: dict[int, OrderedDict[_Run, None]] = {}
        self._sequence = 0
        self._pending: dict[tuple[str, str], _Task] = {}
        self._done_ms: dict[tuple[str, str], int] = {}
        self._done: deque[tuple[int, tuple[str, str]]] = deque()
        self._dead: list[DeadTask] = []

    def register(self, route: str, handler: Handler) -> None:
        """Deliver tasks of this route to `handler(body, delivery)`."""
        self._handlers[route] = handler

    def configure(
        self, queue: str, settings: QueueSettings, *, lane_of: LaneOf | None = None
    ) -> None:
        """Set how a queue delivers, before anything is in it. lane_of: tasks of one lane are
        delivered one after the other, in the order of their places."""
        lanes = Lanes(lane_of) if lane_of is not None else None
        self._queues[queue] = _Queue(queue, settings, lanes=lanes)

    @async_site("tasks.enqueue")
    async def enqueue(
        self, queue: str, name: str, route: str, body: bytes, *, at_ms: int = 0
    ) -> bool:
        """See Tasks."""
        check_task_name(queue, name)
        return self._add(NewTask(queue, name, route, body, at_ms))

    @async_site("tasks.enqueue_many")
    async def enqueue_many(self, tasks: Sequence[NewTask]) -> list[bool]:
        """See Tasks."""
        for task in tasks:
            check_task_name(task.queue, task.name)
        return [self._add(task) for task in tasks]

    @async_site("tasks.delete")
    async def delete(self, queue: str, name: str) -> bool:
        """See Tasks. False too while its handler runs."""
        task = self._pending.get((queue, name))
        if task is None or task.running:
            return False
        task.is_void = True
        self._finish(task)
        return True

    def dead(self, limit: int = 100, *, queues: Collection[str] = ()) -> list[DeadTask]:
        """Tasks of these queues (none given: of all) that were refused for good, newest first."""
        found = (task for task in reversed(self._dead) if not queues or task.queue in queues)
        return list(islice(found, limit))

    def pending(self) -> int:
        """How many tasks are not done."""
        return len(self._pending)

    def next_ms(self) -> int | None:
        """When the next delivery or deadline is due; None without any. What waits for a running
        handler of its queue is due when that one ends."""
        heap = self._heap
        while heap and heap[0][2].is_void:
            self._refill(heapq.heappop(heap)[2].queue)
        next_ms = heap[0][0] if heap else None
        for runs in self._limited.values():
            if runs:
                deadline_ms = next(iter(runs)).deadline_ms
                next_ms = deadline_ms if next_ms is None else min(next_ms, deadline_ms)
        return next_ms

    def take_due(self) -> list[Coroutine[Any, Any, None]]:
        """Take every delivery that is due and that its queue has room for.

        Each is a coroutine to be run by the caller, in any order and beside each other: it hands
        the task to its handler and notes the outcome. It raises only what ends a process.
        """
        works = []
        while (work := self._take()) is not None:
            works.append(work)
        return works

    async def run_due(self) -> int:
        """Deliver all that is due now, also what that brings up; the number of deliveries."""
        deliveries = 0
        while (work := self._take()) is not None:
            await work
            deliveries += 1
        return deliveries

    async def run_until_idle(self, *, until_ms: int | None = None) -> int:
        """Advance the clock from task to task until none is left, or none up to `until_ms`.

        A task that fails for ever never becomes idle: give `until_ms` where that can be.
        """
        deliveries = await self.run_due()
        while (next_ms := self.next_ms()) is not None and (until_ms is None or next_ms <= until_ms):
            self._clock.advance(max(next_ms - self._clock.now_ms(), 0))
            deliveries += await self.run_due()
        return deliveries

    def _add(self, new: NewTask) -> bool:
        now = self._clock.now_ms()
        key = (new.queue, new.name)
        done_ms = self._done_ms.get(key)
        is_recent = done_ms is not None and done_ms >= now - self._window_ms
        if is_recent or key in self._pending:
            return False
        task = _Task(self._queue(new.queue), new.name, new.route, new.body, new.at_ms or now, key)
        self._pending[key] = task
        if task.queue.lanes is not None:
            task.queue.lanes.add(task.name, task.body)
        for time_ms in self.timing(new.queue, new.name, task.at_ms):
            self._push(time_ms, task)
        return True

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(name, self._settings.get(name, self._default))
        return queue

    def _push(self, at_ms: int, task: _Task) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at_ms, self._sequence, task))

    def _take(self) -> Coroutine[Any, Any, None] | None:
        """The next delivery that can start now."""
        now, heap = self._clock.now_ms(), self._heap
        self._expire(now)
        while heap and heap[0][0] <= now:
            entry = heapq.heappop(heap)
            task, queue = entry[2], entry[2].queue
            if task.is_void:
                self._refill(queue)
            elif queue.lanes is not None and not queue.lanes.may_go(task.name):
                continue  # it comes back when the one before it is over
            elif queue.running >= queue.settings.max_concurrent:
                heapq.heappush(queue.waiting, entry)
            else:
                return self._deliver(self._open(task, entry[0], now))
        return None

    def _expire(self, now_ms: int) -> None:
        """What is over its deadline has failed, though its handler may go on."""
        for runs in self._limited.values():
            while runs and (run := next(iter(runs))).deadline_ms <= now_ms:
                self._close(run)
                self._retry(run.task)

    def _open(self, task: _Task, due_ms: int, now_ms: int) -> _Run:
        limit_ms = task.queue.settings.dispatch_deadline_ms
        run = _Run(task, due_ms, now_ms + limit_ms if limit_ms else 0)
        task.running += 1
        task.queue.running += 1
        if limit_ms:
            runs = self._limited.get(limit_ms)
            if runs is None:
                runs = self._limited[limit_ms] = OrderedDict()
            runs[run] = None
        return run

    def _close(self, run: _Run) -> bool:
        """The delivery is over for the queue; False when it was already."""
        if run.is_over:
            return False
        run.is_over = True
        queue = run.task.queue
        if run.deadline_ms:
            del self._limited[queue.settings.dispatch_deadline_ms][run]
        run.task.running -= 1
        queue.running -= 1
        self._refill(queue)
        return True

    def _refill(self, queue: _Queue) -> None:
        """Bring back one delivery of the queue that waited for room, when there is some."""
        if queue.waiting and queue.running < queue.settings.max_concurrent:
            heapq.heappush(self._heap, heapq.heappop(queue.waiting))

    async def _deliver(self, run: _Run) -> None:
        task = run.task
        try:
            await self._handle(task)
        except Rejected as error:
            if self._close(run):
                self._bury(task, error)
        except Exception:
            if self._close(run):
                self._retry(task)
        except BaseException:
            if self._close(run) and self._is_pending(task):
                self._push(run.due_ms, task)
            raise
        else:
            if self._close(run):
                self._finish(task)

    async def _handle(self, task: _Task) -> None:
        handler = self._handlers.get(task.route)
        if handler is None:
            raise Unavailable(
                f"no handler for route '{task.route}'{did_you_mean(task.route, self._handlers)}",
                fix="register it before the drive",
            )
        await handler(task.body, Delivery(task.queue.name, task.name, task.attempt, task.at_ms))

    def _is_pending(self, task: _Task) -> bool:
        return self._pending.get(task.key) is task

    def _finish(self, task: _Task) -> None:
        now = self._clock.now_ms()
        if self._is_pending(task):
            del self._pending[task.key]
            self._free_lane(task)
        self._done_ms[task.key] = now
        self._done.append((now, task.key))
        while self._done[0][0] < now - self._window_ms:
            done_ms, key = self._done.popleft()
            if self._done_ms.get(key) == done_ms:
                del self._done_ms[key]

    def _free_lane(self, task: _Task) -> None:
        lanes = task.queue.lanes
        following = lanes.remove(task.name) if lanes is not None else None
        if following is not None:
            waiting = self._pending[task.queue.name, following]
            self._push(waiting.at_ms, waiting)

    def _bury(self, task: _Task, error: Rejected) -> None:
        self._finish(task)
        reason, now = f"{error.reason}: {error.message}", self._clock.now_ms()
        self._dead.append(
            DeadTask(task.queue.name, task.name, task.route, task.body, task.attempt, reason, now)
        )

    def _retry(self, task: _Task) -> None:
        if not self._is_pending(task):
            return  # another delivery of it was the end of the task
        task.at_ms = self._clock.now_ms() + task.queue.settings.backoff_ms(task.attempt)
        task.attempt += 1
        self._push(task.at_ms, task)

"""The task queue under a virtual clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from arco_flow.adapters.delivery import (
    DeadTask,
    Delivery,
    Handler,
    QueueSettings,
    check_task_name,
)
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import Faults, async_site
from arco_flow.domain.errors import Rejected, Unavailable, did_you_mean
from arco_flow.ports.tasks import NewTask

HOUR_MS = 3600 * 1000

Timing = Callable[[str, str, int], Sequence[int]]


@dataclass(slots=True, eq=False)
class _Task:
    queue: str
    name: str
    route: str
    body: bytes
    at_ms: int
    attempt: int = 1
    is_running: bool = False


def punctual(_queue: str, _name: str, at_ms: int) -> tuple[int]:
    """The timing of a queue that delivers once, on time."""
    return (at_ms,)


class MemoryTasks:
    """`Tasks` that delivers when it is driven, to coroutines, one after the other.

    Nothing runs in the background: `run_due` and `run_until_idle` await the handlers. What a
    handler raises means what it means to the durable queue: Rejected is the end of the task,
    anything else a retry; SimulatedCrash leaves the task where it was and ends the drive.
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
        self._queues = dict(queues or {})
        self._default = default or QueueSettings()
        self._window_ms = window_ms
        self._handlers: dict[str, Handler] = {}
        self._heap: list[tuple[int, int, _Task]] = []
        self._sequence = 0
        self._pending: dict[tuple[str, str], _Task] = {}
        self._done_ms: dict[tuple[str, str], int] = {}
        self._dead: list[DeadTask] = []

    def register(self, route: str, handler: Handler) -> None:
        """Deliver tasks of this route to `handler(body, delivery)`."""
        self._handlers[route] = handler

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
        if task is None or task.is_running:
            return False
        self._heap = [entry for entry in self._heap if entry[2] is not task]
        heapq.heapify(self._heap)
        self._finish(task)
        return True

    def dead(self, limit: int = 100) -> list[DeadTask]:
        """Tasks that were refused for good, newest first."""
        return self._dead[::-1][:limit]

    def pending(self) -> int:
        """How many tasks are not done."""
        return len(self._pending)

    def next_ms(self) -> int | None:
        """When the next delivery is due; None without any."""
        return self._heap[0][0] if self._heap else None

    async def run_due(self) -> int:
        """Deliver all that is due now, also what that brings up; the number of deliveries."""
        deliveries = 0
        while self._heap and self._heap[0][0] <= self._clock.now_ms():
            await self._deliver_next()
            deliveries += 1
        return deliveries

    async def run_until_idle(self, *, until_ms: int | None = None) -> int:
        """Advance the clock from task to task until none is left, or none up to `until_ms`.

        A task that fails for ever never becomes idle: give `until_ms` where that can be.
        """
        deliveries = await self.run_due()
        while self._heap and (until_ms is None or self._heap[0][0] <= until_ms):
            self._clock.advance(self._heap[0][0] - self._clock.now_ms())
            deliveries += await self.run_due()
        return deliveries

    def _add(self, new: NewTask) -> bool:
        now = self._clock.now_ms()
        key = (new.queue, new.name)
        done_ms = self._done_ms.get(key)
        is_recent = done_ms is not None and done_ms >= now - self._window_ms
        if is_recent or key in self._pending:
            return False
        task = _Task(new.queue, new.name, new.route, new.body, new.at_ms or now)
        self._pending[key] = task
        for time_ms in self.timing(new.queue, new.name, task.at_ms):
            self._push(time_ms, task)
        return True

    async def _deliver_next(self) -> None:
        entry = heapq.heappop(self._heap)
        task = entry[2]
        task.is_running = True
        try:
            await self._handle(task)
        except Rejected as error:
            self._bury(task, error)
        except Exception:
            self._retry(task)
        except BaseException:
            heapq.heappush(self._heap, entry)
            raise
        else:
            self._finish(task)
        finally:
            task.is_running = False

    async def _handle(self, task: _Task) -> None:
        handler = self._handlers.get(task.route)
        if handler is None:
            raise Unavailable(
                f"no handler for route '{task.route}'{did_you_mean(task.route, self._handlers)}",
                fix="register it before the drive",
            )
        await handler(task.body, Delivery(task.queue, task.name, task.attempt, task.at_ms))

    def _finish(self, task: _Task) -> None:
        self._pending.pop((task.queue, task.name), None)
        self._done_ms[task.queue, task.name] = self._clock.now_ms()

    def _bury(self, task: _Task, error: Rejected) -> None:
        self._finish(task)
        reason, now = f"{error.reason}: {error.message}", self._clock.now_ms()
        self._dead.append(
            DeadTask(task.queue, task.name, task.route, task.body, task.attempt, reason, now)
        )

    def _retry(self, task: _Task) -> None:
        settings = self._queues.get(task.queue, self._default)
        task.at_ms = self._clock.now_ms() + settings.backoff_ms(task.attempt)
        task.attempt += 1
        self._push(task.at_ms, task)

    def _push(self, at_ms: int, task: _Task) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at_ms, self._sequence, task))

"""The kernel: one thread, a virtual clock, and chance decides who goes on next.

Everything that happens is a coroutine, called a job here. A job that awaits hands the kernel what
it waits for: nothing (another job's turn), a number of milliseconds, or the end of another job.
Production code awaits only ports, and those of the memory adapters await only the kernel, so that
it runs here unmodified, and one seed is one history to the last step.
"""

from __future__ import annotations

import heapq
import random
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import SimulatedCrash
from arco_flow.domain.errors import ArcoError, OutcomeUnknown
from arco_flow.simulation.trace import Trace

T = TypeVar("T")
Work = Coroutine[Any, Any, T]


class Source(Protocol):
    """Something that delivers by itself: a queue, a bus."""

    def next_ms(self) -> int | None:
        """When the next delivery is due; None without any."""
        ...

    def take_due(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What is due now, each a job to run."""
        ...


class Host:
    """One process of the world: its jobs end with it, and stand still while it is frozen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen_until_ms = 0
        self.jobs: dict[Job[Any], None] = {}


class Job(Generic[T]):
    """A coroutine on its way. error: what it ended with, when not with a value."""

    __slots__ = ("error", "host", "is_done", "name", "number", "value", "waiters", "work")

    def __init__(self, number: int, name: str, host: Host, work: Work[T]) -> None:
        self.number = number
        self.name = name
        self.host = host
        self.work = work
        self.is_done = False
        self.value: T | None = None
        self.error: BaseException | None = None
        self.waiters: list[Job[Any]] = []

    def result(self) -> T:
        """What the job returned. Raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let others go on first, perhaps."""
    yield None


@types.coroutine
def nap(ms: int) -> Generator[int, None, None]:
    """Go on after a span of virtual time."""
    yield ms


@types.coroutine
def ended(job: Job[T]) -> Generator[Job[T], None, T]:
    """Go on when another job is over, with its result."""
    if not job.is_done:
        yield job
    return job.result()


class Kernel:
    """Runs jobs until a virtual time.

    on_crash: told of a host that died by a fault; it is expected to bring up another one.
    platform: the host of deliveries and of the simulation itself; it never dies.
    """

    def __init__(self, clock: VirtualClock, chance: random.Random, trace: Trace) -> None:
        self.clock = clock
        self.trace = trace
        self.platform = Host("platform")
        self.current: Job[Any] | None = None
        self.sources: list[Source] = []
        self.on_crash: Callable[[Host], None] = lambda _host: None
        self.failures: list[BaseException] = []
        self.stopped = False
        self._random = chance.random
        self._numbers = 0
        self._ready: list[Job[Any]] = []
        self._asleep: list[tuple[int, float, int, Job[Any]]] = []

    def start(self, work: Work[T], host: Host, name: str) -> Job[T]:
        """Let a coroutine run on a host beside everything else."""
        self._numbers += 1
        job = Job(self._numbers, name, host, work)
        if not host.alive:
            self._end(job, error=OutcomeUnknown(f"{host.name} is gone"))
            work.close()
            return job
        host.jobs[job] = None
        self._ready.append(job)
        return job

    async def call(self, work: Work[T], host: Host, name: str) -> T:
        """Run a coroutine on a host and wait for its result. Raises what it raises, and
        OutcomeUnknown when the host dies with it."""
        return await ended(self.start(work, host, name))

    def kill(self, host: Host) -> None:
        """End a host at once: nothing after the present await of its jobs runs."""
        if not host.alive:
            return
        host.alive = False
        for job in list(host.jobs):
            if job is not self.current:
                job.work.close()
                self._end(job, error=OutcomeUnknown(f"{host.name} died with {job.name}"))

    def run(self, until_ms: int, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Let happen what happens up to a time, or until `stop` says so between two moments.

        Raises what a job failed with that nobody waited for.
        """
        while not self.stopped:
            self._take_due()
            while self._ready and not self.stopped:
                self._step(self._any_ready())
            if self.failures:
                raise self.failures[0]
            due_ms = self.next_ms()
            if due_ms is None or due_ms > until_ms or stop():
                break
            if due_ms > self.clock.now_ms():
                self.clock.advance(due_ms - self.clock.now_ms())
            while self._asleep and self._asleep[0][0] <= self.clock.now_ms():
                self._ready.append(heapq.heappop(self._asleep)[3])
        if not self.stopped and not stop():
            self.clock.advance(max(until_ms - self.clock.now_ms(), 0))

    def next_ms(self) -> int | None:
        """When something happens next; None when nothing ever does by itself."""
        times = [ms for source in self.sources if (ms := source.next_ms()) is not None]
        if self._asleep:
            times.append(self._asleep[0][0])
        return min(times, default=None)

    def close(self) -> None:
        """End every job that still waits."""
        for job in [*self._ready, *(entry[3] for entry in self._asleep)]:
            job.work.close()
        self._asleep.clear()
        self._ready.clear()

    def _take_due(self) -> None:
        now_ms = self.clock.now_ms()
        for source in self.sources:
            due_ms = source.next_ms()
            if due_ms is not None and due_ms <= now_ms:
                for work in source.take_due():
                    self.start(work, self.platform, "delivery")

    def _any_ready(self) -> Job[Any]:
        ready = self._ready
        if len(ready) > 1:
            chosen = int(self._random() * len(ready))
            ready[chosen], ready[-1] = ready[-1], ready[chosen]
        return ready.pop()

    def _step(self, job: Job[Any]) -> None:
        if job.is_done:
            return
        now_ms = self.clock.now_ms()
        if job.host.frozen_until_ms > now_ms:
            self._sleep(job, job.host.frozen_until_ms)
            return
        self.trace.step(now_ms, job.number)
        self.current = job
        try:
            wanted = job.work.send(None)
        except StopIteration as stop:
            self._end(job, value=stop.value)
        except SimulatedCrash as crash:
            self._end(job, error=OutcomeUnknown(f"{job.host.name} died {crash}"))
            self.kill(job.host)
            self.on_crash(job.host)
        except BaseException as error:
            self._end(job, error=error)
        else:
            self._wait(job, wanted, now_ms)
        finally:
            self.current = None

    def _wait(self, job: Job[Any], wanted: object, now_ms: int) -> None:
        if wanted is None:
            self._ready.append(job)
        elif isinstance(wanted, int):
            self._sleep(job, now_ms + wanted)
        elif isinstance(wanted, Job):
            if wanted.is_done:
                self._ready.append(job)
            else:
                wanted.waiters.append(job)
        else:
            raise TypeError(f"{job.name} awaits {wanted!r}, which is nothing of the kernel's")

    def _sleep(self, job: Job[Any], until_ms: int) -> None:
        self._numbers += 1
        heapq.heappush(self._asleep, (until_ms, self._random(), self._numbers, job))

    def _end(self, job: Job[Any], *, value: Any = None, error: BaseException | None = None) -> None:
        job.is_done, job.value, job.error = True, value, error
        job.host.jobs.pop(job, None)
        if error is not None and not job.waiters and not isinstance(error, ArcoError):
            self.failures.append(error)
        self._ready.extend(job.waiters)
        job.waiters = []

"""The plane's workers: a fixed number of warm processes, each running one attempt at a time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from arco_flow.domain.envelope import CompletedRequest, DispatchEnvelope, TaskError, parse_envelope
from arco_flow.domain.errors import Unavailable
from arco_flow.worker.callbacks import CallbackClient, utc_now
from arco_flow.worker.dispatch import check_callback_base
from arco_flow.worker.process import WorkerDied, WorkerProcess, WorkerSpec, describe_exit

_QUICK_DEATH_SECONDS = 10.0
_FIRST_RESTART_PAUSE_SECONDS = 0.25
_LONGEST_SPAWN_PAUSE_SECONDS = 2.0
_LONGEST_RESTART_PAUSE_SECONDS = 30.0
_EXIT_SECONDS = 10.0
_REPORT_SECONDS = 60.0
_CLOSING_REPORT_SECONDS = 2.0
_CUT = "the instance that ran it was ended before it was over"

T = TypeVar("T")

_log = logging.getLogger("arco_flow.worker")
_START_TRIES = 3


class WorkerPool:
    """Dispatches to `size` processes; waiting dispatches are served first come, first served.

    report_deaths: report an attempt whose process died as failed by INFRASTRUCTURE at once;
    off, the plane finds out by the missing heartbeats. Everything runs in one event loop.
    """

    def __init__(
        self, spec: WorkerSpec, *, size: int = 2, report_deaths: bool = True, name: str = ""
    ) -> None:
        self._spec = spec
        self._size = size
        self._report_deaths = report_deaths
        self._generation = 0
        self._workers: set[WorkerProcess] = set()
        self._idle: deque[WorkerProcess] = deque()
        self._waiting: deque[asyncio.Future[WorkerProcess]] = deque()
        self._background: set[asyncio.Task[Any]] = set()
        self._quick_deaths = 0
        self._closing = asyncio.Event()
        self._name = name or f"worker-{secrets.token_hex(3)}"
        self._count = 0

    async def start(self) -> None:
        """Start the processes; they load user code while the first dispatches may already wait.

        Raises OSError when a process can not be started.
        """
        for _ in range(self._size):
            await self._spawn()

    async def dispatch(self, envelope: bytes, parsed: DispatchEnvelope | None = None) -> int:
        """Run one attempt on a free worker; the status of its answer, when the attempt is over.

        parsed: the envelope, from whoever has read it already.

        A process that dies on the way is reported to the plane under the attempt's token and
        replaced: that answers 200, too. Raises InvalidInput for what is no envelope of the plane
        that the pool works for, Unavailable when the pool closes.
        """
        parsed = parsed or parse_envelope(envelope)
        check_callback_base(parsed, self._spec.callback_base_url)
        worker = await self._acquire()
        # Shielded: when the caller gives up, the attempt goes on and the worker comes back.
        return await asyncio.shield(self._in_background(self._run(worker, parsed, envelope)))

    async def _run(self, worker: WorkerProcess, parsed: DispatchEnvelope, envelope: bytes) -> int:
        """A process that died before it read its first request has claimed nothing: the attempt
        goes to another one, a few times, before it is said that none can start."""
        for tries_left in reversed(range(_START_TRIES)):
            worker.attempt_id = parsed.attempt_id
            try:
                status = await worker.request(envelope)
            except WorkerDied:
                code, tail = await self._bury(worker)
                if worker.is_ready or worker.stopped_because or not tries_left:
                    await self._mourn(worker, parsed, describe_exit(code), tail)
                    return 200
                worker = await self._acquire()
                continue
            worker.attempt_id = ""
            self._quick_deaths = 0
            self._release(worker)
            return status
        raise AssertionError("the last try has returned")

    async def stop_attempt(self, attempt_id: str, reason: str) -> bool:
        """Kill the process that runs an attempt; False when none does. Nothing is reported: who
        stops an attempt has decided what becomes of it."""
        for worker in self._workers:
            if worker.attempt_id == attempt_id:
                worker.stopped_because = reason
                worker.kill()
                return True
        return False

    async def reload(self, target: str, root: str) -> None:
        """Run other code from now on: idle workers are replaced at once, busy ones afterwards."""
        self._spec = dataclasses.replace(self._spec, target=target, root=root)
        self._generation += 1
        self._quick_deaths = 0
        while self._idle:
            self._idle.popleft().hang_up()

    async def close(self, grace_seconds: float = 10.0, *, report: bool = True) -> None:
        """End all processes: idle ones at once, busy ones when their attempt is over, or by force
        after the grace. No process is left behind.

        report: tell the plane of attempts that were cut; off when it is the plane that ends,
        which requeues them at its next start without charging a retry."""
        self._closing.set()
        self._report_deaths = self._report_deaths and report
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(Unavailable("the worker pool is closing"))
        workers = list(self._workers)
        for worker in workers:
            worker.terminate()
        await asyncio.gather(*(self._end(worker, grace_seconds) for worker in workers))
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    def hurry(self) -> None:
        """End what `close` waits for by force: its grace is over now."""
        for worker in self._workers:
            worker.kill()

    def cut(self, envelope: DispatchEnvelope) -> None:
        """End all processes now, because this one must end, and report an attempt that was begun
        as failed by INFRASTRUCTURE: nobody else knows before its heartbeats fall silent.

        Blocks while it reports: an event loop that is ending awaits nothing any more.
        """
        self._closing.set()
        running = [w for w in self._workers if w.attempt_id == envelope.attempt_id and w.is_ready]
        begun = [worker for worker in running if not worker.stopped_because]
        for worker in self._workers:
            worker.stopped_because = worker.stopped_because or _CUT
            worker.kill()
        for worker in begun:
            report = _death_report(envelope, worker.worker_id, _CUT, "")
            _send(envelope, report, _CLOSING_REPORT_SECONDS)

    async def _end(self, worker: WorkerProcess, grace_seconds: float) -> None:
        if not worker.attempt_id:
            worker.hang_up()
        if await worker.wait(grace_seconds) is None:
            worker.kill()
            await worker.wait(_EXIT_SECONDS)

    async def _spawn(self) -> None:
        self._count += 1
        worker = WorkerProcess(f"{self._name}-{self._count}", self._on_exit)
        worker.generation = self._generation
        await worker.start(self._spec)
        self._workers.add(worker)
        self._release(worker)

    async def _acquire(self) -> WorkerProcess:
        if self._closing.is_set():
            raise Unavailable("the worker pool is closing")
        while self._idle:
            worker = self._idle.popleft()
            if worker.is_alive:
                return worker
        waiter: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise

    def _release(self, worker: WorkerProcess) -> None:
        if worker.generation != self._generation or self._closing.is_set():
            worker.hang_up()
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    def _on_exit(self, worker: WorkerProcess) -> None:
        """A worker's socket ended: clean up, and start another in its place."""
        with contextlib.suppress(ValueError):
            self._idle.remove(worker)
        quick = not worker.served and time.monotonic() - worker.born < _QUICK_DEATH_SECONDS
        planned = worker.generation != self._generation or bool(worker.stopped_because)
        self._quick_deaths = self._quick_deaths + 1 if quick and not planned else 0
        self._in_background(self._replace(worker))

    async def _replace(self, worker: WorkerProcess) -> None:
        if not worker.attempt_id:
            await self._bury(worker)
        if self._quick_deaths and not self._closing.is_set():
            # A code location that can not even start must not become a fork bomb.
            grown = _FIRST_RESTART_PAUSE_SECONDS * 2 ** min(self._quick_deaths, 10)
            pause = min(grown, _LONGEST_RESTART_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
        if not self._closing.is_set():
            await self._spawn_or_wait()

    async def _spawn_or_wait(self) -> None:
        """Start a process; while that is impossible (no folder, no memory) try again and again."""
        pause = _FIRST_RESTART_PAUSE_SECONDS
        while not self._closing.is_set():
            try:
                await self._spawn()
                return
            except OSError as error:
                _log.error("no worker can be started: %s; next try in %.1f s", error, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
            pause = min(2 * pause, _LONGEST_SPAWN_PAUSE_SECONDS)

    async def _bury(self, worker: WorkerProcess) -> tuple[int | None, str]:
        """(exit code, last words) of a process that hung up."""
        code = await worker.wait(_EXIT_SECONDS)
        if code is None:
            # It hung up and lives: the signal that ends it now is ours, and tells nothing.
            worker.kill()
            await worker.wait(_EXIT_SECONDS)
        tail = worker.tail()
        worker.release()
        self._workers.discard(worker)
        return code, tail

    async def _mourn(
        self, worker: WorkerProcess, envelope: DispatchEnvelope, ending: str, tail: str
    ) -> None:
        """Report what the dead process can not report itself."""
        if self._report_deaths and not worker.stopped_because:
            budget = _CLOSING_REPORT_SECONDS if self._closing.is_set() else _REPORT_SECONDS
            report = _death_report(envelope, worker.worker_id, ending, tail)
            await asyncio.to_thread(_send, envelope, report, budget)

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            # Whoever still waits for it gets its error; nobody may, when the pool closes.
            task.exception()


async def report_unstarted(envelope: DispatchEnvelope, worker_id: str, problem: str) -> None:
    """Report an attempt that no worker can be started for: repeating it would end like this."""
    report = CompletedRequest(
        attempt=envelope.attempt,
        attempt_id=envelope.attempt_id,
        worker_id=worker_id,
        outcome="FAILED",
        completed_at=utc_now(),
        error=TaskError(category="CONFIGURATION", message=problem, retryable=False),
    )
    await asyncio.to_thread(_send, envelope, report, _REPORT_SECONDS)


def _death_report(
    envelope: DispatchEnvelope, worker_id: str, message: str, tail: str
) -> CompletedRequest:
    return CompletedRequest(
        attempt=envelope.attempt,
        attempt_id=envelope.attempt_id,
        worker_id=worker_id,
        outcome="FAILED",
        completed_at=utc_now(),
        error=TaskError(category="INFRASTRUCTURE", message=message, stack_trace=tail),
    )


def _send(envelope: DispatchEnvelope, report: CompletedRequest, budget_seconds: float) -> None:
    client = CallbackClient()
    try:
        client.completed(envelope, report, budget_seconds=budget_seconds)
    finally:
        client.close()

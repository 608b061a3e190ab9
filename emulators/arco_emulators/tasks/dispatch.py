"""Attempts: send the request of a task that is due, and decide by the answer what becomes of it."""

from __future__ import annotations

import asyncio

from google.rpc import code_pb2

from arco_emulators.backoff import retry_after
from arco_emulators.counters import Counters
from arco_emulators.identity import Issuer
from arco_emulators.protos import seconds_of, stamp
from arco_emulators.sender import Answer, HttpRequest, Sender
from arco_emulators.spawned import Spawned
from arco_emulators.tasks.book import Book
from arco_emulators.tasks.entry import Entry
from arco_emulators.tasks.queue import Queue
from arco_emulators.tasks.queue_config import backoff_of
from arco_emulators.tasks.request import request_of

_SLOWING = (429, 503)


class Dispatcher:
    """Makes attempts at tasks, each in a task of the event loop."""

    def __init__(self, book: Book, sender: Sender, issuer: Issuer, counters: Counters) -> None:
        self._book = book
        self._sender = sender
        self._issuer = issuer
        self._counters = counters
        self._running = Spawned(book.changed.set)

    def start(self, queue: Queue, entry: Entry) -> None:
        """Begin an attempt that the queue handed out."""
        self._running.start(self._handed_out(queue, entry))

    def force(self, queue: Queue, entry: Entry) -> None:
        """Begin an attempt now, whatever the queue's state and limits."""
        self._counters.add("deliveries", "forced")
        request = self._count(queue, entry)
        self._running.start(self._attempt(queue, entry, request))

    async def idle(self, ahead_seconds: float) -> None:
        """Return once no attempt is under way and no task due within these seconds."""
        queues = self._book.queues
        while self._running or not all(q.pump.quiet(ahead_seconds) for q in queues.values()):
            self._book.changed.clear()
            await self._book.changed.wait()

    async def close(self) -> None:
        """Break off what is under way; a restart delivers it again."""
        await self._running.close()

    async def _handed_out(self, queue: Queue, entry: Entry) -> None:
        chaos, faults = self._book.chaos, self._book.chaos.faults
        try:
            if not queue.holds(entry):
                return
            if self._too_old(entry):
                self._counters.add("deliveries", "expired")
                self._book.end_task(queue, entry)
            elif chaos.strikes(faults.drop):
                self._counters.add("faults", "dropped")
                self._book.schedule(queue, entry, later_seconds=chaos.seconds(faults.drop_ms))
            else:
                await self._attempt(queue, entry, self._count(queue, entry))
        finally:
            queue.pump.release()

    async def _attempt(self, queue: Queue, entry: Entry, request: HttpRequest) -> None:
        chaos, faults = self._book.chaos, self._book.chaos.faults
        if chaos.strikes(faults.duplicate):
            self._counters.add("faults", "duplicated")
            self._running.start(self._duplicate(request, chaos.seconds(faults.duplicate_ms)))
        answer = await self._sender.send(request)
        if chaos.strikes(faults.lose_answer):
            self._counters.add("faults", "lost answers")
            answer = Answer(
                code=code_pb2.DEADLINE_EXCEEDED, problem="the answer was lost on purpose"
            )
        if queue.holds(entry):
            self._settle(queue, entry, answer)

    async def _duplicate(self, request: HttpRequest, later_seconds: float) -> None:
        await asyncio.sleep(later_seconds)
        self._counters.add("deliveries", "sent")
        await self._sender.send(request)

    def _count(self, queue: Queue, entry: Entry) -> HttpRequest:
        """Note in the task that it is sent now; what is sent."""
        task, now = entry.task, self._book.clock.now()
        task.dispatch_count += 1
        task.last_attempt.Clear()
        task.last_attempt.schedule_time.CopyFrom(task.schedule_time)
        task.last_attempt.dispatch_time.CopyFrom(stamp(now))
        if not task.HasField("first_attempt"):
            task.first_attempt.dispatch_time.CopyFrom(stamp(now))
        self._counters.add("deliveries", "sent")
        if task.dispatch_count > 1:
            self._counters.add("deliveries", "retries")
        return request_of(queue.message, entry, self._issuer)

    def _settle(self, queue: Queue, entry: Entry, answer: Answer) -> None:
        self._note(entry, answer)
        if answer.succeeded:
            self._counters.add("deliveries", "succeeded")
            queue.pump.bucket.speed_up()
            self._book.end_task(queue, entry)
            return
        self._counters.add("deliveries", "failed")
        if answer.status in _SLOWING and self._book.chaos.faults.throttle:
            queue.pump.bucket.slow_down(self._book.clock.now())
        self._retry(queue, entry, answer)

    def _note(self, entry: Entry, answer: Answer) -> None:
        """Note the answer in the task. An attempt without one counts as sent, not as answered."""
        task, attempt = entry.task, entry.task.last_attempt
        attempt.response_status.code = answer.code
        attempt.response_status.message = answer.problem
        entry.previous = answer.status
        if answer.status:
            task.response_count += 1
            attempt.response_time.CopyFrom(stamp(self._book.clock.now()))
            entry.executions += answer.status < 500

    def _retry(self, queue: Queue, entry: Entry, answer: Answer) -> None:
        task, now = entry.task, self._book.clock.now()
        own = task.retry_config if task.HasField("retry_config") else queue.message.retry_config
        backoff = backoff_of(own)
        age = now - seconds_of(task.first_attempt.dispatch_time)
        if backoff.exhausted(task.dispatch_count, age):
            self._counters.add("deliveries", "exhausted")
            self._book.end_task(queue, entry)
            return
        asked = retry_after(answer.headers.get("Retry-After", ""), now)
        wait = max(asked, backoff.interval(task.dispatch_count))
        task.schedule_time.CopyFrom(stamp(now + wait))
        self._book.put_task(queue, entry)

    def _too_old(self, entry: Entry) -> bool:
        created = seconds_of(entry.task.create_time)
        return self._book.clock.now() - created > self._book.limits.retention_seconds

"""Execute jobs at their slots: one execution of a job at a time, tried again until the next slot.

A slot that comes while the one before is executed is delayed until that has ended. When several
have passed by then, only the last of them is executed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from google.rpc import code_pb2, status_pb2

from arco_emulators.clock import Alarm, Clock
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.protos import stamp
from arco_emulators.scheduler.delivery import Delivery
from arco_emulators.scheduler.entry import Entry
from arco_emulators.scheduler.job_config import ENABLED, backoff_of
from arco_emulators.scheduler.schedule import Schedule
from arco_emulators.sender import Answer
from arco_emulators.spawned import Spawned


class Runner:
    """Keeps the times of jobs and makes their attempts."""

    def __init__(
        self,
        delivery: Delivery,
        clock: Clock,
        chaos: Chaos,
        counters: Counters,
        save: Callable[[Entry], None],
    ) -> None:
        """`save` keeps what an attempt changed in a job."""
        self._delivery = delivery
        self._clock = clock
        self._chaos = chaos
        self._counters = counters
        self._save = save
        self._changed = asyncio.Event()
        self._running = Spawned(self._changed.set)

    def entry(self, job: object, schedule: Schedule) -> Entry:
        """A job with a timer of its own; nothing happens until it is armed."""

        def ring() -> None:
            self._check(entry)

        entry = Entry(job, schedule, Alarm(self._clock, ring))
        return entry

    def arm(self, entry: Entry) -> None:
        """Wait for the next slot from now, or for none when the job is not enabled."""
        entry.ticket += 1
        entry.failures = 0
        if entry.job.state == ENABLED:
            self._wait_for(entry, entry.schedule.after(self._clock.now()))
        else:
            entry.due = None
            entry.job.ClearField("schedule_time")
            self._check(entry)
        self._changed.set()

    def disarm(self, entry: Entry) -> None:
        """The job is gone."""
        entry.ticket += 1
        entry.due = None
        entry.alarm.close()
        self._changed.set()

    def force(self, entry: Entry) -> None:
        """One attempt now, whatever the job's state; it is not tried again."""
        self._counters.add("deliveries", "forced")
        now = self._clock.now()
        entry.job.last_attempt_time.CopyFrom(stamp(now))
        self._running.start(self._forced(entry, now))

    async def idle(self, entries: Mapping[str, Entry], ahead_seconds: float) -> None:
        """Return once no attempt is under way and no job due within these seconds."""
        while self._running or not all(self._quiet(e, ahead_seconds) for e in entries.values()):
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Break off what is under way."""
        await self._running.close()

    def _quiet(self, entry: Entry, ahead_seconds: float) -> bool:
        return entry.due is None or entry.due > self._clock.now() + ahead_seconds

    def _wait_for(self, entry: Entry, slot: float) -> None:
        entry.slot = slot
        entry.failures = 0
        entry.job.schedule_time.CopyFrom(stamp(slot))
        faults = self._chaos.faults
        entry.due = slot + self._chaos.seconds(faults.delay_ms)
        if self._chaos.strikes(faults.early):
            entry.due -= self._chaos.seconds(faults.early_ms)
        self._check(entry)

    def _check(self, entry: Entry) -> None:
        """Start the attempt that is due, unless one is under way; else wait for it."""
        if entry.busy or entry.due is None:
            entry.alarm.set(None)
        elif entry.due > self._clock.now():
            entry.alarm.set(entry.due)
        else:
            entry.busy = True
            self._running.start(self._attempt(entry, entry.ticket))

    async def _attempt(self, entry: Entry, ticket: int) -> None:
        chaos, faults = self._chaos, self._chaos.faults
        now, answer = self._clock.now(), None
        if not entry.failures:
            entry.first_attempt = now
        missed = not entry.failures and chaos.strikes(faults.miss)
        if missed:
            self._counters.add("faults", "missed")
        elif chaos.strikes(faults.drop):
            self._counters.add("faults", "dropped")
            entry.due = now + chaos.seconds(faults.drop_ms)
        else:
            answer = await self._send(entry, entry.slot)
        entry.busy = False
        if ticket == entry.ticket and (missed or answer):
            self._settle(entry, answer)
        self._check(entry)

    async def _send(self, entry: Entry, slot: float) -> Answer:
        chaos, faults = self._chaos, self._chaos.faults
        entry.job.last_attempt_time.CopyFrom(stamp(self._clock.now()))
        if chaos.strikes(faults.duplicate):
            self._counters.add("faults", "duplicated")
            self._running.start(self._duplicate(entry, slot, chaos.seconds(faults.duplicate_ms)))
        answer = await self._deliver(entry, slot)
        if chaos.strikes(faults.lose_answer):
            self._counters.add("faults", "lost answers")
            answer = Answer(
                code=code_pb2.DEADLINE_EXCEEDED, problem="the answer was lost on purpose"
            )
        self._counters.add("deliveries", "succeeded" if answer.succeeded else "failed")
        status = status_pb2.Status(code=answer.code, message=answer.problem)
        entry.job.status.CopyFrom(status)
        return answer

    async def _deliver(self, entry: Entry, slot: float) -> Answer:
        self._counters.add("deliveries", "sent")
        return await self._delivery.deliver(entry.job, slot)

    async def _duplicate(self, entry: Entry, slot: float, later_seconds: float) -> None:
        await asyncio.sleep(later_seconds)
        await self._deliver(entry, slot)

    async def _forced(self, entry: Entry, slot: float) -> None:
        await self._send(entry, slot)
        self._save(entry)

    def _settle(self, entry: Entry, answer: Answer | None) -> None:
        """Wait for the next attempt at the slot, or for the next slot."""
        now = self._clock.now()
        following = entry.schedule.following(entry.slot, now)
        if answer and not answer.succeeded and self._tries_again(entry, now, following):
            return
        self._wait_for(entry, following)
        self._save(entry)

    def _tries_again(self, entry: Entry, now: float, following: float) -> bool:
        entry.failures += 1
        backoff = backoff_of(entry.job)
        again = now + backoff.interval(entry.failures)
        if backoff.exhausted(entry.failures, now - entry.first_attempt) or again >= following:
            return False
        self._counters.add("deliveries", "retries")
        entry.due = again
        entry.job.schedule_time.CopyFrom(stamp(again))
        self._save(entry)
        return True

"""The durable queue beyond the port: concurrency, stopping, restarts, a killed process."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest

from adapters.test_database import kill_after
from arco_flow.adapters.delivery import QueueSettings
from arco_flow.adapters.local.clock import SystemClock
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.tasks import DAY_MS, LocalTasks
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.domain.errors import Conflict, InvalidInput, Unavailable
from arco_flow.ports.tasks import NewTask

SETTINGS = QueueSettings(max_concurrent=2, min_backoff_ms=100, max_backoff_ms=1000)


@asynccontextmanager
async def queue_in(folder, clock=None, handler=None):
    with closing(Database(folder)) as database:
        tasks = LocalTasks(
            database,
            clock or VirtualClock(),
            queues={"reminders": replace(SETTINGS, durable=False)},
            default=SETTINGS,
        )
        if handler is not None:
            tasks.register("work", handler)
            await tasks.start()
        try:
            yield tasks
        finally:
            await tasks.stop(drain=False)


class Gate:
    """A handler that waits to be opened; counts who is inside."""

    def __init__(self):
        self.opened = asyncio.Event()
        self.entered = asyncio.Semaphore(0)
        self.deliveries = []
        self.inside = self.most_inside = 0

    async def __call__(self, body, delivery):
        self.deliveries.append(delivery)
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        self.entered.release()
        try:
            await self.opened.wait()
        finally:
            self.inside -= 1

    async def wait_for(self, number):
        for _ in range(number):
            await asyncio.wait_for(self.entered.acquire(), 10)


async def enqueue_all(tasks, queue, number):
    await asyncio.gather(*(tasks.enqueue(queue, f"t{n}", "work", b"%d" % n) for n in range(number)))


async def turns(number=20):
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_queue_runs_no_more_handlers_at_once_than_it_may(tmp_path):
    async def scenario():
        gate = Gate()
        async with queue_in(tmp_path, handler=gate) as tasks:
            await enqueue_all(tasks, "q", 7)
            await gate.wait_for(2)
            await turns()
            assert gate.inside == 2
            gate.opened.set()
            await tasks.settle()
            assert gate.most_inside == 2
            assert len(gate.deliveries) == 7

    asyncio.run(scenario())


def test_a_full_queue_does_not_hold_up_another(tmp_path):
    async def scenario():
        gate = Gate()
        async with queue_in(tmp_path, handler=gate) as tasks:
            await enqueue_all(tasks, "full", 5)
            await gate.wait_for(2)
            await enqueue_all(tasks, "free", 1)
            await gate.wait_for(1)
            assert gate.deliveries[-1].queue == "free"

    asyncio.run(scenario())


def test_concurrency_can_be_raised_and_lowered_while_it_runs(tmp_path):
    async def scenario():
        gate = Gate()
        async with queue_in(tmp_path, handler=gate) as tasks:
            await enqueue_all(tasks, "q", 9)
            await gate.wait_for(2)
            tasks.set_concurrency("q", 5)
            await gate.wait_for(3)
            tasks.set_concurrency("q", 1)
            gate.most_inside = 0
            gate.opened.set()
            await tasks.settle()
            assert len(gate.deliveries) == 9
            assert gate.most_inside <= 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "fields",
    [{"max_concurrent": 0}, {"min_backoff_ms": 0}, {"min_backoff_ms": 9, "max_backoff_ms": 8}],
)
def test_impossible_settings_are_refused(fields):
    with pytest.raises(InvalidInput):
        QueueSettings(**fields)


def test_a_stop_lets_running_handlers_end_and_starts_no_more(tmp_path):
    async def scenario():
        gate = Gate()
        async with queue_in(tmp_path, handler=gate) as tasks:
            await enqueue_all(tasks, "q", 5)
            await gate.wait_for(2)
            stopping = asyncio.ensure_future(tasks.stop())
            await turns()
            assert not stopping.done()
            gate.opened.set()
            await stopping
            assert len(gate.deliveries) == 2
            assert tasks.pending() == 3

    asyncio.run(scenario())


def test_a_hard_stop_cancels_and_the_next_start_delivers_again_as_the_same_attempt(tmp_path):
    async def scenario():
        gate = Gate()
        async with queue_in(tmp_path, handler=gate) as tasks:
            await enqueue_all(tasks, "q", 1)
            await gate.wait_for(1)
            await tasks.stop(drain=False)
            assert gate.inside == 0
            assert tasks.pending() == 1
            gate.opened.set()
            await tasks.start()
            await tasks.settle()
            assert [delivery.attempt for delivery in gate.deliveries] == [1, 1]
            assert tasks.pending() == 0

    asyncio.run(scenario())


def test_what_a_handler_awaited_being_cancelled_is_a_failure_of_the_handler(tmp_path):
    async def scenario():
        clock, attempts = VirtualClock(), []

        async def handler(body, delivery):
            attempts.append(delivery.attempt)
            if len(attempts) == 1:
                inner = asyncio.ensure_future(asyncio.Event().wait())
                inner.cancel()
                await inner

        async with queue_in(tmp_path, clock, handler) as tasks:
            await enqueue_all(tasks, "q", 1)
            await tasks.settle()
            assert attempts == [1]
            clock.advance(100)
            tasks.wake()
            await tasks.settle()
            assert attempts == [1, 2]

    asyncio.run(scenario())


def test_a_restart_delivers_what_was_not_done_with_its_attempt_and_its_time(tmp_path):
    clock = VirtualClock()

    async def before():
        async def handler(body, delivery):
            if delivery.name == "t1":
                raise ValueError("not yet")

        async with queue_in(tmp_path, clock, handler) as tasks:
            await enqueue_all(tasks, "q", 2)
            await tasks.enqueue("q", "later", "work", b"", at_ms=clock.now_ms() + 5000)
            await tasks.settle()

    async def after():
        gate = Gate()
        gate.opened.set()
        async with queue_in(tmp_path, clock, gate) as tasks:
            await tasks.settle()
            assert gate.deliveries == []
            clock.advance(100)
            tasks.wake()
            await tasks.settle()
            assert [(d.name, d.attempt) for d in gate.deliveries] == [("t1", 2)]
            # A pending name survives; one of a finished task is forgotten, and guards nothing.
            assert not await tasks.enqueue("q", "later", "work", b"")
            clock.advance(4900)
            tasks.wake()
            await tasks.settle()
            assert gate.deliveries[1].name == "later"

    asyncio.run(before())
    asyncio.run(after())


def test_the_dead_stay_dead_and_listed_over_a_restart(tmp_path):
    async def before():
        async def handler(body, delivery):
            raise Conflict("never")

        async with queue_in(tmp_path, handler=handler) as tasks:
            await enqueue_all(tasks, "q", 1)
            await tasks.settle()

    async def after():
        gate = Gate()
        async with queue_in(tmp_path, handler=gate) as tasks:
            await tasks.settle()
            assert gate.deliveries == []
            assert [dead.reason for dead in tasks.dead()] == ["CONFLICT: never"]

    asyncio.run(before())
    asyncio.run(after())


def test_a_task_is_delivered_when_its_time_comes_without_being_asked(tmp_path):
    async def scenario():
        clock, delivered = SystemClock(), asyncio.Event()
        seen_ms = []

        async def handler(body, delivery):
            seen_ms.append(clock.now_ms())
            delivered.set()

        async with queue_in(tmp_path, clock, handler) as tasks:
            at_ms = clock.now_ms() + 40
            await tasks.enqueue("q", "far", "work", b"", at_ms=at_ms + 3_600_000)
            await tasks.enqueue("q", "near", "work", b"", at_ms=at_ms)
            await asyncio.wait_for(delivered.wait(), 10)
            assert seen_ms[0] >= at_ms

    asyncio.run(scenario())


def test_a_task_whose_end_can_not_be_written_is_delivered_again(tmp_path):
    async def scenario():
        clock, attempts = VirtualClock(), []
        with closing(Database(tmp_path)) as database:
            tasks = LocalTasks(database, clock, default=SETTINGS)

            async def handler(body, delivery):
                attempts.append(delivery.attempt)
                state = "ON" if len(attempts) < 3 else "OFF"
                database.read(f"PRAGMA query_only = {state}")
                if len(attempts) == 2:
                    raise Conflict("refused, but that can not be written either")

            tasks.register("work", handler)
            await tasks.start()
            await enqueue_all(tasks, "q", 1)
            for wait in (0, 100, 200):
                clock.advance(wait)
                tasks.wake()
                await tasks.settle()
            assert attempts == [1, 2, 3]
            assert tasks.pending() == 0
            assert tasks.dead() == []
            await tasks.stop()

    asyncio.run(scenario())


def test_an_enqueue_on_a_full_disk_adds_nothing(tmp_path):
    async def scenario():
        gate = Gate()
        gate.opened.set()
        async with queue_in(tmp_path, handler=gate) as tasks:
            tasks._db.read("PRAGMA query_only = ON")
            with pytest.raises(Unavailable):
                await tasks.enqueue("q", "t", "work", b"")
            assert tasks.pending() == 0
            tasks._db.read("PRAGMA query_only = OFF")
            assert await tasks.enqueue("q", "t", "work", b"")
            await tasks.settle()
            assert len(gate.deliveries) == 1

    asyncio.run(scenario())


def test_an_enqueue_whose_caller_left_is_still_delivered(tmp_path):
    async def scenario():
        gate = Gate()
        gate.opened.set()
        async with queue_in(tmp_path, handler=gate) as tasks:
            leaving = asyncio.ensure_future(tasks.enqueue("q", "t", "work", b""))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(leaving.cancel)
            await asyncio.wait([leaving])
            assert leaving.cancelled()
            await tasks.settle()
            assert len(gate.deliveries) == 1

    asyncio.run(scenario())


def test_names_are_forgotten_after_their_window(tmp_path):
    async def scenario():
        clock, gate = VirtualClock(), Gate()
        gate.opened.set()
        async with queue_in(tmp_path, clock, gate) as tasks:
            await enqueue_all(tasks, "old", 300)
            await tasks.settle()
            clock.advance(DAY_MS + 1)
            await enqueue_all(tasks, "new", 300)
            await tasks.settle()
            assert {queue for queue, _ in tasks._done} == {"new"}
            assert await tasks.enqueue("old", "t0", "work", b"")

    asyncio.run(scenario())


def test_failures_are_logged_with_their_cause(tmp_path, caplog):
    async def scenario():
        async def handler(body, delivery):
            raise ValueError("the cause")

        async with queue_in(tmp_path, handler=handler) as tasks:
            await enqueue_all(tasks, "q", 1)
            await tasks.settle()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    [record] = caplog.records
    assert "attempt 1 of task t0 in queue q failed, next in 100 ms" in record.getMessage()
    assert str(record.exc_info[1]) == "the cause"


def test_a_missing_handler_is_logged_with_the_nearest_name(tmp_path, caplog):
    async def scenario():
        async with queue_in(tmp_path, handler=Gate()) as tasks:
            await tasks.enqueue("q", "t", "wrok", b"")
            await tasks.settle()

    asyncio.run(scenario())
    assert "did you mean 'work'?" in str(caplog.records[0].exc_info[1])


def test_what_is_only_a_reminder_is_not_written_also_among_tasks_that_are(tmp_path):
    async def scenario():
        reminder, task = NewTask("reminders", "t", "work", b"0"), NewTask("q", "t", "work", b"1")
        async with queue_in(tmp_path) as tasks:
            assert await tasks.enqueue_many([reminder, task, reminder]) == [True, True, False]
            assert await tasks.enqueue_many([task, reminder]) == [False, False]
            assert tasks.pending() == 2
        gate = Gate()
        gate.opened.set()
        async with queue_in(tmp_path, handler=gate) as tasks:
            await tasks.settle()
            assert [delivery.queue for delivery in gate.deliveries] == ["q"]

    asyncio.run(scenario())


def test_a_reminder_is_tried_again_and_its_name_refused_without_a_row(tmp_path):
    async def scenario():
        attempts, clock = [], VirtualClock()

        async def handler(body, delivery):
            attempts.append(delivery.attempt)
            if delivery.attempt == 1:
                raise ValueError("not yet")

        async with queue_in(tmp_path, clock, handler) as tasks:
            await enqueue_all(tasks, "reminders", 1)
            await tasks.settle()
            clock.advance(SETTINGS.min_backoff_ms)
            tasks.wake()
            await tasks.settle()
            assert attempts == [1, 2]
            assert not await tasks.enqueue("reminders", "t0", "work", b"")

    asyncio.run(scenario())


WORKER = """
import asyncio, sys
from arco_flow.adapters.local.clock import SystemClock
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.tasks import LocalTasks

async def main():
    tasks = LocalTasks(Database(sys.argv[1]), SystemClock())

    async def handler(body, delivery):
        if int(body) % 3 == 0:
            await asyncio.Event().wait()
        print("handled", int(body), flush=True)

    tasks.register("work", handler)
    tasks.set_concurrency("q", 1000)
    await tasks.start()
    for n in range(100_000):
        await tasks.enqueue("q", f"t{n}", "work", b"%d" % n)
        print("enqueued", n, flush=True)

asyncio.run(main())
"""


def test_a_process_that_is_killed_loses_no_task(tmp_path):
    printed = kill_after(WORKER, str(tmp_path), lines=300)
    enqueued = {int(line.split()[1]) for line in printed if line.startswith("enqueued")}
    handled = {int(line.split()[1]) for line in printed if line.startswith("handled")}
    assert enqueued
    assert handled

    async def scenario():
        again = set()

        async def handler(body, delivery):
            again.add(int(body))

        async with queue_in(tmp_path, SystemClock(), handler) as tasks:
            await tasks.settle()
        return again

    again = asyncio.run(scenario())
    assert enqueued <= handled | again
    # Those in the middle of their delivery come again; those long done do not.
    assert {n for n in enqueued if n % 3 == 0} <= again
    assert not (handled - set(sorted(handled)[-20:])) & again


def test_a_deadline_is_written_down_as_a_failed_attempt_and_the_late_handler_may_be_cancelled(
    tmp_path,
):
    async def scenario():
        gate, clock = Gate(), VirtualClock()
        async with queue_in(tmp_path, clock, gate) as tasks:
            await enqueue_all(tasks, "q", 1)
            await gate.wait_for(1)
            clock.advance(SETTINGS.dispatch_deadline_ms)
            tasks.wake()
            while not retried(tasks):
                await asyncio.sleep(0)
        clock.advance(1_000)
        second = Gate()
        async with queue_in(tmp_path, clock, second):
            await second.wait_for(1)
            assert second.deliveries[0].attempt == 2

    def retried(tasks):
        return tasks._db.read("SELECT 1 FROM tasks WHERE attempt = 2")

    asyncio.run(scenario())


def test_a_handler_that_answers_at_its_deadline_is_not_lost(tmp_path):
    async def scenario():
        gate, clock = Gate(), VirtualClock()
        async with queue_in(tmp_path, clock, gate) as tasks:
            await enqueue_all(tasks, "q", 1)
            await gate.wait_for(1)
            gate.opened.set()
            clock.advance(SETTINGS.dispatch_deadline_ms)
            tasks.wake()
            await tasks.settle()
            clock.advance(1_000)
            tasks.wake()
            await tasks.settle()
            assert tasks.pending() == 0

    asyncio.run(scenario())

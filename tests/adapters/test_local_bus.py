"""The durable bus beyond the port: restarts, failures to write, and the queue that it shares."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from arco_flow.adapters.local.bus import LocalBus
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.tasks import LocalTasks
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.subscriptions import SubscriptionSettings
from arco_flow.domain.errors import InvalidInput, Unavailable
from arco_flow.ports.bus import Message
from conformance.handlers import Recorder

IN_ORDER = SubscriptionSettings(in_order=True, min_backoff_ms=100)


@asynccontextmanager
async def plane_in(folder, clock):
    with closing(Database(folder)) as database:
        tasks = LocalTasks(database, clock)
        try:
            yield tasks, LocalBus(tasks, clock)
        finally:
            await tasks.stop(drain=False)


def bodies(recorder):
    return [message.body for message in recorder.bodies]


def test_what_was_not_delivered_when_a_process_ended_is_delivered_by_the_next(tmp_path):
    async def scenario():
        clock = VirtualClock()
        async with plane_in(tmp_path, clock) as (_, bus):
            bus.subscribe("sub", "runs", Recorder())
            await bus.publish("runs", [Message(b"a", {"kind": "run"}, "key")])
        async with plane_in(tmp_path, clock) as (tasks, bus):
            recorder = Recorder()
            bus.subscribe("sub", "runs", recorder)
            await tasks.start()
            await tasks.settle()
            assert recorder.bodies == [Message(b"a", {"kind": "run"}, "key")]
            assert tasks.pending() == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("later_ms", [0, 1])
def test_order_outlives_the_process_also_behind_a_message_that_had_failed(tmp_path, later_ms):
    expected = [b"%d" % n for n in range(9)]

    async def scenario():
        clock = VirtualClock()
        async with plane_in(tmp_path, clock) as (tasks, bus):
            bus.subscribe("sub", "runs", Recorder(ValueError("no")), settings=IN_ORDER)
            await tasks.start()
            for body in expected:
                await bus.publish("runs", [Message(body, ordering_key="k")])
                clock.advance(later_ms)
            await tasks.settle()
        async with plane_in(tmp_path, clock) as (tasks, bus):
            recorder = Recorder()
            bus.subscribe("sub", "runs", recorder, settings=IN_ORDER)
            await tasks.start()
            await tasks.settle()
            assert recorder.got == []
            clock.advance(100)
            tasks.wake()
            await tasks.settle()
            assert bodies(recorder) == expected
            assert recorder.attempts[0] == 2

    asyncio.run(scenario())


def test_a_publication_that_can_not_be_written_publishes_none(tmp_path):
    async def scenario():
        clock = VirtualClock()
        async with plane_in(tmp_path, clock) as (tasks, bus):
            recorders = [Recorder(), Recorder()]
            for number, recorder in enumerate(recorders):
                bus.subscribe(f"sub{number}", "runs", recorder)
            await tasks.start()
            with closing(sqlite3.connect(tmp_path / "arco.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                tasks._db._connection.execute("PRAGMA busy_timeout = 0")
                with pytest.raises(Unavailable):
                    await bus.publish("runs", [Message(b"a"), Message(b"b")])
                other.execute("ROLLBACK")
            await tasks.settle()
            assert [recorder.got for recorder in recorders] == [[], []]
            await bus.publish("runs", [Message(b"c")])
            await tasks.settle()
            assert [bodies(recorder) for recorder in recorders] == [[b"c"], [b"c"]]

    asyncio.run(scenario())


def test_tasks_and_messages_share_a_queue_and_keep_their_dead_apart(tmp_path):
    async def scenario():
        clock = VirtualClock()
        async with plane_in(tmp_path, clock) as (tasks, bus):
            tasks.register("work", Recorder(InvalidInput("bad task")))
            bus.subscribe("sub", "runs", Recorder(InvalidInput("bad message")))
            await tasks.start()
            await tasks.enqueue("q", "t", "work", b"task")
            await bus.publish("runs", [Message(b"message")])
            await tasks.settle()
            assert [dead.message.body for dead in bus.dead()] == [b"message"]
            assert len(tasks.dead()) == 2
            assert [dead.body for dead in tasks.dead(queues=["q"])] == [b"task"]

    asyncio.run(scenario())


def test_a_bus_without_subscriptions_has_no_dead(tmp_path):
    async def scenario():
        clock = VirtualClock()
        async with plane_in(tmp_path, clock) as (tasks, bus):
            tasks.register("work", Recorder(InvalidInput("bad task")))
            await tasks.start()
            await tasks.enqueue("q", "t", "work", b"task")
            await tasks.settle()
            assert bus.dead() == []

    asyncio.run(scenario())

"""The memory bus on purpose at its worst, and driven without an event loop."""

from __future__ import annotations

import asyncio

import pytest

from arco_flow.adapters.memory.bus import MemoryBus
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import ScriptedFaults, SimulatedCrash
from arco_flow.adapters.subscriptions import SubscriptionSettings
from arco_flow.domain.errors import OutcomeUnknown, Unavailable
from arco_flow.ports.bus import Message


class Bus:
    """A memory bus with one subscription that notes (time since the start, body, attempt)."""

    def __init__(self, settings=None, **options):
        self.clock = VirtualClock(0)
        self.bus = MemoryBus(self.clock, **options)
        self.got, self.errors = [], []
        self.bus.subscribe("sub", "runs", self.handle, settings=settings)

    async def handle(self, message, delivery):
        self.got.append((self.clock.now_ms(), message.body.decode(), delivery.attempt))
        if self.errors:
            raise self.errors.pop(0)

    def publish(self, *bodies, key=""):
        messages = [Message(body.encode(), ordering_key=key) for body in bodies]
        asyncio.run(self.bus.publish("runs", messages))

    def run(self):
        return asyncio.run(self.bus.run_until_idle())


def test_a_message_can_be_delivered_twice_late_and_out_of_order():
    shifts = iter([(500,), (0, 50), (10,)])
    bus = Bus(timing=lambda queue, name, at_ms: [at_ms + ms for ms in next(shifts)])
    bus.publish("late", "twice", "third")
    assert bus.run() == 4
    assert bus.got == [(0, "twice", 1), (10, "third", 1), (50, "twice", 1), (500, "late", 1)]


def test_a_late_message_holds_up_its_key_when_order_is_asked_for():
    shifts = iter([500, 0, 0])
    bus = Bus(
        SubscriptionSettings(in_order=True),
        timing=lambda queue, name, at_ms: (at_ms + next(shifts),),
    )
    bus.publish("late", "second", key="k")
    bus.publish("other", key="o")
    bus.run()
    assert bus.got == [(0, "other", 1), (500, "late", 1), (500, "second", 1)]


def test_the_timing_can_be_changed_on_the_way():
    bus = Bus(timing=lambda queue, name, at_ms: (at_ms + 50,))
    bus.publish("late")
    bus.bus.timing = lambda queue, name, at_ms: (at_ms,)
    bus.publish("punctual")
    assert bus.bus.timing("q", "n", 7) == (7,)
    bus.run()
    assert [body for _, body, _ in bus.got] == ["punctual", "late"]


def test_a_publication_that_was_refused_delivers_nothing():
    faults = ScriptedFaults()
    bus = Bus(faults=faults)
    faults.fail_before("bus.publish", Unavailable("down"))
    with pytest.raises(Unavailable):
        bus.publish("a")
    assert bus.run() == 0


def test_a_publication_whose_answer_was_lost_is_delivered():
    faults = ScriptedFaults()
    bus = Bus(faults=faults)
    faults.fail_after("bus.publish", OutcomeUnknown("lost"))
    with pytest.raises(OutcomeUnknown):
        bus.publish("a")
    bus.publish("a")
    assert bus.run() == 2
    assert faults.calls["bus.publish"] == 2


def test_a_crash_passes_through_and_the_message_is_due_again():
    bus = Bus()
    bus.errors = [SimulatedCrash()]
    bus.publish("a")
    with pytest.raises(SimulatedCrash):
        asyncio.run(bus.bus.run_due())
    assert bus.bus.pending() == 1
    assert asyncio.run(bus.bus.run_due()) == 1
    assert bus.got == [(0, "a", 1), (0, "a", 1)]


def test_deliveries_can_be_driven_one_by_one_without_an_event_loop():
    bus = Bus()
    bus.publish("a", "b")
    assert bus.bus.next_ms() == 0
    works = bus.bus.take_due()
    assert bus.bus.take_due() == []
    assert bus.bus.next_ms() == 10_000, "the deadline of both"
    for work in reversed(works):
        with pytest.raises(StopIteration):
            work.send(None)
    assert bus.bus.next_ms() is None
    assert [body for _, body, _ in bus.got] == ["b", "a"]
    assert bus.bus.pending() == 0

"""What is Pub/Sub's own: answers that get lost, topics that are missing, what is paid for."""

from __future__ import annotations

import asyncio

import pytest

from adapters.gcp.faults import ABORTED, DEADLINE, UNAVAILABLE, LostAnswers
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.pubsub_bus import PubSubBus
from arco_flow.domain.errors import OutcomeUnknown, Unavailable
from arco_flow.ports.bus import Message
from conformance.emulators import pubsub_address
from conformance.google_queues import pubsub
from conformance.handlers import Recorder

pytestmark = pytest.mark.emulator

MESSAGES = [Message(b"1", {"kind": "run"}, "key"), Message(b"2")]


class Topic:
    """The topic `runs` with a subscription, and the adapter whose answers get lost."""

    def __init__(self):
        self.answers = LostAnswers("Publish")
        self.counts = OperationCounts()
        self.recorder = Recorder()

    def run(self, scenario):
        async def main():
            async with pubsub() as (admin, pass_time):
                admin.subscribe("sub", "runs", self.recorder)
                bus = PubSubBus(
                    admin._project, emulator=pubsub_address(), counts=self.counts,
                    pace=Pace(attempts=4, first_ms=1), interceptors=(self.answers,),
                )  # fmt: skip
                try:
                    await scenario(bus)
                    await pass_time(0)
                finally:
                    await bus.close()

        asyncio.run(main())
        return [message.body for message in self.recorder.bodies]


@pytest.fixture
def topic():
    return Topic()


def test_messages_that_were_published_unheard_are_there_twice(topic):
    async def scenario(bus):
        topic.answers.after(DEADLINE)
        await bus.publish("runs", MESSAGES)

    assert sorted(topic.run(scenario)) == [b"1", b"1", b"2", b"2"]
    assert topic.counts.so_far()["publishes"] == 4


def test_messages_without_any_answer_may_have_been_published(topic):
    async def scenario(bus):
        topic.answers.before(UNAVAILABLE, "Socket closed", times=4)
        with pytest.raises(OutcomeUnknown, match="Publish to 'runs'"):
            await bus.publish("runs", MESSAGES)

    assert topic.run(scenario) == []


def test_messages_that_never_got_there_were_not_published(topic):
    async def scenario(bus):
        topic.answers.before(ABORTED, times=4)
        with pytest.raises(Unavailable) as raised:
            await bus.publish("runs", MESSAGES)
        assert not isinstance(raised.value, OutcomeUnknown)
        topic.answers.before(ABORTED, times=3)
        await bus.publish("runs", MESSAGES[:1])

    assert topic.run(scenario) == [b"1"]


def test_a_topic_that_is_not_there_is_named_with_its_mend(topic):
    async def scenario(bus):
        with pytest.raises(Unavailable, match=r"(?s)to 'none'.*fix: create what is named"):
            await bus.publish("none", MESSAGES)

    topic.run(scenario)


def test_nothing_to_publish_is_no_call(topic):
    async def scenario(bus):
        await bus.publish("runs", [])

    topic.run(scenario)
    assert topic.answers.calls == 0

"""Every bus: fan-out, filters, deadlines, retries, dead letters, order."""

from __future__ import annotations

import asyncio

import pytest

from arco_flow.adapters.subscriptions import (
    MAX_ATTRIBUTES,
    MAX_MESSAGES,
    PUBLISH_LIMIT_BYTES,
    Attribute,
    SubscriptionSettings,
)
from arco_flow.domain.errors import Conflict, InvalidInput, TooLarge, Unavailable
from arco_flow.ports.bus import Message
from conformance.handlers import Held, Recorder

ACK_MS = 10_000
BACKOFF_MS = 100


def settings_of(**fields):
    return SubscriptionSettings(
        **{"ack_deadline_ms": ACK_MS, "min_backoff_ms": BACKOFF_MS, "max_backoff_ms": 1_000}
        | fields
    )


def subscribe(plane, *names, topic="runs", errors=(), handler=None, **fields):
    """A recorder (or the handler that is given) behind each of the subscriptions."""
    handlers = [handler or Recorder(*errors) for _ in names]
    for name, made in zip(names, handlers, strict=True):
        plane.bus.subscribe(name, topic, made, settings=settings_of(**fields))
    return handlers[0] if len(handlers) == 1 else handlers


def texts(recorder):
    return [message.body.decode() for message in recorder.bodies]


async def publish(plane, *bodies, topic="runs", **fields):
    messages = [Message(body.encode(), **fields) for body in bodies]
    await plane.bus.publish(topic, messages)


def test_a_message_reaches_every_subscription_of_its_topic_once(buses):
    async def scenario(plane):
        first, second = subscribe(plane, "first", "second")
        other = subscribe(plane, "other", topic="assets")
        message = Message(b"\0body\xff", {"kind": "run", "é": "日本"}, "key")
        await plane.bus.publish("runs", [message])
        await plane.pass_time(0)
        await plane.pass_time(600_000)
        for recorder, name in ((first, "first"), (second, "second")):
            [(found, delivery)] = recorder.got
            assert found == message
            assert (delivery.subscription, delivery.topic) == (name, "runs")
            assert delivery.attempt == 1
            assert delivery.message_id
        assert first.got[0][1].message_id == second.got[0][1].message_id
        assert other.got == []

    buses.run(scenario)


def test_a_delivery_tells_when_its_message_was_published(driven_buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub", errors=[ValueError("no")])
        await publish(plane, "a")
        await plane.pass_time(0)
        await plane.pass_time(BACKOFF_MS)
        assert [told.published_ms for _, told in recorder.got] == [
            plane.clock.now_ms() - BACKOFF_MS
        ] * 2

    driven_buses.run(scenario)


def test_several_messages_of_one_call_are_all_delivered_each_by_its_own_id(buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub")
        await publish(plane, "same", "same", "other")
        await plane.bus.publish("runs", [])
        await plane.pass_time(0)
        assert sorted(texts(recorder)) == ["other", "same", "same"]
        assert len({delivery.message_id for _, delivery in recorder.got}) == 3

    buses.run(scenario)


def test_what_was_published_before_a_subscription_or_without_one_is_not_delivered(buses):
    async def scenario(plane):
        await publish(plane, "early")
        recorder = subscribe(plane, "late")
        await publish(plane, "now")
        await plane.pass_time(0)
        assert texts(recorder) == ["now"]

    buses.run(scenario)


def test_a_message_with_attributes_alone_is_delivered(buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub")
        await publish(plane, "", attributes={"kind": "ping"})
        await plane.pass_time(0)
        assert recorder.bodies == [Message(b"", {"kind": "ping"})]

    buses.run(scenario)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((), "abcd"),
        ((Attribute("kind", "run"),), "ab"),
        ((Attribute("kind", "run"), Attribute("tenant", "acme")), "a"),
        ((Attribute("tenant", "ac", is_prefix=True),), "ac"),
        ((Attribute("tenant", "", is_prefix=True),), "abc"),
        ((Attribute("tenant", ""),), "b"),
        ((Attribute("absent", ""),), ""),
    ],
)
def test_a_filter_lets_through_what_fulfils_all_of_its_conditions(
    driven_buses, conditions, expected
):
    async def scenario(plane):
        recorder = subscribe(plane, "sub", filter=conditions)
        everything = subscribe(plane, "all")
        await publish(plane, "a", attributes={"kind": "run", "tenant": "acme"})
        await publish(plane, "b", attributes={"kind": "run", "tenant": ""})
        await publish(plane, "c", attributes={"kind": "asset", "tenant": "acme2"})
        await publish(plane, "d")
        await plane.pass_time(0)
        assert "".join(sorted(texts(recorder))) == expected
        assert len(everything.got) == 4

    driven_buses.run(scenario)


def test_a_failed_delivery_is_repeated_after_a_wait_that_doubles_up_to_its_bound(driven_buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub", errors=[ValueError("no"), Unavailable("down")] * 3)
        await publish(plane, "a")
        await plane.pass_time(0)
        for number, wait in enumerate((100, 200, 400, 800, 1000, 1000), start=1):
            await plane.pass_time(wait - 1)
            assert len(recorder.got) == number
            await plane.pass_time(1)
        assert recorder.attempts == [1, 2, 3, 4, 5, 6, 7]
        assert len({delivery.message_id for _, delivery in recorder.got}) == 1
        await plane.pass_time(600_000)
        assert len(recorder.got) == 7
        assert plane.bus.dead() == []

    driven_buses.run(scenario)


def test_a_subscription_that_fails_does_not_hold_up_another(driven_buses):
    async def scenario(plane):
        bad = subscribe(plane, "bad", errors=[ValueError("no")])
        good = subscribe(plane, "good")
        await publish(plane, "a", "b")
        await plane.pass_time(0)
        assert sorted(texts(good)) == ["a", "b"]
        await plane.pass_time(BACKOFF_MS)
        assert len(bad.got) == 3
        assert len(good.got) == 2

    driven_buses.run(scenario)


async def begun(plane):
    """A subscription whose handler has a message in hand."""
    held = subscribe(plane, "sub", handler=Held())
    await publish(plane, "a")
    await plane.begin_time(0)
    await held.wait_for()
    return held


def test_a_message_that_is_not_acknowledged_in_time_is_repeated_beside_its_first_handler(
    driven_buses,
):
    async def scenario(plane):
        held = await begun(plane)
        await plane.begin_time(ACK_MS)
        await plane.begin_time(BACKOFF_MS)
        await held.wait_for()
        assert held.attempts == [1, 2]
        assert held.running == 2
        held.answer(1)
        held.answer(0)
        await plane.pass_time(600_000)
        assert held.attempts == [1, 2]

    driven_buses.run(scenario)


@pytest.mark.parametrize("late", [None, ValueError("late"), Conflict("late")], ids=repr)
def test_an_acknowledgement_after_the_deadline_changes_nothing(driven_buses, late):
    async def scenario(plane):
        held = await begun(plane)
        await plane.begin_time(ACK_MS)
        held.answer(0, late)
        await plane.begin_time(BACKOFF_MS)
        await held.wait_for()
        held.answer(1)
        await plane.pass_time(600_000)
        assert held.attempts == [1, 2]
        assert plane.bus.dead() == []

    driven_buses.run(scenario)


def test_a_message_is_not_repeated_before_its_deadline(driven_buses):
    async def scenario(plane):
        held = await begun(plane)
        await plane.begin_time(ACK_MS - 1)
        held.answer(0)
        await plane.pass_time(600_000)
        assert held.attempts == [1]

    driven_buses.run(scenario)


def test_no_more_handlers_of_a_subscription_run_at_once_than_may(driven_buses):
    async def scenario(plane):
        held = subscribe(plane, "sub", handler=Held(), max_concurrent=2)
        await publish(plane, "a", "b", "c", "d")
        await plane.begin_time(0)
        await held.wait_for(2)
        for number in range(4):
            held.answer(number)
            if number < 2:
                await held.wait_for()
        await plane.pass_time(600_000)
        assert held.most == 2
        assert len(held.deliveries) == 4

    driven_buses.run(scenario)


def test_a_poisonous_message_is_dead_at_once_with_its_reason(driven_buses):
    async def scenario(plane):
        refusal = InvalidInput("no such run", fix="none")
        recorder = subscribe(plane, "sub", errors=[refusal])
        message = Message(b"poison", {"kind": "run"}, "key")
        await plane.bus.publish("runs", [message])
        await plane.pass_time(5)
        await plane.pass_time(600_000)
        assert recorder.attempts == [1]
        [dead] = plane.bus.dead()
        assert (dead.subscription, dead.topic, dead.message) == ("sub", "runs", message)
        assert dead.message_id == recorder.got[0][1].message_id
        assert dead.reason == "INVALID_ARGUMENT: no such run"
        assert (dead.attempt, dead.died_ms) == (1, plane.clock.now_ms() - 600_000)

    driven_buses.run(scenario)


def test_a_message_is_dead_after_so_many_deliveries(driven_buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub", errors=[ValueError("no luck")] * 9, max_deliveries=5)
        await publish(plane, "a")
        for _ in range(20):
            await plane.pass_time(1_000)
        assert recorder.attempts == [1, 2, 3, 4, 5]
        [dead] = plane.bus.dead()
        assert dead.attempt == 5
        assert dead.reason == (
            "DELIVERIES_EXHAUSTED: not acknowledged in 5 deliveries; the last: ValueError: no luck"
        )

    driven_buses.run(scenario)


def test_deliveries_over_their_deadline_count_too(driven_buses):
    async def scenario(plane):
        held = subscribe(plane, "sub", handler=Held(), max_deliveries=5)
        await publish(plane, "a")
        await plane.begin_time(0)
        for _ in range(5):
            await held.wait_for()
            await plane.begin_time(ACK_MS)
            await plane.begin_time(1_000)
        for number in range(5):
            held.answer(number)
        await plane.pass_time(600_000)
        assert held.attempts == [1, 2, 3, 4, 5]
        [dead] = plane.bus.dead()
        assert dead.reason.startswith("DELIVERIES_EXHAUSTED")

    driven_buses.run(scenario)


def test_the_dead_are_published_where_the_subscription_wants_them(driven_buses):
    async def scenario(plane):
        graves = subscribe(plane, "graves", topic="dead-runs")
        subscribe(
            plane, "sub", errors=[Conflict("an old plan")], dead_letter="dead-runs",
            max_deliveries=5,
        )  # fmt: skip
        await publish(plane, "a", attributes={"kind": "run"})
        await plane.pass_time(0)
        [(message, delivery)] = graves.got
        assert message.body == b"a"
        assert message.attributes["kind"] == "run"
        assert message.attributes["CloudPubSubDeadLetterSourceSubscription"] == "sub"
        assert message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "1"
        assert message.attributes["dead_letter_reason"] == "CONFLICT: an old plan"
        assert delivery.topic == "dead-runs"
        assert len(plane.bus.dead()) == 1

    driven_buses.run(scenario)


def test_the_dead_are_listed_newest_first_and_only_those_of_the_bus(driven_buses):
    async def scenario(plane):
        subscribe(plane, "first", "second", errors=[InvalidInput("no")] * 2)
        await publish(plane, "a")
        await plane.pass_time(1)
        await publish(plane, "b")
        await plane.pass_time(1)
        dead = plane.bus.dead()
        assert [d.message.body for d in dead] == [b"b", b"b", b"a", b"a"]
        assert plane.bus.dead(1) == dead[:1]

    driven_buses.run(scenario)


def test_messages_of_one_key_come_in_order_when_the_subscription_asks_for_it(driven_buses):
    async def scenario(plane):
        ordered = subscribe(plane, "ordered", errors=[ValueError("no")], in_order=True)
        await publish(plane, "a1", "a2", ordering_key="a")
        await publish(plane, "b1", ordering_key="b")
        await publish(plane, "a3", ordering_key="a")
        await publish(plane, "free1", "free2")
        await plane.pass_time(0)
        # The first of key a has failed: what follows it waits, the others do not.
        assert sorted(texts(ordered)) == ["a1", "b1", "free1", "free2"]
        await plane.pass_time(BACKOFF_MS)
        assert texts(ordered)[4:] == ["a1", "a2", "a3"]

    driven_buses.run(scenario)


def test_one_message_of_a_key_is_out_at_a_time(driven_buses):
    async def scenario(plane):
        held = subscribe(plane, "ordered", handler=Held(), in_order=True)
        await publish(plane, "a1", "a2", "a3", ordering_key="a")
        await plane.begin_time(0)
        for number in range(3):
            await held.wait_for()
            assert held.running == 1
            held.answer(number)
            await plane.begin_time(0)
        await plane.pass_time(600_000)
        assert len(held.deliveries) == 3

    driven_buses.run(scenario)


def test_a_dead_message_lets_the_next_one_of_its_key_go(driven_buses):
    async def scenario(plane):
        ordered = subscribe(plane, "ordered", errors=[InvalidInput("no")], in_order=True)
        await publish(plane, "a1", "a2", ordering_key="a")
        await plane.pass_time(0)
        assert texts(ordered) == ["a1", "a2"]
        assert len(plane.bus.dead()) == 1

    driven_buses.run(scenario)


def test_a_subscription_that_asks_for_no_order_does_not_wait(driven_buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub", errors=[ValueError("no")])
        await publish(plane, "a1", "a2", ordering_key="a")
        await plane.pass_time(0)
        assert sorted(texts(recorder)) == ["a1", "a2"]

    driven_buses.run(scenario)


def test_a_handler_may_publish(buses):
    async def scenario(plane):
        seen = []

        async def handler(message, delivery):
            seen.append(int(message.body))
            if seen[-1]:
                await publish(plane, str(seen[-1] - 1))

        plane.bus.subscribe("count", "runs", handler)
        await publish(plane, "5")
        await plane.pass_time(0)
        assert seen == [5, 4, 3, 2, 1, 0]

    buses.run(scenario)


def test_many_publish_at_once_and_nothing_is_lost(buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub")
        await asyncio.gather(*(publish(plane, f"{n}", f"{n}'") for n in range(50)))
        await plane.pass_time(0)
        assert sorted(texts(recorder)) == sorted(f"{n}{p}" for n in range(50) for p in ("", "'"))

    buses.run(scenario)


LONG = "x" * 2000


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (Message(b""), InvalidInput),
        (Message(b"x", {"": "v"}), InvalidInput),
        (Message(b"x", {"googkey": "v"}), InvalidInput),
        (Message(b"x", {LONG: "v"}), InvalidInput),
        (Message(b"x", {"k": LONG}), InvalidInput),
        (Message(b"x", {str(n): "" for n in range(MAX_ATTRIBUTES + 1)}), InvalidInput),
        (Message(b"x", ordering_key=LONG), InvalidInput),
        (Message(bytes(PUBLISH_LIMIT_BYTES + 1)), TooLarge),
    ],
    ids=range(8),
)
def test_a_message_that_pub_sub_would_refuse_is_refused_and_nothing_is_published(buses, bad, error):
    async def scenario(plane):
        recorder = subscribe(plane, "sub")
        with pytest.raises(error, match="fix"):
            await plane.bus.publish("runs", [Message(b"good"), bad])
        await plane.pass_time(0)
        assert recorder.got == []

    buses.run(scenario)


def test_a_call_is_limited_in_number_and_size(buses):
    async def scenario(plane):
        recorder = subscribe(plane, "sub")
        with pytest.raises(InvalidInput, match="several calls"):
            await plane.bus.publish("runs", [Message(b"x")] * (MAX_MESSAGES + 1))
        half = Message(bytes(PUBLISH_LIMIT_BYTES // 2))
        with pytest.raises(TooLarge, match="several calls"):
            await plane.bus.publish("runs", [half, half, Message(b"x")])
        await plane.bus.publish("runs", [half, half])
        await plane.bus.publish("runs", [Message(b"x")] * MAX_MESSAGES)
        await plane.pass_time(0)
        assert len(recorder.got) == MAX_MESSAGES + 2

    buses.run(scenario)


@pytest.mark.parametrize("name", ["", "ab", "1abc", "a b c", "googtopic", "a/bc", "é" * 3, LONG])
def test_a_name_that_pub_sub_would_refuse_is_refused(buses, name):
    async def scenario(plane):
        with pytest.raises(InvalidInput, match="can not name a"):
            await publish(plane, "x", topic=name)
        with pytest.raises(InvalidInput, match="can not name a"):
            subscribe(plane, "sub", topic=name)
        with pytest.raises(InvalidInput, match="can not name a"):
            subscribe(plane, name)

    buses.run(scenario)


def test_a_subscription_has_a_name_of_its_own(buses):
    async def scenario(plane):
        subscribe(plane, "sub")
        with pytest.raises(Conflict, match="there is a subscription"):
            subscribe(plane, "sub", topic="assets")

    buses.run(scenario)


@pytest.mark.parametrize(
    "fields",
    [
        {"ack_deadline_ms": 9_999},
        {"ack_deadline_ms": 600_001},
        {"min_backoff_ms": 0},
        {"min_backoff_ms": 2_000},
        {"max_backoff_ms": 600_001},
        {"max_deliveries": 4},
        {"max_deliveries": 101},
        {"dead_letter": "no topic"},
    ],
)
def test_settings_that_pub_sub_would_refuse_are_refused(fields):
    with pytest.raises(InvalidInput, match="fix"):
        settings_of(**fields)

"""A bus on a task queue: one queue per subscription, one task per subscription and message."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from arco_flow.adapters.delivery import DeadTask, Delivery, Handler, QueueSettings
from arco_flow.adapters.lanes import LaneOf
from arco_flow.adapters.subscriptions import (
    ATTRIBUTE_VALUE_BYTES,
    DeadMessage,
    MessageDelivery,
    MessageHandler,
    SubscriptionSettings,
    check_bus_name,
    check_messages,
)
from arco_flow.domain.errors import Conflict, Rejected
from arco_flow.domain.ids import queue_task_name
from arco_flow.ports.bus import Message
from arco_flow.ports.clock import Clock
from arco_flow.ports.tasks import NewTask

_PREFIX = "bus-"


class BusQueue(Protocol):
    """What a bus needs of the queue below it."""

    def register(self, route: str, handler: Handler) -> None:
        """Deliver tasks of this route to a handler."""
        ...

    def configure(
        self, queue: str, settings: QueueSettings, *, lane_of: LaneOf | None = None
    ) -> None:
        """Settings of a queue; lane_of: its tasks of one lane go one after the other."""
        ...

    async def enqueue_many(self, tasks: Sequence[NewTask]) -> list[bool]:
        """Add all of them, or none."""
        ...

    def dead(self, limit: int = 100, *, queues: Collection[str] = ()) -> list[DeadTask]:
        """Tasks of these queues (none given: of all) that were refused, newest first."""
        ...


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """A message as the body of a task."""

    topic: str
    message_id: str
    published_ms: int
    body: bytes
    attributes: Mapping[str, str]
    ordering_key: str

    @property
    def message(self) -> Message:
        return Message(self.body, self.attributes, self.ordering_key)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


@dataclass(frozen=True, slots=True)
class _Subscription:
    name: str
    topic: str
    handler: MessageHandler
    settings: SubscriptionSettings

    @property
    def queue(self) -> str:
        return _PREFIX + self.name


class QueueBus:
    """Topics, subscriptions and dead letters; when and how often is delivered is the queue's."""

    def __init__(self, queue: BusQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._topics: dict[str, list[_Subscription]] = {}
        self._subscriptions: dict[str, _Subscription] = {}

    def subscribe(
        self,
        subscription: str,
        topic: str,
        handler: MessageHandler,
        *,
        settings: SubscriptionSettings | None = None,
    ) -> None:
        """Deliver what is published to the topic from now on to `handler(message, delivery)`.

        A durable bus goes on with what the subscription of this name was not done with. Raises
        InvalidInput for a bad name, Conflict for one that is taken.
        """
        check_bus_name("subscription", subscription)
        check_bus_name("topic", topic)
        if subscription in self._subscriptions:
            raise Conflict(f"there is a subscription '{subscription}'", fix="choose another name")
        wanted = _Subscription(subscription, topic, handler, settings or SubscriptionSettings())
        self._subscriptions[subscription] = wanted
        self._topics.setdefault(topic, []).append(wanted)
        lane_of = _lane_of if wanted.settings.in_order else None
        self._queue.configure(wanted.queue, wanted.settings.as_queue(), lane_of=lane_of)
        self._queue.register(wanted.queue, self._handler(wanted))

    def dead(self, limit: int = 100) -> list[DeadMessage]:
        """Messages that subscriptions gave up, newest first."""
        queues = [subscription.queue for subscription in self._subscriptions.values()]
        tasks = self._queue.dead(limit, queues=queues) if queues else []
        return [_dead_message(task) for task in tasks]

    async def _publish(self, topic: str, messages: Sequence[Message]) -> None:
        check_messages(topic, messages)
        await self._spread(topic, messages)

    async def _spread(self, topic: str, messages: Sequence[Message]) -> None:
        now_ms = self._clock.now_ms()
        tasks = []
        for message in messages:
            message_id = self._clock.new_id()
            name = queue_task_name("e", message_id)
            wanted = [s for s in self._topics.get(topic, ()) if s.settings.matches(message)]
            if wanted:
                body = _packed(topic, message_id, now_ms, message)
                tasks += [NewTask(s.queue, name, s.queue, body) for s in wanted]
        if tasks:
            await self._queue.enqueue_many(tasks)

    def _handler(self, subscription: _Subscription) -> Handler:
        async def handle(body: bytes, delivery: Delivery) -> None:
            await self._deliver(subscription, _decoder.decode(body), delivery)

        return handle

    async def _deliver(
        self, subscription: _Subscription, packed: _Packed, delivery: Delivery
    ) -> None:
        limit = subscription.settings.max_deliveries
        told = MessageDelivery(
            subscription.name, packed.topic, packed.message_id, delivery.attempt,
            packed.published_ms,
        )  # fmt: skip
        try:
            if limit and delivery.attempt > limit:
                raise _exhausted(limit, "no acknowledgement in time")
            try:
                await subscription.handler(packed.message, told)
            except Rejected:
                raise
            except Exception as error:
                if limit and delivery.attempt >= limit:
                    raise _exhausted(limit, f"{type(error).__name__}: {error}") from error
                raise
        except Rejected as refusal:
            await self._forward(subscription, packed, delivery, refusal)
            raise

    async def _forward(
        self, subscription: _Subscription, packed: _Packed, delivery: Delivery, refusal: Rejected
    ) -> None:
        """Publish a dead message where the subscription wants its dead. Perhaps twice: it is dead
        only after this."""
        topic = subscription.settings.dead_letter
        if topic:
            attributes = {
                **packed.attributes,
                "CloudPubSubDeadLetterSourceSubscription": subscription.name,
                "CloudPubSubDeadLetterSourceDeliveryCount": str(delivery.attempt),
                "dead_letter_reason": _cut(f"{refusal.reason}: {refusal.message}"),
            }
            # Unchecked: our attributes may be one too many, and the message is not ours to refuse.
            await self._spread(topic, [Message(packed.body, attributes, packed.ordering_key)])


def _packed(topic: str, message_id: str, now_ms: int, message: Message) -> bytes:
    return _encoder.encode(
        _Packed(
            topic, message_id, now_ms, message.body, dict(message.attributes),
            message.ordering_key,
        )
    )  # fmt: skip


def _lane_of(body: bytes) -> tuple[str, str]:
    packed = _decoder.decode(body)
    return packed.ordering_key, packed.message_id


def _dead_message(task: DeadTask) -> DeadMessage:
    packed = _decoder.decode(task.body)
    return DeadMessage(
        task.queue.removeprefix(_PREFIX), packed.topic, packed.message_id, packed.message,
        task.attempt, task.reason, task.died_ms,
    )  # fmt: skip


def _exhausted(limit: int, last: str) -> Rejected:
    return Rejected(
        f"not acknowledged in {limit} deliveries; the last: {last}", reason="DELIVERIES_EXHAUSTED"
    )


def _cut(text: str) -> str:
    return text.encode()[:ATTRIBUTE_VALUE_BYTES].decode(errors="ignore")

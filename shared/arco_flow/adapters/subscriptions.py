"""What the embedded buses share: subscriptions, their filters, and what Pub/Sub would refuse."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from arco_flow.adapters.delivery import QueueSettings
from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.ports.bus import Message

MAX_MESSAGES = 1000
PUBLISH_LIMIT_BYTES = 8 * 1024 * 1024
"""Pub/Sub takes 10 MB per call; ours is lower, because names and framing count there too."""
MAX_ATTRIBUTES = 100
ATTRIBUTE_KEY_BYTES = 256
ATTRIBUTE_VALUE_BYTES = 1024
ORDERING_KEY_BYTES = 1024

_NAME = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A condition of a filter: the attribute is there with this value, or begins with it."""

    key: str
    value: str
    is_prefix: bool = False

    def holds(self, attributes: Mapping[str, str]) -> bool:
        """Whether a message with these attributes fulfils it."""
        found = attributes.get(self.key)
        if found is None:
            return False
        return found.startswith(self.value) if self.is_prefix else found == self.value


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    """How a subscription gets its messages. The ranges and most defaults are those of Pub/Sub.

    ack_deadline_ms: a delivery that is not acknowledged by then is repeated, though its handler
    may go on. The back-off after a failure doubles between its bounds.
    max_deliveries: after so many a message is dead, 0 = it is repeated for ever.
    filter: all of the conditions hold; other messages are not delivered.
    dead_letter: the topic to which the dead are published as well, "" = none.
    in_order: messages of one ordering key are delivered one after the other as published.
    max_concurrent: handlers at once.
    """

    ack_deadline_ms: int = 10_000
    min_backoff_ms: int = 10_000
    max_backoff_ms: int = 600_000
    max_deliveries: int = 0
    filter: tuple[Attribute, ...] = ()
    dead_letter: str = ""
    in_order: bool = False
    max_concurrent: int = 64

    def __post_init__(self) -> None:
        if not 10_000 <= self.ack_deadline_ms <= 600_000:
            raise InvalidInput(
                f"the ack deadline can not be {self.ack_deadline_ms} ms", fix="10 s to 600 s"
            )
        if not 0 < self.min_backoff_ms <= self.max_backoff_ms <= 600_000:
            raise InvalidInput(
                f"the back-off can not be {self.min_backoff_ms} to {self.max_backoff_ms} ms",
                fix="above 0, at most 600 s",
            )
        if self.max_deliveries and not 5 <= self.max_deliveries <= 100:
            raise InvalidInput(
                f"max_deliveries can not be {self.max_deliveries}", fix="5 to 100, or 0 for no end"
            )
        if self.dead_letter:
            check_bus_name("topic", self.dead_letter)

    def matches(self, message: Message) -> bool:
        """Whether the filter lets the message through."""
        return all(condition.holds(message.attributes) for condition in self.filter)

    def as_queue(self) -> QueueSettings:
        """The settings of the queue behind the subscription."""
        return QueueSettings(
            max_concurrent=self.max_concurrent,
            min_backoff_ms=self.min_backoff_ms,
            max_backoff_ms=self.max_backoff_ms,
            dispatch_deadline_ms=self.ack_deadline_ms,
        )


@dataclass(frozen=True, slots=True)
class MessageDelivery:
    """One delivery of a message. attempt: 1 for the first; published_ms: UTC epoch ms."""

    subscription: str
    topic: str
    message_id: str
    attempt: int
    published_ms: int


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message that a subscription gave up. reason: what its handler raised last."""

    subscription: str
    topic: str
    message_id: str
    message: Message
    attempt: int
    reason: str
    died_ms: int


MessageHandler = Callable[[Message, MessageDelivery], Awaitable[None]]
"""Returning acknowledges; Rejected makes the message dead; anything else has it repeated."""


def check_bus_name(what: str, name: str) -> None:
    """Raises InvalidInput on a name of a topic or subscription that Pub/Sub would refuse."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name}' can not name a {what}",
            fix="3 to 255 letters, digits or '-._~+%', a letter first, not 'goog'",
        )


def check_messages(topic: str, messages: Sequence[Message]) -> None:
    """Raises InvalidInput or TooLarge on what Pub/Sub would refuse, before it gets there."""
    check_bus_name("topic", topic)
    if len(messages) > MAX_MESSAGES:
        raise InvalidInput(
            f"{len(messages)} messages in one call; {MAX_MESSAGES} at most",
            fix="publish in several calls",
        )
    for message in messages:
        _check_message(topic, message)
    size = sum(map(_size_of, messages))
    if size > PUBLISH_LIMIT_BYTES:
        raise TooLarge(
            f"{size:,} bytes in one call to '{topic}'; {PUBLISH_LIMIT_BYTES:,} at most",
            fix="publish in several calls, or keep large content in an object and send its key",
            details={"topic": topic, "size": size, "limit": PUBLISH_LIMIT_BYTES},
        )


def _check_message(topic: str, message: Message) -> None:
    if not message.body and not message.attributes:
        raise InvalidInput(f"an empty message for '{topic}'", fix="give a body or an attribute")
    if len(message.attributes) > MAX_ATTRIBUTES:
        raise _refused(topic, f"has {len(message.attributes)} attributes, over {MAX_ATTRIBUTES}")
    if len(message.ordering_key.encode()) > ORDERING_KEY_BYTES:
        raise _refused(topic, f"has an ordering key over {ORDERING_KEY_BYTES} bytes")
    for key, value in message.attributes.items():
        if not 0 < len(key.encode()) <= ATTRIBUTE_KEY_BYTES or key.startswith("goog"):
            raise _refused(topic, f"has the attribute {key[:80]!r}, which is no key")
        if len(value.encode()) > ATTRIBUTE_VALUE_BYTES:
            raise _refused(topic, f"has over {ATTRIBUTE_VALUE_BYTES} bytes in '{key}'")


def _refused(topic: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"a message for '{topic}' {why}",
        fix=f"keys of 1 to {ATTRIBUTE_KEY_BYTES} bytes that do not begin with 'goog', values of"
        f" {ATTRIBUTE_VALUE_BYTES} at most; what is long goes into the body",
    )


def _size_of(message: Message) -> int:
    attributes = sum(
        len(key.encode()) + len(value.encode()) for key, value in message.attributes.items()
    )
    return len(message.body) + len(message.ordering_key.encode()) + attributes

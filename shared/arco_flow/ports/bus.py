"""The bus: messages to whoever subscribed to a topic, at least once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """What is published. attributes: short strings that subscriptions filter by.

    ordering_key: messages of one key reach a subscription that asks for order one after the
    other, as they were published; "" = none.
    """

    body: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""


class Bus(Protocol):
    """Deliver each message to every subscription of its topic: at least once, perhaps late,
    twice, and after one that was published later."""

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Publish all of them, in order; they are durable when this returns.

        Raises InvalidInput and TooLarge for what Pub/Sub would refuse, Unavailable when none was
        published, OutcomeUnknown when some may have been.
        """
        ...

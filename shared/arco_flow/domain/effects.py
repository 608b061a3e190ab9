"""Effects: what a decision wants done, as data, committed with it and submitted after it.

Each has a deterministic id. Submitting one twice is harmless: queue tasks are named by the id,
events carry their own id, a pointer never moves backwards.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arco_flow.domain.events import Event, decode_event, encode_event
from arco_flow.domain.stored_forms import read_stored


class DispatchAttempt(msgspec.Struct, frozen=True, tag="dispatch", array_like=True):
    """Send one attempt of a task to a worker.

    generation: 0 for the first send; a repair of a lost send raises it, because a queue forgets
    no name within its de-duplication window.
    """

    run_id: str
    task_index: int
    attempt: int
    generation: int = 0

    @property
    def id(self) -> str:
        """Unique within the run."""
        return f"d:{self.task_index}:{self.attempt}:{self.generation}"


class SetTimer(msgspec.Struct, frozen=True, tag="timer", array_like=True):
    """Wake the entity with TimerFired(generation) at a time (UTC epoch ms)."""

    entity: str
    generation: int
    at_ms: int

    @property
    def id(self) -> str:
        """Unique within the entity."""
        return f"t:{self.generation}"


class StopAttempt(msgspec.Struct, frozen=True, tag="stop", array_like=True):
    """Stop the worker of an attempt by force where the platform lets us; a hint, not a guard."""

    run_id: str
    attempt_id: str
    worker_id: str
    reason: str

    @property
    def id(self) -> str:
        """Unique within the run."""
        return f"s:{self.attempt_id}"


class SendEvent(msgspec.Struct, frozen=True, tag="event", array_like=True):
    """Put an event into another entity's mailbox. `event` is the encoded event."""

    entity: str
    event_id: str
    event: msgspec.Raw

    @property
    def id(self) -> str:
        """Unique within the sender."""
        return f"e:{self.entity}:{self.event_id}"

    @classmethod
    def of(cls, entity: str, event: Event) -> SendEvent:
        """The effect that delivers `event` to `entity`."""
        return cls(entity, event.id, msgspec.Raw(encode_event(event)))

    def decoded(self) -> Event:
        """The event to deliver."""
        return decode_event(bytes(self.event))


class SwapPointer(msgspec.Struct, frozen=True, tag="pointer", array_like=True):
    """Make a version current: write the pointer object unless it is newer already.

    body: JSON of the pointer object; `promotion` in it is the fence.
    """

    path: str
    promotion: int
    body: dict[str, Any]

    @property
    def id(self) -> str:
        """Unique within the asset."""
        return f"p:{self.promotion}"


Effect = DispatchAttempt | SetTimer | StopAttempt | SendEvent | SwapPointer

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Effect])


def encode_owed(effects: tuple[Effect, ...]) -> bytes:
    """What an entity still owes, in order."""
    return _encoder.encode(effects)


def decode_owed(raw: bytes) -> tuple[Effect, ...]:
    """Inverse of encode_owed; empty bytes are an empty debt. Raises Unavailable for others."""
    if not raw:
        return ()
    found = read_stored(_decoder, raw, "what an entity owes")
    return tuple(found)

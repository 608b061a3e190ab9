"""What every `decide` returns, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from arco_flow.domain.effects import Effect
from arco_flow.domain.events import Event, decode_event, encode_event

S = TypeVar("S")

APPLIED = "applied"
IGNORED = "ignored"
DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: an event and what became of it.

    disposition: applied, ignored (with a reason), or derived (a fact that this decision made).
    """

    event: Event
    disposition: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """The whole outcome of one fold.

    state: the new state; ledger: entries in order; effects: new debts, in order;
    rows: documents of the entity to write (None deletes), too many for its head.
    """

    state: S
    ledger: tuple[Entry, ...] = ()
    effects: tuple[Effect, ...] = ()
    rows: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def is_noop(self) -> bool:
        """Nothing to write down."""
        return not (self.ledger or self.effects or self.rows)


class _Line(msgspec.Struct, array_like=True):
    event: msgspec.Raw
    disposition: str
    reason: str = ""


class _Segment(msgspec.Struct, rename="camel"):
    version: int
    now_ms: int
    order_version: int
    lines: list[_Line]


@dataclass(frozen=True, slots=True)
class Segment:
    """One commit's part of the ledger: replaying it needs only its events, now and order."""

    version: int
    now_ms: int
    order_version: int
    entries: tuple[Entry, ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Segment)


def encode_segment(segment: Segment) -> bytes:
    """JSON bytes of a ledger segment."""
    lines = [
        _Line(msgspec.Raw(encode_event(e.event)), e.disposition, e.reason) for e in segment.entries
    ]
    return _encoder.encode(_Segment(segment.version, segment.now_ms, segment.order_version, lines))


def decode_segment(raw: bytes) -> Segment:
    """Inverse of encode_segment."""
    wire = _decoder.decode(raw)
    entries = tuple(
        Entry(decode_event(bytes(line.event)), line.disposition, line.reason) for line in wire.lines
    )
    return Segment(wire.version, wire.now_ms, wire.order_version, entries)

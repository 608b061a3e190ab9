"""What every `decide` returns, and how it is written down."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from arco_flow.domain.effects import Effect
from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.domain.events import Event, decode_event, encode_event
from arco_flow.domain.stored_forms import damaged, read_stored

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


COMPRESS_BYTES = 256 * 1024
"""A segment of more is stored compressed: one event can end ten thousand tasks, each with a line
of its own, and a segment is one document."""
_ZLIB = b"\x78"
"""First byte of a zlib stream (RFC 1950, 32 KiB window); JSON of ours begins with a brace."""
MAX_SEGMENT_BYTES = 64 * 1024 * 1024
"""Of a segment that is not compressed: a thousand bytes of zlib can stand for a million."""


def encode_segment(segment: Segment) -> bytes:
    """Bytes of a ledger segment: JSON, compressed with zlib over COMPRESS_BYTES.

    Raises TooLarge over MAX_SEGMENT_BYTES, which no reader would take.
    """
    lines = [
        _Line(msgspec.Raw(encode_event(e.event)), e.disposition, e.reason) for e in segment.entries
    ]
    wire = _Segment(segment.version, segment.now_ms, segment.order_version, lines)
    raw = _encoder.encode(wire)
    if len(raw) > MAX_SEGMENT_BYTES:
        raise TooLarge(
            f"a ledger segment would take {len(raw)} bytes (at most {MAX_SEGMENT_BYTES})",
            fix="give partitions shorter names, or split the selection over several runs",
        )
    return raw if len(raw) <= COMPRESS_BYTES else zlib.compress(raw)


def decode_segment(raw: bytes) -> Segment:
    """Inverse of encode_segment. Raises Unavailable when the bytes are no segment."""
    wire = read_stored(_decoder, inflated(raw), _WHAT)
    try:
        entries = tuple(
            Entry(decode_event(bytes(line.event)), line.disposition, line.reason)
            for line in wire.lines
        )
    except InvalidInput as error:
        raise damaged(_WHAT, error) from error
    return Segment(wire.version, wire.now_ms, wire.order_version, entries)


_WHAT = "a segment of the ledger"


def inflated(raw: bytes) -> bytes:
    """A segment as it was before it was compressed. Raises Unavailable when the bytes are none."""
    if not raw.startswith(_ZLIB):
        return raw
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(raw, MAX_SEGMENT_BYTES)
    except zlib.error as error:
        raise damaged(_WHAT, error) from error
    if not stream.eof or stream.unused_data:
        raise damaged(_WHAT, ValueError("it ends early, late or not at all"))
    return found

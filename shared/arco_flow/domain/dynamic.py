"""Dynamic partitions: keys added and deleted at run time, one row each, in insertion order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from arco_flow.domain.decision import APPLIED, IGNORED, Decision, Entry
from arco_flow.domain.events import (
    DimensionDeclared,
    DynamicPartitionsChanged,
    Event,
    event_type,
)
from arco_flow.domain.ids import document_id
from arco_flow.domain.partition_parts import is_part
from arco_flow.domain.recent import remembered
from arco_flow.domain.stored_forms import read_stored


class DynamicKey(msgspec.Struct, frozen=True, array_like=True):
    """One key: its name, its place in insertion order, when it was added (epoch ms)."""

    name: str
    place: int
    added_ms: int


class DynamicCounters(msgspec.Struct, frozen=True, array_like=True):
    """The packed head state. recent: ids of the events that were applied last. joined_after: the
    last revision of the workspace's deployment that was to be replaced by one which joins the keys
    with others; whoever knows no later one may add no key that could not be joined. -1: none."""

    version: int = 0
    next_place: int = 0
    count: int = 0
    recent: tuple[str, ...] = ()
    joined_after: int = -1


@dataclass(frozen=True, slots=True)
class DynamicSet:
    """State of the entity: counters and the rows that a batch touches, by `document_id`."""

    counters: DynamicCounters
    rows: dict[str, DynamicKey]


_decoder = msgspec.json.Decoder(DynamicKey)
_counters_decoder = msgspec.msgpack.Decoder(DynamicCounters)


def decode_dynamic_key(raw: bytes) -> DynamicKey:
    """Decode a row. Raises Unavailable when the bytes are none."""
    return read_stored(_decoder, raw, "a key of dynamic partitions")


def decode_dynamic_counters(packed: bytes) -> DynamicCounters:
    """Unpack a head. Raises Unavailable when the bytes are none."""
    return read_stored(_counters_decoder, packed, "the counters of dynamic partitions")


def rows_needed(events: Sequence[Event]) -> tuple[str, ...]:
    """Rows of the keys that a batch touches."""
    rows: dict[str, None] = {}
    for event in events:
        if isinstance(event.data, DynamicPartitionsChanged):
            rows.update(dict.fromkeys(map(document_id, (*event.data.added, *event.data.deleted))))
    return tuple(rows)


def decide_dynamic(state: DynamicSet, events: Sequence[Event], now_ms: int) -> Decision[DynamicSet]:
    """Add and delete keys. Adding an existing key and deleting a missing one change nothing;
    a key that is in both lists of one event ends up deleted. An event that comes again changes
    nothing: its keys may have been deleted since. What may be a dimension by now, for all that the
    sender knows, takes no key that can not be joined.
    """
    folding = _Folding(state, now_ms)
    entries = []
    for event in events:
        reason = folding.take(event)
        entries.append(Entry(event, IGNORED if reason else APPLIED, reason))
    if not entries:
        return Decision(state)
    counters = DynamicCounters(
        version=state.counters.version + 1,
        next_place=folding.next_place,
        count=folding.count,
        recent=folding.recent,
        joined_after=folding.joined_after,
    )
    after = replace(state, counters=counters, rows=folding.known)
    return Decision(after, tuple(entries), (), folding.rows)


class _Folding:
    """A state on its way through a batch. rows: what is to be written."""

    def __init__(self, state: DynamicSet, now_ms: int) -> None:
        counters = state.counters
        self._seen: int | None = counters.version
        self._now_ms = now_ms
        self.rows: dict[str, bytes | None] = {}
        self.known = dict(state.rows)
        self.next_place, self.count = counters.next_place, counters.count
        self.recent, self.joined_after = counters.recent, counters.joined_after

    def take(self, event: Event) -> str:
        """Apply an event; why it is ignored, "" when it is not."""
        data = event.data
        if event.id in self.recent:
            return "duplicate"
        if isinstance(data, DimensionDeclared):
            if self._seen != data.seen:
                return "overtaken: the keys have changed since they were looked at"
            self.joined_after = max(self.joined_after, data.replaces)
        elif isinstance(data, DynamicPartitionsChanged):
            odd = next((name for name in data.added if not is_part(name)), None)
            if odd is not None and data.as_of <= self.joined_after:
                return f"no key of a dimension: {odd}"
            self._change(data)
        else:
            return f"unknown event type {event_type(data)}"
        self.recent = remembered(self.recent, (event.id,))
        return ""

    def _change(self, data: DynamicPartitionsChanged) -> None:
        self._seen = None
        for name in data.added:
            row = document_id(name)
            if row not in self.known:
                self.known[row] = DynamicKey(name, self.next_place, self._now_ms)
                self.rows[row] = msgspec.json.encode(self.known[row])
                self.next_place, self.count = self.next_place + 1, self.count + 1
        for row in map(document_id, data.deleted):
            if self.known.pop(row, None) is not None:
                self.rows[row] = None
                self.count -= 1

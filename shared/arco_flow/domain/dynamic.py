"""Dynamic partitions: keys added and deleted at run time, one row each, in insertion order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from arco_flow.domain.decision import APPLIED, IGNORED, Decision, Entry
from arco_flow.domain.events import DynamicPartitionsChanged, Event, event_type
from arco_flow.domain.ids import document_id
from arco_flow.domain.recent import remembered
from arco_flow.domain.stored_forms import read_stored


class DynamicKey(msgspec.Struct, frozen=True, array_like=True):
    """One key: its name, its place in insertion order, when it was added (epoch ms)."""

    name: str
    place: int
    added_ms: int


class DynamicCounters(msgspec.Struct, frozen=True, array_like=True):
    """The packed head state. recent: ids of the events that were applied last."""

    version: int = 0
    next_place: int = 0
    count: int = 0
    recent: tuple[str, ...] = ()


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
    nothing: its keys may have been deleted since."""
    entries: list[Entry] = []
    rows: dict[str, bytes | None] = {}
    known = dict(state.rows)
    next_place, count = state.counters.next_place, state.counters.count
    recent = state.counters.recent
    for event in events:
        data = event.data
        if not isinstance(data, DynamicPartitionsChanged):
            entries.append(Entry(event, IGNORED, f"unknown event type {event_type(data)}"))
            continue
        if event.id in recent:
            entries.append(Entry(event, IGNORED, "duplicate"))
            continue
        entries.append(Entry(event, APPLIED))
        recent = remembered(recent, (event.id,))
        for name in data.added:
            row = document_id(name)
            if row not in known:
                known[row] = DynamicKey(name, next_place, now_ms)
                rows[row] = msgspec.json.encode(known[row])
                next_place, count = next_place + 1, count + 1
        for row in map(document_id, data.deleted):
            if known.pop(row, None) is not None:
                rows[row] = None
                count -= 1
    if not entries:
        return Decision(state)
    counters = DynamicCounters(state.counters.version + 1, next_place, count, recent)
    return Decision(replace(state, counters=counters, rows=known), tuple(entries), (), rows)

"""The asset entity: single writer of its part of the catalog.

One row per partition says which version is current. Racing results are ordered by
(accepted_ms, run_id, attempt_id): whatever order their requests arrive in, the same one ends
up current, and the pointer never moves backwards because its promotion number only grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from arco_flow.domain.decision import APPLIED, DERIVED, IGNORED, Decision, Entry
from arco_flow.domain.effects import Effect, SwapPointer
from arco_flow.domain.events import (
    Event,
    MaterializationPromoted,
    PromotionRequested,
    event_type,
)
from arco_flow.domain.ids import Scope, partition_segment, pointer_path, version_prefix
from arco_flow.domain.stored_forms import read_stored


class Materialization(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The current version of one partition. Times are store times (epoch ms)."""

    partition: str
    name: str
    attempt_id: str
    run_id: str
    promotion: int
    accepted_ms: int
    promoted_ms: int
    code_version: str
    output: dict[str, Any] = {}

    @property
    def fence(self) -> tuple[int, str, str]:
        """What orders racing results of a partition."""
        return (self.accepted_ms, self.run_id, self.attempt_id)


_row_decoder = msgspec.json.Decoder(Materialization)


def decode_materialization(raw: bytes) -> Materialization:
    """Decode a catalog row. Raises Unavailable when the bytes are none."""
    return read_stored(_row_decoder, raw, "a row of the catalog")


class Counters(msgspec.Struct, frozen=True, array_like=True):
    """The packed head state of an asset. rows: how many partitions it has; 0 with promotions where
    nobody has counted, in heads that were begun before it was."""

    version: int = 0
    promotion: int = 0
    last_promoted_ms: int = 0
    rows: int = 0


_counters_decoder = msgspec.msgpack.Decoder(Counters)


def decode_counters(packed: bytes) -> Counters:
    """Unpack a head. Raises Unavailable when the bytes are none."""
    return read_stored(_counters_decoder, packed, "the counters of an asset")


@dataclass(frozen=True, slots=True)
class AssetCatalog:
    """State of the asset entity: its counters and the rows that a batch touches."""

    scope: Scope
    key: str
    counters: Counters
    rows: dict[str, Materialization]


def rows_needed(events: Sequence[Event]) -> tuple[str, ...]:
    """Partitions whose rows a batch touches."""
    touched = (e.data.partition for e in events if isinstance(e.data, PromotionRequested))
    return tuple(dict.fromkeys(row_key(partition) for partition in touched))


def row_key(partition: str) -> str:
    """Key of a partition's row; never empty, and never longer than a document's id may be."""
    return partition_segment(partition)


def _order(event: Event) -> tuple[int, str]:
    accepted = event.data.accepted_ms if isinstance(event.data, PromotionRequested) else 0
    return (accepted, event.id)


def decide_asset(
    catalog: AssetCatalog, events: Sequence[Event], now_ms: int
) -> Decision[AssetCatalog]:
    """Fold promotion requests into the catalog. Total: never raises on an event."""
    rows = dict(catalog.rows)
    changed: dict[str, bytes | None] = {}
    entries: list[Entry] = []
    effects: list[Effect] = []
    counters = catalog.counters
    for event in sorted(events, key=_order):
        data = event.data
        if not isinstance(data, PromotionRequested):
            entries.append(Entry(event, IGNORED, f"unknown event type {event_type(data)}"))
            continue
        key = row_key(data.partition)
        reason = _refusal(rows.get(key), data)
        if reason:
            entries.append(Entry(event, IGNORED, reason))
            continue
        is_counted = bool(counters.rows) or not counters.promotion
        counters = msgspec.structs.replace(
            counters,
            promotion=counters.promotion + 1,
            last_promoted_ms=now_ms,
            rows=counters.rows + (is_counted and key not in rows),
        )
        row = _row(data, counters.promotion, now_ms)
        rows[key] = row
        changed[key] = msgspec.json.encode(row)
        effects.append(_swap(catalog, row))
        entries.append(Entry(event, APPLIED))
        entries.append(Entry(_promoted(catalog, event, row, now_ms), DERIVED))
    if not entries:
        return Decision(catalog)
    counters = msgspec.structs.replace(counters, version=counters.version + 1)
    state = replace(catalog, counters=counters, rows=rows)
    return Decision(state, tuple(entries), tuple(effects), changed)


def _refusal(current: Materialization | None, data: PromotionRequested) -> str:
    if current is None:
        return ""
    if current.attempt_id == data.attempt_id:
        return "duplicate"
    if current.fence > (data.accepted_ms, data.run_id, data.attempt_id):
        return f"superseded: attempt {current.attempt_id} was accepted later and is current"
    return ""


def _row(data: PromotionRequested, promotion: int, now_ms: int) -> Materialization:
    return Materialization(
        partition=data.partition,
        name=data.partition_name,
        attempt_id=data.attempt_id,
        run_id=data.run_id,
        promotion=promotion,
        accepted_ms=data.accepted_ms,
        promoted_ms=now_ms,
        code_version=data.code_version_id,
        output=data.output,
    )


def _swap(catalog: AssetCatalog, row: Materialization) -> SwapPointer:
    prefix = version_prefix(catalog.scope, catalog.key, row.partition, row.attempt_id)
    body = {
        "promotion": row.promotion,
        "attemptId": row.attempt_id,
        "runId": row.run_id,
        "version": prefix,
        "promotedMs": row.promoted_ms,
    }
    path = pointer_path(catalog.scope, catalog.key, row.partition)
    return SwapPointer(path, row.promotion, body)


def _promoted(catalog: AssetCatalog, event: Event, row: Materialization, now_ms: int) -> Event:
    return Event(
        id=f"promoted:{row.promotion}",
        time_ms=now_ms,
        subject=catalog.key,
        data=MaterializationPromoted(row.partition, row.attempt_id, row.promotion),
        actor="plane",
        correlation=event.correlation,
        causation=event.id,
    )

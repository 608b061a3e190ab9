"""Deployments: which manifest is current, and what a new one changes.

The deployment entity keeps the current manifest's id in its head and one row per deployment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from arco_flow.domain.decision import APPLIED, IGNORED, Decision, Entry
from arco_flow.domain.events import Event, ManifestDeployed, event_type
from arco_flow.domain.manifest import AssetSpec, Manifest
from arco_flow.domain.recent import remembered
from arco_flow.domain.stored_forms import read_stored


class Deployment(msgspec.Struct, frozen=True, rename="camel"):
    """The packed head state. number 0 = nothing was deployed yet. recent: ids of the events that
    made the last deployments; a row holds none. confirmed: how often what is current was deployed
    once more."""

    number: int = 0
    manifest_id: str = ""
    code_version_id: str = ""
    asset_count: int = 0
    location: dict[str, str] = {}
    deployed_ms: int = 0
    actor: str = ""
    version: int = 0
    recent: tuple[str, ...] = ()
    confirmed: int = 0

    @property
    def revision(self) -> int:
        """What a deployment names that is to replace this state: the next one has another."""
        return self.number + self.confirmed

    def is_of(self, data: ManifestDeployed) -> bool:
        """Whether what is current is what an event brings."""
        return (self.manifest_id, self.location) == (data.manifest_id, data.location)

    def number_of(self, event_id: str) -> int:
        """Number of the deployment that an event made; 0 when it made none of the recent ones."""
        if event_id not in self.recent:
            return 0
        return self.number + 1 - (len(self.recent) - self.recent.index(event_id))


_decoder = msgspec.msgpack.Decoder(Deployment)


_row_decoder = msgspec.json.Decoder(Deployment)


def decode_deployment(packed: bytes) -> Deployment:
    """Unpack a head. Raises Unavailable when the bytes are none."""
    return read_stored(_decoder, packed, "a deployment")


def row_key(number: int) -> str:
    """Key of the row of a deployment, by its number."""
    return f"{number:08d}"


def decode_row(raw: bytes) -> Deployment:
    """Decode the row of a deployment. Raises Unavailable when the bytes are none."""
    return read_stored(_row_decoder, raw, "a row of a deployment")


def decide_deployment(
    current: Deployment, events: Sequence[Event], now_ms: int
) -> Decision[Deployment]:
    """Make the latest deployed manifest current. An event that comes again changes nothing, nor
    does one that was to replace another state: each may be older than what is current. One that
    brings what is current confirms it, so that what was to replace it before comes too late.
    """
    entries: list[Entry] = []
    rows: dict[str, bytes | None] = {}
    state = current
    for event in events:
        data = event.data
        if not isinstance(data, ManifestDeployed):
            entries.append(Entry(event, IGNORED, f"unknown event type {event_type(data)}"))
            continue
        if event.id in state.recent:
            entries.append(Entry(event, IGNORED, "duplicate"))
            continue
        if data.replaces not in (None, state.revision):
            reason = f"overtaken: revision {state.revision} is current, not {data.replaces}"
            entries.append(Entry(event, IGNORED, reason))
            continue
        if data.replaces and state.is_of(data):
            state = msgspec.structs.replace(
                state, confirmed=state.confirmed + 1, version=current.version + 1
            )
            entries.append(Entry(event, APPLIED, "confirmed"))
            continue
        recent = remembered(state.recent, (event.id,))
        state = Deployment(
            number=state.number + 1,
            manifest_id=data.manifest_id,
            code_version_id=data.code_version_id,
            asset_count=data.asset_count,
            location=data.location,
            deployed_ms=now_ms,
            actor=event.actor,
            version=current.version + 1,
            confirmed=state.confirmed,
        )
        rows[row_key(state.number)] = msgspec.json.encode(state)
        state = msgspec.structs.replace(state, recent=recent)
        entries.append(Entry(event, APPLIED))
    return Decision(state, tuple(entries), (), rows)


@dataclass(frozen=True, slots=True)
class ManifestDiff:
    """What a manifest changes against the one before. changed: key -> aspects that differ."""

    added: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the two declare the same."""
        return not (self.added or self.changed or self.removed)


_STALE_MAKING = ("code", "dependencies", "partitions", "io")
"""Aspects whose change means that existing partitions were made by something else."""


def diff_manifests(before: Manifest | None, after: Manifest) -> ManifestDiff:
    """Compare two manifests asset by asset."""
    old = before.by_key() if before else {}
    new = after.by_key()
    changed = {
        key: aspects
        for key in sorted(old.keys() & new.keys())
        if (aspects := _aspects(old[key], new[key]))
    }
    return ManifestDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=changed,
        removed=tuple(sorted(old.keys() - new.keys())),
    )


def makes_stale(aspects: Sequence[str]) -> bool:
    """Whether a change makes the existing partitions stale."""
    return any(aspect in _STALE_MAKING for aspect in aspects)


def _aspects(before: AssetSpec, after: AssetSpec) -> tuple[str, ...]:
    pairs: dict[str, tuple[Any, Any]] = {
        "code": (before.code_version, after.code_version),
        "dependencies": (before.deps, after.deps),
        "partitions": (before.partitions, after.partitions),
        "io": (before.io, after.io),
        "retries": (before.retry, after.retry),
        "timeouts": (before.timeouts, after.timeouts),
        "checks": (before.checks, after.checks),
        "resources": (
            (before.resources, before.pool, before.priority),
            (after.resources, after.pool, after.priority),
        ),
        "labels": (_labels(before), _labels(after)),
    }
    return tuple(name for name, (old, new) in pairs.items() if old != new)


def _labels(spec: AssetSpec) -> tuple[Any, ...]:
    return (
        spec.kind,
        spec.group,
        spec.description,
        spec.tags,
        spec.metadata,
        spec.owners,
        spec.kinds,
    )

"""Events: facts about the past, in one closed union, and the envelope that carries them.

An event's id is derived from what happened, so a redelivery has the id of the first delivery.
Unknown types decode to `UnknownEvent` and fold as a no-op: a newer writer can not stop an
older reader. Fields are added, never changed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.stamps import rfc3339

SCHEMA_VERSION = 1


class EventData(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", tag_field="type"):
    """Base of all payloads; the tag `type` is the event type."""


class RunRequested(EventData, tag="RunRequested", frozen=True):
    """Somebody or something asked for a run."""

    run_key: str
    fingerprint: str
    request: dict[str, Any]


class RunTriggered(EventData, tag="RunTriggered", frozen=True):
    """The run key was reserved: this run exists.

    max_in_flight, cancel_grace_ms: of the plane's settings then, which every later decision of
    the run depends on; None in ledgers that were begun before they were written down.
    """

    run_id: str
    run_key: str
    trigger: str
    code_version_id: str
    manifest_id: str
    max_in_flight: int | None = None
    cancel_grace_ms: int | None = None


class PlanCreated(EventData, tag="PlanCreated", frozen=True):
    """The plan of the run is stored and will be executed as it stands."""

    plan_id: str
    task_count: int
    catalog_snapshot_id: str
    fingerprint: str


class RunKeyConflicted(EventData, tag="RunKeyConflicted", frozen=True):
    """A request reused the run key with another content; it made no run."""

    run_key: str
    accepted_fingerprint: str
    refused_fingerprint: str


class RunCancelRequested(EventData, tag="RunCancelRequested", frozen=True):
    """Cancel gracefully; forced when the grace period is over."""

    reason: str = ""


class TaskStarted(EventData, tag="TaskStarted", frozen=True):
    """A worker claimed the attempt and is about to call user code."""

    task: str
    attempt: int
    attempt_id: str
    worker_id: str


class TaskHeartbeat(EventData, tag="TaskHeartbeat", frozen=True):
    """The worker of the attempt is alive."""

    task: str
    attempt: int
    attempt_id: str
    worker_id: str
    progress_pct: int | None = None
    message: str | None = None


class TaskFinished(EventData, tag="TaskFinished", frozen=True):
    """The attempt is over: SUCCEEDED, FAILED or CANCELLED.

    digest: of the callback body, so that a replay is told from another outcome.
    output: what `_commit` says: rowCount, byteSize, schemaHash, contentHash, outputPath…
    error: category, message, stackTrace, retryable, types (names of the exception's classes).
    checks: results of the checks that ran on the value, in order.
    """

    task: str
    attempt: int
    attempt_id: str
    worker_id: str
    outcome: str
    digest: str
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    checks: list[dict[str, Any]] | None = None


class WorkersLost(EventData, tag="WorkersLost", frozen=True):
    """The plane that held the workers died with them; only workers of this prefix live.

    Unlike a worker that falls silent this is the plane's own doing, so it costs no retry.
    """

    survivors_prefix: str


class CallbackDuplicated(EventData, tag="CallbackDuplicated", frozen=True):
    """A callback that was already accepted came again; recorded, changes nothing."""

    task: str
    attempt: int
    attempt_id: str
    callback: str
    worker_id: str = ""


class TimerFired(EventData, tag="TimerFired", frozen=True):
    """The entity's deadline timer of this generation came due."""

    generation: int


class PromotionRequested(EventData, tag="PromotionRequested", frozen=True):
    """A run accepted a result: the asset shall make it the current version of its partition.

    accepted_ms: when the run's fold accepted it (store time); with run and attempt it orders
    racing results, so that every replica of the decision picks the same winner.
    """

    partition: str
    partition_name: str
    run_id: str
    attempt_id: str
    accepted_ms: int
    code_version_id: str
    output: dict[str, Any]
    inputs_digest: str = ""


class DynamicPartitionsChanged(EventData, tag="DynamicPartitionsChanged", frozen=True):
    """Keys were added to or deleted from a dynamic partitions definition.

    as_of: revision of the workspace's deployment that says what is a dimension; -1 in ledgers from
    before it was written down.
    """

    definition: str
    added: list[str] = []
    deleted: list[str] = []
    as_of: int = -1


class DimensionDeclared(EventData, tag="DimensionDeclared", frozen=True):
    """A deployment shall join the keys of a dynamic definition with others, and has looked at them.

    seen: version of the keys that were looked at; when others have come since it is ignored.
    replaces: revision of the workspace's deployment that it is to replace, and no other.
    """

    definition: str
    seen: int
    replaces: int


class ManifestDeployed(EventData, tag="ManifestDeployed", frozen=True):
    """A validated manifest became the current one of the workspace.

    replaces: revision of the state that it was compared with, 0 = of nothing; while another one is
    current it is ignored. None: whichever is current, in ledgers from before it was written down.
    request_id: as the client named the request, "" when it did not.
    """

    manifest_id: str
    code_version_id: str
    asset_count: int
    location: dict[str, str] = {}
    replaces: int | None = None
    request_id: str = ""


class LeadershipTaken(EventData, tag="LeadershipTaken", frozen=True):
    """A process took a lease that another one had held. token: of the grant, ever growing."""

    lease: str
    holder: str
    token: int
    previous: str = ""


# Facts that a decision derives; they appear in the ledger, never in an inbox.


class RunStateChanged(EventData, tag="RunStateChanged", frozen=True):
    """The run moved from one state to another."""

    before: str
    after: str
    reason: str = ""


class TaskStateChanged(EventData, tag="TaskStateChanged", frozen=True):
    """A task moved; `attempt` is the current one after the move."""

    task: str
    before: str
    after: str
    attempt: int
    reason: str = ""


class MaterializationPromoted(EventData, tag="MaterializationPromoted", frozen=True):
    """The asset gave the version its promotion number; the pointer follows."""

    partition: str
    attempt_id: str
    promotion: int


class UnknownEvent(msgspec.Struct, frozen=True):
    """A payload of a type this code does not know: kept, folded as a no-op."""

    type: str
    data: dict[str, Any]


AnyEvent = (
    RunRequested
    | RunTriggered
    | PlanCreated
    | RunKeyConflicted
    | RunCancelRequested
    | TaskStarted
    | TaskHeartbeat
    | TaskFinished
    | CallbackDuplicated
    | WorkersLost
    | TimerFired
    | PromotionRequested
    | DynamicPartitionsChanged
    | DimensionDeclared
    | ManifestDeployed
    | LeadershipTaken
    | RunStateChanged
    | TaskStateChanged
    | MaterializationPromoted
)

EventPayload = AnyEvent | UnknownEvent


class Event(msgspec.Struct, frozen=True):
    """One event with what is known of its origin.

    id: deterministic within its entity; time_ms: store time of its acceptance (UTC epoch ms);
    subject: the entity; actor: who caused it (`user:…`, `worker:…`, `timer`, `sweeper`, `plane`);
    correlation: the run; causation: id of the event that led to this one.
    """

    id: str
    time_ms: int
    subject: str
    data: EventPayload
    actor: str
    correlation: str = ""
    causation: str = ""
    traceparent: str = ""


class _Wire(msgspec.Struct, omit_defaults=True, rename="camel"):
    id: str
    time_ms: int
    subject: str
    actor: str
    data: msgspec.Raw
    correlation: str = ""
    causation: str = ""
    traceparent: str = ""
    schema_version: int = SCHEMA_VERSION


class _Tag(msgspec.Struct):
    type: str


_payload_decoder = msgspec.json.Decoder(AnyEvent)
_wire_decoder = msgspec.json.Decoder(_Wire)
_tag_decoder = msgspec.json.Decoder(_Tag)
_encoder = msgspec.json.Encoder()
KNOWN_TYPES = frozenset(t.__struct_config__.tag for t in AnyEvent.__args__)


def event_type(payload: EventPayload) -> str:
    """The type name of a payload, known or not."""
    if isinstance(payload, UnknownEvent):
        return payload.type
    return str(type(payload).__struct_config__.tag)


def encode_event(event: Event) -> bytes:
    """JSON bytes of an event, as inbox items and ledger segments hold it."""
    data: object = event.data
    if isinstance(event.data, UnknownEvent):
        data = event.data.data
    wire = _Wire(
        id=event.id,
        time_ms=event.time_ms,
        subject=event.subject,
        actor=event.actor,
        data=msgspec.Raw(_encoder.encode(data)),
        correlation=event.correlation,
        causation=event.causation,
        traceparent=event.traceparent,
    )
    return _encoder.encode(wire)


def decode_event(raw: bytes) -> Event:
    """Inverse of encode_event. Raises InvalidInput when it is no event at all."""
    try:
        wire = _wire_decoder.decode(raw)
        payload = _decode_payload(bytes(wire.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not an event: {error}", reason="MALFORMED_EVENT") from error
    return Event(
        wire.id,
        wire.time_ms,
        wire.subject,
        payload,
        wire.actor,
        wire.correlation,
        wire.causation,
        wire.traceparent,
    )


def _decode_payload(raw: bytes) -> EventPayload:
    tag = _tag_decoder.decode(raw).type
    if tag in KNOWN_TYPES:
        known: AnyEvent = _payload_decoder.decode(raw)
        return known
    return UnknownEvent(tag, msgspec.json.decode(raw, type=dict[str, Any]))


def to_cloud_event(event: Event, source: str) -> dict[str, Any]:
    """The CloudEvents 1.0 form of an event, as APIs and ledgers show it."""
    shown = msgspec.to_builtins(event.data)
    if isinstance(event.data, UnknownEvent):
        shown = event.data.data
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": event_type(event.data),
        "time": rfc3339(event.time_ms),
        "subject": event.subject,
        "idempotencykey": event.id,
        "correlation": event.correlation,
        "causation": event.causation,
        "actor": event.actor,
        **({"traceparent": event.traceparent} if event.traceparent else {}),
        "schemaversion": SCHEMA_VERSION,
        "data": {k: v for k, v in shown.items() if k != "type"},
    }

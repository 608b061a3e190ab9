"""The ledger and what follows from it: no gap, no debt, equal when decided again."""

from __future__ import annotations

import msgspec

from arco_flow.adapters.limits import DOCUMENT_LIMIT_BYTES
from arco_flow.domain import asset as catalog
from arco_flow.domain import dynamic
from arco_flow.domain.decision import APPLIED, DERIVED, IGNORED
from arco_flow.domain.deployment import Deployment, decide_deployment
from arco_flow.domain.events import (
    PromotionRequested,
    TaskStateChanged,
)
from arco_flow.domain.ids import Entity
from arco_flow.simulation.history import History
from arco_flow.simulation.violation import ViolatedError
from arco_flow.simulation.world import RIVAL, SCOPE


def nothing_waits_and_nothing_is_owed(history: History) -> None:
    """I8, I14. Every debt was paid, every event folded."""
    for entity, waiting in history.inboxes.items():
        if waiting:
            raise ViolatedError(f"{entity} did not fold {waiting}")
    for entity, head in history.heads.items():
        if head.owed:
            raise ViolatedError(f"owed: {head.owed!r}\n{history.show(entity)}")
        if head.owed_since_ms:
            raise ViolatedError(f"owes nothing since {head.owed_since_ms}: {entity}")
        if head.timer_ms:
            raise ViolatedError(f"waits for a timer of {head.timer_ms}: {entity}")


def nothing_is_sent_before_its_commit(history: History) -> None:
    """I8. Each delivered dispatch stands in the ledger by the version of its delivery."""
    dispatched = {
        (entity, data.task, data.attempt): segment.version
        for entity in history.of_kind("run")
        for segment, entry in history.entries(entity)
        if isinstance(data := entry.event.data, TaskStateChanged) and data.after == "DISPATCHED"
    }
    for sent in history.sent:
        version = dispatched.get((sent.entity, sent.task, sent.attempt))
        if version is None:
            raise ViolatedError(f"phantom: {sent}")
        if version > sent.version:
            raise ViolatedError(f"sent before version {version}: {sent}")


def nothing_crosses_a_tenant(history: History) -> None:
    """I12. What happens to an entity is of its own workspace, and so is every object."""
    prefixes = (SCOPE.prefix, RIVAL.prefix)
    strays = [key for key in history.objects if not key.startswith(prefixes)]
    if strays:
        raise ViolatedError(strays)
    runs = {Entity.parse(name).name: Entity.parse(name).scope for name in history.of_kind("run")}
    for entity in history.heads:
        scope = Entity.parse(entity).scope
        for _, entry in history.entries(entity):
            data = entry.event.data
            if entry.disposition != DERIVED and entry.event.subject != entity:
                raise ViolatedError(f"{entry} in {entity}")
            if isinstance(data, PromotionRequested) and runs[data.run_id] != scope:
                raise ViolatedError(f"{entry} in {entity}")
    for sent in history.sent:
        if sent.entity not in history.heads:
            raise ViolatedError(f"of no run: {sent}")
    for entity in history.of_kind("run"):
        plan = history.plan(entity).plan
        if (plan.tenant_id, plan.workspace_id) != tuple(Entity.parse(entity).scope):
            raise ViolatedError(
                "(plan.tenant_id, plan.workspace_id) == tuple(Entity.parse(entity).scope)"
            )


def ledgers_have_no_gap(history: History) -> None:
    """I9. Versions 1, 2, 3… up to that of the head, at times that do not go back."""
    for entity, head in history.heads.items():
        versions = [segment.version for segment in history.ledgers[entity]]
        if versions != list(range(1, head.version + 1)):
            raise ViolatedError(f"{entity}: {versions}")
        times = [segment.now_ms for segment in history.ledgers[entity]]
        if times != sorted(times):
            raise ViolatedError(f"{entity}: {times}")


def runs_are_what_their_ledgers_say(history: History) -> None:
    """I9, promise 10. Deciding the recorded events again gives the same lines and the same
    bytes of state."""
    for entity in history.of_kind("run"):
        run = None
        for step in history.replays[entity]:
            again, recorded = step.decision.ledger, step.segment.entries
            if again != recorded:
                raise ViolatedError(
                    f"v{step.segment.version} decides otherwise: {again}\n{history.show(entity)}"
                )
            run = step.decision.state
        if run is None:
            raise ViolatedError(f"{entity} has no history")
        stored = msgspec.structs.replace(history.run(entity), version=run.version)
        if run != stored:
            raise ViolatedError(f"{run}\n is not \n{stored}\n{history.show(entity)}")


def catalogs_are_what_their_ledgers_say(history: History) -> None:
    """I9. The same for assets, their rows included."""
    for entity in history.of_kind("asset"):
        scope, _, key = Entity.parse(entity)
        state = catalog.AssetCatalog(scope, key, catalog.Counters(), {})
        rows: dict[str, bytes] = {}
        for segment in history.ledgers[entity]:
            inbound = [e.event for e in segment.entries if e.disposition != DERIVED]
            decision = catalog.decide_asset(state, inbound, segment.now_ms)
            if decision.ledger != segment.entries:
                raise ViolatedError(f"not what was recorded\n{history.show(entity)}")
            rows.update({k: body for k, body in decision.rows.items() if body is not None})
            state = decision.state
        packed = msgspec.msgpack.decode(history.heads[entity].state, type=catalog.Counters)
        if packed != state.counters:
            raise ViolatedError(f"not what was recorded\n{history.show(entity)}")
        if packed.rows != len(rows):
            raise ViolatedError(f"{len(rows)} rows, counted {packed.rows}")
        if rows != history.rows[entity]:
            raise ViolatedError(f"not what was recorded\n{history.show(entity)}")


def workspaces_are_what_their_ledgers_say(history: History) -> None:
    """I9. The same for deployments and dynamic partitions."""
    for entity in history.of_kind("deployment"):
        current = Deployment()
        for segment in history.ledgers[entity]:
            inbound = [entry.event for entry in segment.entries]
            current = decide_deployment(current, inbound, segment.now_ms).state
        stored = msgspec.msgpack.decode(history.heads[entity].state, type=Deployment)
        if stored != current:
            raise ViolatedError(f"not what was recorded\n{history.show(entity)}")
        if len(history.rows[entity]) != current.number:
            raise ViolatedError(f"{len(history.rows[entity])} rows of {current.number}")
    for entity in history.of_kind("dynamic"):
        state = dynamic.DynamicSet(dynamic.DynamicCounters(), {})
        for segment in history.ledgers[entity]:
            inbound = [entry.event for entry in segment.entries]
            state = dynamic.decide_dynamic(state, inbound, segment.now_ms).state
        stored_rows = {
            name: dynamic.decode_dynamic_key(raw) for name, raw in history.rows[entity].items()
        }
        if stored_rows != state.rows:
            raise ViolatedError(f"not what was recorded\n{history.show(entity)}")
        if state.counters.count != len(state.rows):
            raise ViolatedError(f"{len(state.rows)} keys, counted {state.counters.count}")


def equal_requests_have_equal_plans(history: History) -> None:
    """Promise 10. The plan's id is a digest of its bytes, and its snapshot one of its pins."""
    for entity in history.of_kind("run"):
        run, plan = history.run(entity), history.plan(entity)
        if not (run.fingerprint == run.plan_id == plan.plan_id):
            raise ViolatedError(f"{run.fingerprint}, {run.plan_id}, {plan.plan_id} differ")
        if run.catalog_snapshot_id != plan.plan.catalog_snapshot_id:
            raise ViolatedError(f"{entity} and its plan pin different snapshots")
        for pin in plan.plan.pins:
            if not pin.attempt_id:
                raise ViolatedError(f"{pin} is not bound")


def documents_stay_small(history: History) -> None:
    """I20. Heads and segments below the limit of one document."""
    for entity, head in history.heads.items():
        if len(head.state) + len(head.owed) > DOCUMENT_LIMIT_BYTES:
            raise ViolatedError(f"the head of {entity} is too large for a document")
        if max(history.segment_bytes[entity]) > DOCUMENT_LIMIT_BYTES:
            raise ViolatedError(f"a segment of {entity} is too large for a document")


def what_a_newer_revision_says_is_kept(history: History) -> None:
    """I21. An event of an unknown type is in the ledger as a no-op, and stops nothing."""
    for answer in history.answers:
        if answer.verb != "newer" or not answer.accepted:
            continue
        entity, event_id = answer.about
        kept = [e.disposition for _, e in history.entries(entity) if e.event.id == event_id]
        if IGNORED not in kept or APPLIED in kept:
            raise ViolatedError(f"{answer}: {kept}\n{history.show(entity)}")

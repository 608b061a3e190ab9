"""All that is left of a history, read at its end: what the checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from arco_flow.domain.decision import DERIVED, Decision, Entry, Segment, decode_segment
from arco_flow.domain.events import Event, PlanCreated, RunRequested, RunTriggered
from arco_flow.domain.ids import Entity, Scope
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.run import Run, decode_run
from arco_flow.domain.run_decide import decide_run, new_run, open_run
from arco_flow.engine.context import Engine
from arco_flow.engine.objects import load_plan
from arco_flow.engine.views import RunSpec
from arco_flow.ports.objects import Objects
from arco_flow.ports.store import Head, Store
from arco_flow.simulation.violation import ViolatedError
from arco_flow.simulation.world import RIVAL, SCOPE, Answer, Sent, World


@dataclass(frozen=True, slots=True)
class Step:
    """One commit of a run, decided anew. before: None for the commit that opened it."""

    segment: Segment
    before: Run | None
    decision: Decision[Run]


@dataclass(frozen=True, slots=True)
class History:
    """What is stored, and what callers were told; never what a process remembers.

    commits: (entity, version) -> store time at which the commit landed.
    """

    heads: dict[str, Head]
    ledgers: dict[str, list[Segment]]
    segment_bytes: dict[str, list[int]]
    inboxes: dict[str, list[str]]
    rows: dict[str, dict[str, bytes]]
    objects: dict[str, bytes]
    plans: dict[str, PlanIndex]
    answers: list[Answer]
    sent: list[Sent]
    commits: dict[tuple[str, int], int]
    replays: dict[str, list[Step]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[str]:
        """Entities of a kind, in order."""
        return sorted(name for name in self.heads if Entity.parse(name).kind == kind)

    def entries(self, entity: str) -> Iterator[tuple[Segment, Entry]]:
        """The lines of an entity's ledger, in order."""
        for segment in self.ledgers[entity]:
            for entry in segment.entries:
                yield segment, entry

    def run(self, entity: str) -> Run:
        """The packed state of a run's head."""
        return decode_run(self.heads[entity].state)

    def plan(self, entity: str) -> PlanIndex:
        """The plan of a run."""
        return self.plans[self.run(entity).plan_id]

    def show(self, entity: str) -> str:
        """The ledger of an entity, for a message."""
        lines = [f"--- {entity}"]
        for segment, entry in self.entries(entity):
            event = entry.event
            shown = msgspec.json.encode(event.data).decode()[:160]
            kind = type(event.data).__name__
            lines.append(
                f"v{segment.version} t{segment.now_ms % 10**7} {entry.disposition} "
                f"{event.id} {kind} {shown} {entry.reason}"
            )
        return "\n".join(lines)


def read_history(world: World, commits: dict[tuple[str, int], int]) -> History:
    """Read everything of a simulated world, without faults."""
    engine, peek = world.fleet.fresh_engine(), world.peek
    stored = read_stored(engine, world.objects, (SCOPE, RIVAL), peek)
    names = sorted({*stored.heads, *peek(world.store.overdue(1 << 60, 100_000))})
    history = replace(
        stored,
        inboxes=_inboxes(engine, names, peek),
        answers=world.answers,
        sent=world.sent,
        commits=commits,
    )
    return replay_runs(history)


def read_stored(
    engine: Engine, objects: Objects, scopes: Sequence[Scope], peek: Callable[[Any], Any]
) -> History:
    """What is stored of these scopes, on any plane; what callers were told is left empty.

    peek: runs a coroutine to its end and answers its result.
    """
    store = engine.store
    heads: dict[str, Head] = {}
    for scope in scopes:
        prefix = f"{scope.tenant}:{scope.workspace}:"
        for listed in peek(store.list_heads(prefix, limit=100_000)):
            head = peek(store.load(listed.entity))
            if head is not None:
                heads[head.entity] = head
    raw = {name: _whole_ledger(store, name, peek) for name in heads}
    keys = [m.key for scope in scopes for m in objects.list(scope.prefix, limit=1_000_000)]
    found = {key: objects.get(key) for key in keys}
    return History(
        heads=heads,
        ledgers={name: [decode_segment(body) for body in bodies] for name, bodies in raw.items()},
        segment_bytes={name: [len(body) for body in bodies] for name, bodies in raw.items()},
        inboxes=_inboxes(engine, heads, peek),
        rows={name: _all_rows(store, name, peek) for name in heads},
        objects={key: stored.data for key, stored in found.items() if stored is not None},
        plans=_read_plans(engine, heads, peek),
        answers=[],
        sent=[],
        commits={},
    )


def replay_runs(history: History) -> History:
    """Decide every run anew from its ledger, for the checks that compare; the same history."""
    for entity in history.of_kind("run"):
        history.replays[entity] = list(_replay(history, entity))
    return history


def _whole_ledger(store: Store, name: str, peek: Callable[[Any], Any]) -> list[bytes]:
    found: list[bytes] = []
    after = 0
    while page := peek(store.segments(name, after=after)):
        found += page
        after = decode_segment(page[-1]).version
    return found


def _all_rows(store: Store, name: str, peek: Callable[[Any], Any]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    after = ""
    while page := peek(store.rows(name, after=after)):
        found |= page
        after = next(reversed(page))
    return found


def _inboxes(
    engine: Engine, names: Iterable[str], peek: Callable[[Any], Any]
) -> dict[str, list[str]]:
    return {
        name: [item.event_id for item in peek(engine.store.inbox(name, 10_000))] for name in names
    }


def _read_plans(
    engine: Engine, heads: dict[str, Head], peek: Callable[[Any], Any]
) -> dict[str, PlanIndex]:
    plans = {}
    for name, head in heads.items():
        entity = Entity.parse(name)
        if entity.kind == "run":
            plan_id = decode_run(head.state).plan_id
            plans[plan_id] = peek(load_plan(engine, entity.scope, plan_id))
    return plans


def _replay(history: History, entity: str) -> Iterator[Step]:
    """Decide the recorded events of a run again, commit by commit."""
    run: Run | None = None
    for segment in history.ledgers[entity]:
        inbound = [e.event for e in segment.entries if e.disposition != DERIVED]
        if run is None:
            decision = _reopened(history, entity, segment, inbound)
        elif not segment.entries:
            run = msgspec.structs.replace(run, version=segment.version)
            continue
        else:
            decision = decide_run(run, history.plan(entity), inbound, segment.now_ms)
        yield Step(segment, run, decision)
        run = decision.state


def _reopened(
    history: History, entity: str, segment: Segment, inbound: list[Event]
) -> Decision[Run]:
    request, triggered, planned = (event.data for event in inbound)
    if not (
        isinstance(request, RunRequested)
        and isinstance(triggered, RunTriggered)
        and isinstance(planned, PlanCreated)
    ):
        raise ViolatedError(f"a run begins with {request}, {triggered}, {planned}")
    spec = msgspec.convert(request.request, RunSpec)
    seed = new_run(
        history.plan(entity),
        run_id=triggered.run_id,
        run_key=triggered.run_key,
        trigger=triggered.trigger,
        actor=inbound[0].actor,
        selection=spec.selection,
        tags=spec.tags,
        fingerprint=planned.plan_id,
        created_ms=segment.now_ms,
        deadline_ms=segment.now_ms + spec.timeout_ms if spec.timeout_ms else 0,
        max_in_flight=triggered.max_in_flight,
        cancel_grace_ms=triggered.cancel_grace_ms,
        traceparent=inbound[0].traceparent,
    )
    return open_run(seed, history.plan(entity), *inbound)

"""What must hold in every history: the promises of the architecture, as named checks.

A check reads only what is stored and what callers were told, never what a process remembers.
The numbers I1 to I24 are those of the list of invariants that the design was tested with.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from arco_flow.adapters.limits import DOCUMENT_LIMIT_BYTES
from arco_flow.adapters.memory.faults import Faults
from arco_flow.domain import asset as catalog
from arco_flow.domain import dynamic
from arco_flow.domain.decision import APPLIED, DERIVED, Decision, Entry, Segment, decode_segment
from arco_flow.domain.deployment import Deployment, decide_deployment
from arco_flow.domain.errors import Conflict
from arco_flow.domain.events import (
    Event,
    PlanCreated,
    PromotionRequested,
    RunCancelRequested,
    RunKeyConflicted,
    RunRequested,
    RunStateChanged,
    RunTriggered,
    TaskFinished,
    TaskHeartbeat,
    TaskStarted,
    TaskStateChanged,
    TimerFired,
)
from arco_flow.domain.ids import Entity, pointer_path
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.run import Run, RunState, decode_run
from arco_flow.domain.run_decide import decide_run, new_run, open_run
from arco_flow.domain.task import TaskState
from arco_flow.engine.context import Settings
from arco_flow.engine.objects import load_plan
from arco_flow.engine.run_bridge import request_fingerprint
from arco_flow.engine.views import RunSpec
from arco_flow.ports.store import Head
from engine.world import RIVAL, SCOPE, Answer, Sent, World


@dataclass(frozen=True, slots=True)
class History:
    """All that is left of a history once nothing happens any more."""

    heads: dict[str, Head]
    ledgers: dict[str, list[Segment]]
    segment_bytes: dict[str, list[int]]
    inboxes: dict[str, list[str]]
    rows: dict[str, dict[str, bytes]]
    objects: dict[str, bytes]
    writes: list[tuple[str, bytes]]
    plans: dict[str, PlanIndex]
    answers: list[Answer]
    sent: list[Sent]
    settings: Settings
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


@dataclass(frozen=True, slots=True)
class Step:
    """One commit of a run, decided anew. before: None for the commit that opened it."""

    segment: Segment
    before: Run | None
    decision: Decision[Run]


async def history_of(world: World) -> History:
    """Read everything, without faults."""
    for port in (world.store, world.objects, world.tasks):
        port.faults = Faults()
    engine = world.fresh_engine()
    heads: dict[str, Head] = {}
    for scope in (SCOPE, RIVAL):
        for listed in await world.store.list_heads(
            f"{scope.tenant}:{scope.workspace}:", limit=100_000
        ):
            head = await world.store.load(listed.entity)
            assert head is not None
            heads[head.entity] = head
    waiting = await world.store.overdue(1 << 60, 100_000)
    raw = {name: await world.store.segments(name, limit=100_000) for name in heads}
    plans = {}
    for name, head in heads.items():
        entity = Entity.parse(name)
        if entity.kind == "run":
            plan_id = decode_run(head.state).plan_id
            plans[plan_id] = await load_plan(engine, entity.scope, plan_id)
    names = {*heads, *waiting}
    keys = [meta.key for meta in world.objects.list("", limit=1_000_000)]
    stored = {key: world.objects.get(key) for key in keys}
    history = History(
        heads=heads,
        ledgers={name: [decode_segment(body) for body in bodies] for name, bodies in raw.items()},
        segment_bytes={name: [len(body) for body in bodies] for name, bodies in raw.items()},
        inboxes={
            name: [item.event_id for item in await world.store.inbox(name, 10_000)]
            for name in sorted(names)
        },
        rows={name: await world.store.rows(name, limit=100_000) for name in heads},
        objects={key: found.data for key, found in stored.items() if found is not None},
        writes=world.objects.writes,
        plans=plans,
        answers=world.answers,
        sent=world.sent,
        settings=world.settings,
    )
    for entity in history.of_kind("run"):
        history.replays[entity] = list(_replay(history, entity))
    return history


def _replay(history: History, entity: str) -> Iterator[Step]:
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
    assert isinstance(request, RunRequested), request
    assert isinstance(triggered, RunTriggered), triggered
    assert isinstance(planned, PlanCreated), planned
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
        max_in_flight=history.settings.max_in_flight,
        cancel_grace_ms=history.settings.cancel_grace_ms,
    )
    return open_run(seed, history.plan(entity), *inbound)


def check(history: History) -> None:
    """Every check of this page."""
    for holds in CHECKS:
        holds(history)


CHECKS: list[Callable[[History], None]] = []


def _check(holds: Callable[[History], None]) -> Callable[[History], None]:
    CHECKS.append(holds)
    return holds


# -- promise 1: one run per run key -------------------------------------------------------------


@_check
def one_run_per_run_key(history: History) -> None:
    """I1, I19. All that were accepted under a key were told of the same run and request."""
    runs: defaultdict[Any, set[str]] = defaultdict(set)
    for entity in history.of_kind("run"):
        runs[Entity.parse(entity).scope, history.run(entity).run_key].add(entity)
    for key, found in runs.items():
        assert len(found) == 1, f"two runs of {key}: {found}"
    created: Counter[str] = Counter()
    for answer in history.answers:
        if answer.verb != "request" or not answer.accepted:
            continue
        entity = str(Entity(answer.scope, "run", answer.result.run_id))
        assert entity in history.heads, f"{answer} has no run"
        created[entity] += answer.result.created
        request = next(history.entries(entity))[1].event.data
        assert isinstance(request, RunRequested)
        assert request.fingerprint == request_fingerprint(answer.about), (
            f"{answer} got the run of another request\n{history.show(entity)}"
        )
    assert max(created.values(), default=0) <= 1, f"created twice: {created}"


@_check
def conflicts_are_recorded(history: History) -> None:
    """I1. Whoever was refused for its key finds both fingerprints in the run's ledger."""
    for answer in history.answers:
        refusal = answer.result
        if not isinstance(refusal, Conflict) or refusal.reason != "RUN_KEY_CONFLICT":
            continue
        entity = str(Entity(answer.scope, "run", str(refusal.details["runId"])))
        recorded = {
            (e.event.data.accepted_fingerprint, e.event.data.refused_fingerprint)
            for _, e in history.entries(entity)
            if isinstance(e.event.data, RunKeyConflicted)
        }
        told = (refusal.details["acceptedFingerprint"], refusal.details["refusedFingerprint"])
        assert told in recorded, f"{told} is not recorded\n{history.show(entity)}"
        assert told[1] == request_fingerprint(answer.about)


@_check
def every_accepted_run_is_over(history: History) -> None:
    """I3, I14. Nothing that exists is left in the middle."""
    for entity in history.of_kind("run"):
        run = history.run(entity)
        open_tasks = [TaskState(s).name for s in run.states if not TaskState(s).is_terminal]
        over = RunState(run.state).is_terminal and not open_tasks and not run.live
        assert over, f"{run.state} {open_tasks}\n{history.show(entity)}"
        assert history.heads[entity].status == run.state


# -- promise 2: an accepted event is folded once ------------------------------------------------


@_check
def every_event_is_applied_at_most_once(history: History) -> None:
    """I4. An id that took effect takes none again; signs of life are one id per attempt."""
    for entity in history.heads:
        applied = Counter(
            entry.event.id
            for _, entry in history.entries(entity)
            if entry.disposition == APPLIED and not isinstance(entry.event.data, TaskHeartbeat)
        )
        twice = [event_id for event_id, times in applied.items() if times > 1]
        assert not twice, f"applied twice: {twice}\n{history.show(entity)}"


@_check
def every_accepted_callback_is_recorded(history: History) -> None:
    """I4. A worker that was told 200 finds its report in the ledger, as it sent it."""
    recorded: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for entity in history.of_kind("run"):
        for _, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, TaskStarted):
                recorded[entity].add((data.attempt_id, "started", data.worker_id))
            elif isinstance(data, TaskFinished):
                body = msgspec.json.encode([data.outcome, data.output], order="sorted").decode()
                recorded[entity].add((data.attempt_id, "completed", body))
    for answer in history.answers:
        if answer.verb not in ("started", "completed") or not answer.accepted:
            continue
        told = answer.about
        entity = str(Entity(answer.scope, "run", told["run"]))
        if answer.verb == "started":
            line = told["workerId"]
        else:
            pair = [told["outcome"], told.get("output")]
            line = msgspec.json.encode(pair, order="sorted").decode()
        assert (told["attemptId"], answer.verb, line) in recorded[entity], (
            f"lost: {answer}\n{history.show(entity)}"
        )


@_check
def a_claimed_result_counts(history: History) -> None:
    """I4. The holder of a claim that reported an end, and was told 200, has ended the attempt."""
    for answer in history.answers:
        if answer.verb != "completed" or not answer.accepted:
            continue
        entity = str(Entity(answer.scope, "run", answer.about["run"]))
        attempt_id, worker = answer.about["attemptId"], answer.about["workerId"]
        claimed = ended = False
        for _, entry in history.entries(entity):
            data = entry.event.data
            if entry.disposition != APPLIED:
                continue
            if isinstance(data, TaskStarted) and data.attempt_id == attempt_id:
                claimed = data.worker_id == worker
            if isinstance(data, TaskFinished) and data.attempt_id == attempt_id:
                ended = True
        if claimed and not ended:
            lost = _lost_otherwise(history, entity, answer)
            assert lost, f"{worker} held {attempt_id}: {answer}\n{history.show(entity)}"


def _lost_otherwise(history: History, entity: str, answer: Answer) -> bool:
    """Whether the attempt was over in the same moment for another reason: a cancel, a silence."""
    for segment, entry in history.entries(entity):
        data = entry.event.data
        if isinstance(data, TaskStateChanged) and data.task == answer.about["task"]:
            over = data.before == "RUNNING" and data.after != "SUCCEEDED"
            if over and data.attempt == answer.about["attempt"]:
                return segment.now_ms >= answer.time_ms or data.after == "CANCELLED"
    return False


@_check
def nothing_waits_and_nothing_is_owed(history: History) -> None:
    """I8, I14. Every debt was paid, every event folded."""
    for entity, waiting in history.inboxes.items():
        assert not waiting, f"{entity} did not fold {waiting}"
    for entity, head in history.heads.items():
        assert not head.owed, f"owed: {head.owed!r}\n{history.show(entity)}"
        assert not head.owed_since_ms
        assert not head.timer_ms


@_check
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
        assert version is not None, f"phantom: {sent}"
        assert version <= sent.version, f"sent before version {version}: {sent}"


@_check
def what_was_accepted_by_the_workspace_took_effect(history: History) -> None:
    """I4. Deployments and changed partition keys that were answered with 200 are in the ledger."""
    for answer in history.answers:
        if not answer.accepted or answer.verb not in ("deploy", "dynamic"):
            continue
        if answer.verb == "deploy":
            rows = history.rows[
                f"{answer.scope.tenant}:{answer.scope.workspace}:deployment:current"
            ]
            made = [json.loads(row)["manifestId"] for row in rows.values()]
            assert answer.result.manifest_id in made, f"{answer} not in {made}"
        else:
            definition, added = answer.about
            entity = str(Entity(answer.scope, "dynamic", definition))
            assert set(added) <= set(answer.result), f"{answer} does not show its own change"
            assert set(added) <= history.rows[entity].keys(), f"{answer} was lost"


# -- promises 5 and 7: attempts, dependencies, ends ---------------------------------------------


@_check
def terminal_is_terminal(history: History) -> None:
    """I5. After the end of a run nothing is applied or derived; a task succeeds once."""
    for entity in history.of_kind("run"):
        over = False
        succeeded: Counter[str] = Counter()
        for _, entry in history.entries(entity):
            data = entry.event.data
            quiet = entry.disposition not in (APPLIED, DERIVED)
            assert not over or quiet, f"{entry} after the end\n{history.show(entity)}"
            if isinstance(data, RunStateChanged) and RunState(data.after).is_terminal:
                over = True
            if isinstance(data, TaskStateChanged) and data.after == "SUCCEEDED":
                succeeded[data.task] += 1
        assert max(succeeded.values(), default=0) <= 1, history.show(entity)


@_check
def attempts_are_counted_without_gap(history: History) -> None:
    """I6. 1, 2, 3…; what a worker reports counts only for the attempt that is current."""
    for entity in history.of_kind("run"):
        current: Counter[str] = Counter()
        seen: set[tuple[str, str]] = set()
        for _, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, TaskStateChanged) and data.after == "DISPATCHED":
                current[data.task] += 1
                assert data.attempt == current[data.task], f"{data}\n{history.show(entity)}"
            elif entry.disposition == APPLIED and isinstance(data, TaskStarted | TaskFinished):
                assert data.attempt == current[data.task], f"{data}\n{history.show(entity)}"
                key = (type(data).__name__, data.attempt_id)
                assert key not in seen, f"{key} twice\n{history.show(entity)}"
                seen.add(key)


@_check
def only_the_holder_of_the_claim_reports(history: History) -> None:
    """I6. One worker per attempt: its end comes from whoever started it, if anybody did."""
    for entity in history.of_kind("run"):
        holders: dict[str, str] = {}
        for _, entry in history.entries(entity):
            data = entry.event.data
            if entry.disposition != APPLIED:
                continue
            if isinstance(data, TaskStarted):
                holders[data.attempt_id] = data.worker_id
            if isinstance(data, TaskFinished) and data.attempt_id in holders:
                assert holders[data.attempt_id] == data.worker_id, history.show(entity)


@_check
def upstream_comes_first(history: History) -> None:
    """I7. A task is dispatched after all of its upstream tasks succeeded."""
    for entity in history.of_kind("run"):
        plan = history.plan(entity)
        done: set[int] = set()
        for _, entry in history.entries(entity):
            data = entry.event.data
            if not isinstance(data, TaskStateChanged):
                continue
            index = plan.index_of[data.task]
            if data.after == "SUCCEEDED":
                done.add(index)
            if data.after == "DISPATCHED":
                assert done.issuperset(plan.upstream[index]), f"{data}\n{history.show(entity)}"


@_check
def a_cancelled_run_dispatches_nothing_more(history: History) -> None:
    """I16. Nor does it promote what ends afterwards."""
    for entity in history.of_kind("run"):
        cancelling = False
        for _, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, RunStateChanged) and data.after == "CANCELLING":
                cancelling = True
            if cancelling and isinstance(data, TaskStateChanged):
                bad = data.after in ("DISPATCHED", "RUNNING", "SUCCEEDED", "READY")
                assert not bad, f"{data}\n{history.show(entity)}"


@_check
def an_accepted_cancel_is_recorded(history: History) -> None:
    """I16, I4. Whoever was told that the run is being cancelled finds it in the ledger."""
    for answer in history.answers:
        if answer.verb == "cancel" and answer.accepted:
            entity = str(Entity(answer.scope, "run", answer.about))
            found = any(
                isinstance(e.event.data, RunCancelRequested) for _, e in history.entries(entity)
            )
            assert found, f"{answer}\n{history.show(entity)}"


@_check
def timers_act_once_and_in_time(history: History) -> None:
    """I15, I24. Only the current generation; a retry not before it is due, and nobody is silent
    who was heard in time."""
    for entity in history.of_kind("run"):
        heard = _heard(history, entity)
        for step in history.replays[entity]:
            if step.before is None:
                continue
            for entry in step.segment.entries:
                data = entry.event.data
                if isinstance(data, TimerFired) and entry.disposition == APPLIED:
                    assert data.generation == step.before.timer_generation, history.show(entity)
                if isinstance(data, TaskStateChanged):
                    _check_due(history, entity, step, data, heard)


def _heard(history: History, entity: str) -> dict[tuple[str, int], list[int]]:
    """When the holder of each attempt was heard: (task, attempt) -> times of answers."""
    holders = {
        (e.event.data.task, e.event.data.attempt): e.event.data.worker_id
        for _, e in history.entries(entity)
        if isinstance(e.event.data, TaskStarted) and e.disposition == APPLIED
    }
    heard: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for answer in history.answers:
        if answer.verb != "heartbeat" or not answer.accepted:
            continue
        told = answer.about
        key = (told["task"], told["attempt"])
        same_run = entity == str(Entity(answer.scope, "run", told["run"]))
        if same_run and holders.get(key) == told["workerId"]:
            heard[key].append(answer.time_ms)
    return heard


def _check_due(
    history: History,
    entity: str,
    step: Step,
    data: TaskStateChanged,
    heard: dict[tuple[str, int], list[int]],
) -> None:
    assert step.before is not None
    plan, now_ms = history.plan(entity), step.segment.now_ms
    index = plan.index_of[data.task]
    if data.before == "RETRY_WAIT" and data.after == "READY":
        due_ms = step.before.retry_due.get(index, 0)
        assert due_ms <= now_ms, f"retried {due_ms - now_ms} ms early\n{history.show(entity)}"
    if "zombie" in data.reason:
        limit_ms = plan.spec(index).timeouts.heartbeat_ms
        for time_ms in heard.get((data.task, data.attempt), []):
            # What was answered in the same moment may have come a step too late.
            in_time = time_ms < now_ms < time_ms + limit_ms
            assert not in_time, f"{data} was heard at {time_ms}\n{history.show(entity)}"


# -- promise 6: visible whole, once ------------------------------------------------------------


@_check
def promotions_are_numbered_and_each_was_accepted(history: History) -> None:
    """I11. Numbers grow by one; each promoted attempt is the accepted success of its task."""
    promoted: Counter[str] = Counter()
    accepted = _accepted_results(history)
    for entity in history.of_kind("asset"):
        number = 0
        for _, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, PromotionRequested) and entry.disposition == APPLIED:
                number += 1
                promoted[data.attempt_id] += 1
                assert data.attempt_id in accepted, f"{data}\n{history.show(entity)}"
                assert accepted[data.attempt_id] == (data.run_id, data.accepted_ms)
        numbers = [
            entry.event.data.promotion  # type: ignore[union-attr]
            for _, entry in history.entries(entity)
            if entry.disposition == DERIVED
        ]
        assert numbers == list(range(1, number + 1)), history.show(entity)
    assert max(promoted.values(), default=0) <= 1, f"promoted twice: {promoted.most_common(3)}"


def _accepted_results(history: History) -> dict[str, tuple[str, int]]:
    """Attempt id -> (run id, when), of all successes that count."""
    found = {}
    for entity in history.of_kind("run"):
        wins: dict[str, str] = {}
        for segment, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, TaskFinished) and entry.disposition == APPLIED:
                wins[data.task] = data.attempt_id
            if isinstance(data, TaskStateChanged) and data.after == "SUCCEEDED":
                run_id = Entity.parse(entity).name
                found[wins[data.task]] = (run_id, segment.now_ms)
    return found


@_check
def every_success_reached_the_catalog(history: History) -> None:
    """I8, I11. Promoted, or superseded by a later one, but never forgotten."""
    told = {
        entry.event.data.attempt_id
        for entity in history.of_kind("asset")
        for _, entry in history.entries(entity)
        if isinstance(entry.event.data, PromotionRequested)
    }
    missing = _accepted_results(history).keys() - told
    assert not missing, f"accepted, but never promoted: {missing}"


@_check
def the_latest_accepted_result_is_current(history: History) -> None:
    """I11. In the row and in the pointer, and the version it names is whole."""
    for entity in history.of_kind("asset"):
        scope, _, key = Entity.parse(entity)
        requested: defaultdict[str, list[PromotionRequested]] = defaultdict(list)
        for _, entry in history.entries(entity):
            if isinstance(entry.event.data, PromotionRequested):
                requested[entry.event.data.partition].append(entry.event.data)
        for partition, all_of_them in requested.items():
            latest = max(all_of_them, key=lambda d: (d.accepted_ms, d.run_id, d.attempt_id))
            row = catalog.decode_materialization(history.rows[entity][catalog.row_key(partition)])
            assert row.attempt_id == latest.attempt_id, f"{row}\n{history.show(entity)}"
            raw = history.objects.get(pointer_path(scope, key, partition))
            assert raw is not None, f"no pointer for {partition!r}\n{history.show(entity)}"
            pointer = json.loads(raw)
            told = (pointer["attemptId"], pointer["promotion"])
            assert told == (row.attempt_id, row.promotion), f"{pointer} but {row}"
            marker = history.objects.get(pointer["version"] + "_commit")
            assert marker is not None, f"{pointer} is not whole"
            expected = (row.attempt_id, row.output.get("contentHash"))
            stored = json.loads(marker)
            assert (stored["attemptId"], stored["contentHash"]) == expected


@_check
def a_pointer_never_goes_backwards(history: History) -> None:
    """I11. Every write of a pointer has a higher number than the one before."""
    last: Counter[str] = Counter()
    committed: set[str] = set()
    for key, data in history.writes:
        if key.endswith("/_commit"):
            committed.add(key)
        if key.endswith("/_current.json"):
            pointer = json.loads(data)
            assert pointer["promotion"] > last[key], f"{key}: {last[key]} then {pointer}"
            last[key] = pointer["promotion"]
            assert pointer["version"] + "_commit" in committed, f"{pointer} before its marker"


# -- promise 8: nothing crosses a tenant ---------------------------------------------------------


@_check
def nothing_crosses_a_tenant(history: History) -> None:
    """I12. What happens to an entity is of its own workspace, and so is every object."""
    prefixes = (SCOPE.prefix, RIVAL.prefix)
    strays = [key for key in history.objects if not key.startswith(prefixes)]
    assert not strays, strays
    runs = {Entity.parse(name).name: Entity.parse(name).scope for name in history.of_kind("run")}
    for entity in history.heads:
        scope = Entity.parse(entity).scope
        for _, entry in history.entries(entity):
            data = entry.event.data
            if entry.disposition != DERIVED:
                assert entry.event.subject == entity, f"{entry} in {entity}"
            if isinstance(data, PromotionRequested):
                assert runs[data.run_id] == scope, f"{entry} in {entity}"
    for sent in history.sent:
        assert sent.entity in history.heads
    for entity in history.of_kind("run"):
        plan = history.plan(entity).plan
        assert (plan.tenant_id, plan.workspace_id) == tuple(Entity.parse(entity).scope)


# -- promises 9 and 10, and the ledger itself ----------------------------------------------------


@_check
def ledgers_have_no_gap(history: History) -> None:
    """I9. Versions 1, 2, 3… up to that of the head, at times that do not go back."""
    for entity, head in history.heads.items():
        versions = [segment.version for segment in history.ledgers[entity]]
        assert versions == list(range(1, head.version + 1)), f"{entity}: {versions}"
        times = [segment.now_ms for segment in history.ledgers[entity]]
        assert times == sorted(times), f"{entity}: {times}"


@_check
def runs_are_what_their_ledgers_say(history: History) -> None:
    """I9, promise 10. Deciding the recorded events again gives the same lines and the same
    bytes of state."""
    for entity in history.of_kind("run"):
        run = None
        for step in history.replays[entity]:
            again, recorded = step.decision.ledger, step.segment.entries
            assert again == recorded, (
                f"v{step.segment.version} decides otherwise: {again}\n{history.show(entity)}"
            )
            run = step.decision.state
        assert run is not None
        stored = msgspec.structs.replace(history.run(entity), version=run.version)
        assert run == stored, f"{run}\n is not \n{stored}\n{history.show(entity)}"


@_check
def catalogs_are_what_their_ledgers_say(history: History) -> None:
    """I9. The same for assets, their rows included."""
    for entity in history.of_kind("asset"):
        scope, _, key = Entity.parse(entity)
        state = catalog.AssetCatalog(scope, key, catalog.Counters(), {})
        rows: dict[str, bytes] = {}
        for segment in history.ledgers[entity]:
            inbound = [e.event for e in segment.entries if e.disposition != DERIVED]
            decision = catalog.decide_asset(state, inbound, segment.now_ms)
            assert decision.ledger == segment.entries, history.show(entity)
            rows.update({k: body for k, body in decision.rows.items() if body is not None})
            state = decision.state
        packed = msgspec.msgpack.decode(history.heads[entity].state, type=catalog.Counters)
        assert packed == state.counters, history.show(entity)
        assert rows == history.rows[entity], history.show(entity)


@_check
def workspaces_are_what_their_ledgers_say(history: History) -> None:
    """I9. The same for deployments and dynamic partitions."""
    for entity in history.of_kind("deployment"):
        current = Deployment()
        for segment in history.ledgers[entity]:
            inbound = [entry.event for entry in segment.entries]
            current = decide_deployment(current, inbound, segment.now_ms).state
        stored = msgspec.msgpack.decode(history.heads[entity].state, type=Deployment)
        assert stored == current, history.show(entity)
        assert len(history.rows[entity]) == current.number
    for entity in history.of_kind("dynamic"):
        state = dynamic.DynamicSet(dynamic.DynamicCounters(), {})
        for segment in history.ledgers[entity]:
            inbound = [entry.event for entry in segment.entries]
            state = dynamic.decide_dynamic(state, inbound, segment.now_ms).state
        stored_rows = {
            name: dynamic.decode_dynamic_key(raw) for name, raw in history.rows[entity].items()
        }
        assert stored_rows == state.rows, history.show(entity)
        assert state.counters.count == len(state.rows)


@_check
def equal_requests_have_equal_plans(history: History) -> None:
    """Promise 10. The plan's id is a digest of its bytes, and its snapshot one of its pins."""
    for entity in history.of_kind("run"):
        run, plan = history.run(entity), history.plan(entity)
        assert run.fingerprint == run.plan_id == plan.plan_id
        assert run.catalog_snapshot_id == plan.plan.catalog_snapshot_id
        for pin in plan.plan.pins:
            assert pin.attempt_id, f"{pin} is not bound"


@_check
def documents_stay_small(history: History) -> None:
    """I20. Heads and segments below the limit of one document."""
    for entity, head in history.heads.items():
        assert len(head.state) + len(head.owed) <= DOCUMENT_LIMIT_BYTES
        assert max(history.segment_bytes[entity]) <= DOCUMENT_LIMIT_BYTES

"""What workers were told: reports are recorded once, and count for whom they should."""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec

from arco_flow.domain.decision import APPLIED
from arco_flow.domain.events import (
    TaskFinished,
    TaskStarted,
    TaskStateChanged,
)
from arco_flow.domain.ids import Entity
from arco_flow.simulation.history import History
from arco_flow.simulation.violation import ViolatedError
from arco_flow.simulation.watch import REPLACED
from arco_flow.simulation.world import Answer


def every_event_is_applied_at_most_once(history: History) -> None:
    """I4. An id that took effect takes none again, but for news that replace each other."""
    for entity in history.heads:
        applied = Counter(
            entry.event.id
            for _, entry in history.entries(entity)
            if entry.disposition == APPLIED and not isinstance(entry.event.data, REPLACED)
        )
        twice = [event_id for event_id, times in applied.items() if times > 1]
        if twice:
            raise ViolatedError(f"applied twice: {twice}\n{history.show(entity)}")


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
        if (told["attemptId"], answer.verb, line) not in recorded[entity]:
            raise ViolatedError(f"lost: {answer}\n{history.show(entity)}")


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
            if not lost:
                raise ViolatedError(f"{worker} held {attempt_id}: {answer}\n{history.show(entity)}")


def _lost_otherwise(history: History, entity: str, answer: Answer) -> bool:
    """Whether the attempt was given up while the report was on its way: a cancel, a silence."""
    for segment, entry in history.entries(entity):
        data = entry.event.data
        if isinstance(data, TaskStateChanged) and data.task == answer.about["task"]:
            over = data.before == "RUNNING" and data.after != "SUCCEEDED"
            if over and data.attempt == answer.about["attempt"]:
                return history.commits[entity, segment.version] >= answer.asked_ms
    return False


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
            if isinstance(data, TaskFinished):
                holder = holders.get(data.attempt_id, data.worker_id)
                if holder != data.worker_id:
                    raise ViolatedError(f"{holder} held it: {data}\n{history.show(entity)}")


def one_worker_is_told_that_it_holds_the_claim(history: History) -> None:
    """I6. All that claimed an attempt and were told 200 are the same worker."""
    holders: dict[str, str] = {}
    for answer in history.answers:
        if answer.verb == "started" and answer.accepted:
            worker = answer.about["workerId"]
            holder = holders.setdefault(answer.about["attemptId"], worker)
            if holder != worker:
                entity = str(Entity(answer.scope, "run", answer.about["run"]))
                raise ViolatedError(f"{holder} too: {answer}\n{history.show(entity)}")


def an_end_that_counts_is_never_refused(history: History) -> None:
    """I19. Who repeats the report that ended its task is told what it was told then."""
    counted = _counted_ends(history)
    for answer in history.answers:
        if answer.verb != "completed" or answer.accepted:
            continue
        told = answer.about
        key = (told["attemptId"], told["workerId"], told["outcome"])
        if answer.asked_ms > counted.get(key, answer.asked_ms):
            entity = str(Entity(answer.scope, "run", told["run"]))
            raise ViolatedError(f"it counts: {answer}\n{history.show(entity)}")


def _counted_ends(history: History) -> dict[tuple[str, str, str], int]:
    """(attempt id, worker, outcome) -> when it landed, of the reports that ended a last attempt."""
    found = {}
    for entity in history.of_kind("run"):
        run, plan = history.run(entity), history.plan(entity)
        for segment, entry in history.entries(entity):
            data = entry.event.data
            if not isinstance(data, TaskFinished) or entry.disposition != APPLIED:
                continue
            if data.attempt == run.attempts[plan.index_of[data.task]]:
                landed_ms = history.commits[entity, segment.version]
                found[data.attempt_id, data.worker_id, data.outcome] = landed_ms
    return found


def attempts_are_counted_without_gap(history: History) -> None:
    """I6. 1, 2, 3…; what a worker reports counts only for the attempt that is current."""
    for entity in history.of_kind("run"):
        current: Counter[str] = Counter()
        seen: set[tuple[str, str]] = set()
        for _, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, TaskStateChanged) and data.after == "DISPATCHED":
                current[data.task] += 1
                if data.attempt != current[data.task]:
                    raise ViolatedError(f"{data}\n{history.show(entity)}")
            elif entry.disposition == APPLIED and isinstance(data, TaskStarted | TaskFinished):
                if data.attempt != current[data.task]:
                    raise ViolatedError(f"{data}\n{history.show(entity)}")
                key = (type(data).__name__, data.attempt_id)
                if key in seen:
                    raise ViolatedError(f"{key} twice\n{history.show(entity)}")
                seen.add(key)

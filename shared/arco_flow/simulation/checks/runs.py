"""How runs go: dependencies, ends, cancels, timers."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime

from arco_flow.domain.decision import APPLIED, DERIVED
from arco_flow.domain.events import (
    RunStateChanged,
    TaskStarted,
    TaskStateChanged,
    TimerFired,
    WorkersLost,
)
from arco_flow.domain.ids import Entity
from arco_flow.domain.run import RunState
from arco_flow.domain.run_deadlines import LOSSES_MAX
from arco_flow.simulation.history import History, Step
from arco_flow.simulation.violation import ViolatedError
from arco_flow.simulation.world import Answer


def terminal_is_terminal(history: History) -> None:
    """I5. After the end of a run nothing is applied or derived; a task succeeds once."""
    for entity in history.of_kind("run"):
        over = False
        succeeded: Counter[str] = Counter()
        for _, entry in history.entries(entity):
            data = entry.event.data
            quiet = entry.disposition not in (APPLIED, DERIVED)
            if not (not over or quiet):
                raise ViolatedError(f"{entry} after the end\n{history.show(entity)}")
            if isinstance(data, RunStateChanged) and RunState(data.after).is_terminal:
                over = True
            if isinstance(data, TaskStateChanged) and data.after == "SUCCEEDED":
                succeeded[data.task] += 1
        if max(succeeded.values(), default=0) > 1:
            raise ViolatedError(f"succeeded twice: {succeeded}\n{history.show(entity)}")


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
            if data.after == "DISPATCHED" and not done.issuperset(plan.upstream[index]):
                raise ViolatedError(f"{data}\n{history.show(entity)}")


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
                if bad:
                    raise ViolatedError(f"{data}\n{history.show(entity)}")


def no_more_in_flight_than_allowed(history: History) -> None:
    """I26. The window of attempts that are dispatched and not over is kept at each commit."""
    for entity in history.of_kind("run"):
        for step in history.replays[entity]:
            run = step.decision.state
            if len(run.live) > run.max_in_flight:
                text = f"v{step.segment.version}: {len(run.live)} of {run.max_in_flight}"
                raise ViolatedError(f"{text}\n{history.show(entity)}")


def no_task_is_tried_too_often(history: History) -> None:
    """I26. As often as its policy says, and once more for each attempt that the plane lost."""
    for entity in history.of_kind("run"):
        run, plan = history.run(entity), history.plan(entity)
        for index, attempts in enumerate(run.attempts):
            policy = plan.retry(index)
            allowed = 1 + (policy.max_retries if policy else 0) + run.losses.get(index, 0)
            if attempts > allowed:
                text = f"{plan.shorts[index]}: {attempts} attempts, {allowed} are allowed"
                raise ViolatedError(f"{text}\n{history.show(entity)}")


def what_a_dead_plane_held_is_given_back(history: History) -> None:
    """I24. That and nothing else is lost with it, and costs the task no retry."""
    for entity in history.of_kind("run"):
        lost: Counter[str] = Counter()
        living: dict[str, str] = {}
        for _, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, WorkersLost) and entry.disposition == APPLIED:
                living[entry.event.id] = data.survivors_prefix
            if isinstance(data, TaskStateChanged) and data.reason.endswith(_LOST):
                prefix = living[entry.event.causation]
                if data.reason.startswith(f"INFRASTRUCTURE: worker {prefix}"):
                    raise ViolatedError(f"its worker lives: {data}\n{history.show(entity)}")
                lost[data.task] += 1
        counted = {history.plan(entity).shorts[i]: n for i, n in history.run(entity).losses.items()}
        if counted != {task: min(times, LOSSES_MAX) for task, times in lost.items()}:
            raise ViolatedError(f"lost {lost}, counted {counted}\n{history.show(entity)}")


_LOST = "died with its plane"


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
                strange = (
                    isinstance(data, TimerFired)
                    and entry.disposition == APPLIED
                    and data.generation != step.before.timer_generation
                )
                if strange:
                    raise ViolatedError(f"a stranger: {data}\n{history.show(entity)}")
                if isinstance(data, TaskStateChanged):
                    _check_due(history, entity, step, data, heard)


Heard = dict[tuple[str, int], list[tuple[int, int]]]


def _heard(history: History, entity: str) -> Heard:
    """When the holder of each attempt was heard: (task, attempt) -> arrivals and answers.

    A silence is counted from the arrival, in store time; by the answer it was stored for sure.
    """
    holders = {
        (e.event.data.task, e.event.data.attempt): e.event.data.worker_id
        for _, e in history.entries(entity)
        if isinstance(e.event.data, TaskStarted) and e.disposition == APPLIED
    }
    heard: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for answer in history.answers:
        if answer.verb != "heartbeat" or not answer.accepted:
            continue
        told = answer.about
        key = (told["task"], told["attempt"])
        same_run = entity == str(Entity(answer.scope, "run", told["run"]))
        if same_run and holders.get(key) == told["workerId"]:
            heard[key].append((_arrival_ms(answer), answer.time_ms))
    return heard


def _arrival_ms(answer: Answer) -> int:
    told: str = answer.result.server_time
    return round(datetime.fromisoformat(told).timestamp() * 1000)


def _check_due(
    history: History,
    entity: str,
    step: Step,
    data: TaskStateChanged,
    heard: Heard,
) -> None:
    if step.before is None:
        return
    plan, now_ms = history.plan(entity), step.segment.now_ms
    index = plan.index_of[data.task]
    if data.before == "RETRY_WAIT" and data.after == "READY":
        due_ms = step.before.retry_due.get(index, 0)
        if due_ms > now_ms:
            raise ViolatedError(f"retried {due_ms - now_ms} ms early\n{history.show(entity)}")
    if "zombie" in data.reason:
        limit_ms = plan.spec(index).timeouts.heartbeat_ms
        for arrived_ms, answered_ms in heard.get((data.task, data.attempt), []):
            # What was answered in the same moment may have come a step too late.
            if answered_ms < now_ms < arrived_ms + limit_ms:
                raise ViolatedError(f"{data} was heard at {arrived_ms}\n{history.show(entity)}")

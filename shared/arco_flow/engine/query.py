"""The read side of runs: states, plans, events, attempts. (`catalog.py`: assets.)"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from arco_flow.domain.decision import APPLIED, Segment, decode_segment, inflated
from arco_flow.domain.errors import InvalidInput, NotFound, did_you_mean
from arco_flow.domain.events import (
    TaskFinished,
    TaskHeartbeat,
    TaskStarted,
    decode_event,
    to_cloud_event,
)
from arco_flow.domain.ids import Scope, run_entity
from arco_flow.domain.page_size import one_page
from arco_flow.domain.run import Run, RunState, decode_run
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import BATCH_BYTES, waiting
from arco_flow.engine.objects import load_plan, load_run
from arco_flow.engine.pages import filled
from arco_flow.engine.present import RunDetails, plan_view, run_view, stamp, task_views
from arco_flow.engine.views import (
    AttemptView,
    EventPage,
    EventView,
    PlanView,
    RunPage,
    RunView,
)
from arco_flow.ports.log_context import label_logs
from arco_flow.ports.store import Head

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)


async def get_run(engine: Engine, scope: Scope, run_id: str, *, tasks: bool = True) -> RunView:
    """A run with its tasks. Raises NotFound."""
    head, run = await find_run(engine, scope, run_id)
    if not tasks:
        return run_view(scope, run, [])
    plan = await load_plan(engine, scope, run.plan_id)
    heartbeats = [] if RunState(run.state).is_terminal else await _heartbeats(engine, head.entity)
    details = engine.memory.details.get(head.entity) or RunDetails()
    details.take_in(await run_segments(engine, head.entity, after=details.version), heartbeats)
    engine.memory.details.put(head.entity, details)
    return run_view(scope, run, task_views(run, plan, details))


async def _heartbeats(engine: Engine, entity: str) -> list[TaskHeartbeat]:
    """Signs of life that nothing has folded yet: they wait for other news, people do not."""
    found: list[TaskHeartbeat] = []
    items, _ = await waiting(engine, entity, BATCH_BYTES)
    for item in items:
        with contextlib.suppress(InvalidInput):
            data = decode_event(item.body).data
            found += [data] if isinstance(data, TaskHeartbeat) else []
    return found


async def list_runs(
    engine: Engine,
    scope: Scope,
    *,
    states: Sequence[str] = (),
    limit: int = 50,
    before: str = "",
) -> RunPage:
    """Runs, newest first, without their tasks.

    states: run states to keep. before: page token of the page before. Raises InvalidInput.
    """
    for state in states:
        if state not in RunState.__members__:
            hint = did_you_mean(state, RunState.__members__)
            raise InvalidInput(
                f"no run state '{state}'{hint}", fix=f"states: {', '.join(RunState.__members__)}"
            )
    limit = max(1, limit)
    heads = await engine.store.list_heads(
        f"{scope.tenant}:{scope.workspace}:run:",
        statuses=states,
        before=_parse_before(before),
        limit=limit,
    )
    runs = [run_view(scope, run, []) for run in await _runs_of(engine, heads)]
    # Fewer than there are heads when their tags are large.
    more = len(heads) == limit or len(runs) < len(heads)
    last = heads[len(runs) - 1] if more else None
    return RunPage(runs=runs, next_page_token=f"{last.created_ms}~{last.entity}" if last else "")


async def get_plan(engine: Engine, scope: Scope, run_id: str) -> PlanView:
    """The plan of a run. Raises NotFound."""
    _, run = await find_run(engine, scope, run_id)
    return plan_view(await load_plan(engine, scope, run.plan_id))


async def list_run_events(
    engine: Engine, scope: Scope, run_id: str, *, after: int = 0, limit: int = 200
) -> EventPage:
    """Ledger lines of a run in causal order, whole segments after a version. Raises NotFound."""
    head, _ = await find_run(engine, scope, run_id)
    limit = max(1, limit)
    raw = await engine.store.segments(head.entity, after=after, limit=limit)
    segments: list[Segment] = []
    for body in one_page(map(inflated, raw), len):
        segments.append(decode_segment(body))
    events = [
        EventView(
            version=segment.version,
            index=index,
            disposition=entry.disposition,
            reason=entry.reason,
            event=to_cloud_event(entry.event, scope.source),
        )
        for segment in segments
        for index, entry in enumerate(segment.entries)
    ]
    more = bool(segments) and segments[-1].version < head.version
    return EventPage(events=events, next_page_token=str(segments[-1].version) if more else "")


async def require_task(engine: Engine, scope: Scope, run_id: str, task: str) -> None:
    """Raises NotFound with the nearest task of the run when there is none of this name."""
    _, run = await find_run(engine, scope, run_id)
    plan = await load_plan(engine, scope, run.plan_id)
    if task not in plan.index_of:
        raise NotFound(
            f"no task '{task}' in run {run_id}{did_you_mean(task, plan.index_of)}",
            fix=f"its tasks: arco-flow status {run_id}",
            reason="TASK_NOT_FOUND",
        )
    label_logs(task=task)


async def list_attempts(engine: Engine, scope: Scope, run_id: str, task: str) -> list[AttemptView]:
    """Every attempt of a task that a worker started or finished. Raises NotFound."""
    head, _ = await find_run(engine, scope, run_id)
    await require_task(engine, scope, run_id, task)
    started: dict[int, tuple[TaskStarted, int]] = {}
    finished: dict[int, tuple[TaskFinished, int]] = {}
    for segment in await run_segments(engine, head.entity):
        for entry in segment.entries:
            data, time_ms = entry.event.data, entry.event.time_ms
            if entry.disposition != APPLIED:
                continue
            if isinstance(data, TaskStarted) and data.task == task:
                started[data.attempt] = (data, time_ms)
            elif isinstance(data, TaskFinished) and data.task == task:
                finished[data.attempt] = (data, time_ms)
    numbers = sorted(started.keys() | finished.keys())
    return [_attempt_view(number, started.get(number), finished.get(number)) for number in numbers]


def _attempt_view(
    number: int,
    start: tuple[TaskStarted, int] | None,
    end: tuple[TaskFinished, int] | None,
) -> AttemptView:
    known = (start or end or (None, 0))[0]
    assert known is not None
    return AttemptView(
        attempt=number,
        attempt_id=known.attempt_id,
        worker_id=known.worker_id,
        start_time=stamp(start[1]) if start else "",
        end_time=stamp(end[1]) if end else "",
        outcome=end[0].outcome if end else "",
        error=end[0].error if end else None,
    )


async def run_segments(engine: Engine, entity: str, *, after: int = 0) -> list[Segment]:
    """The ledger of a run, after a version."""
    found: list[Segment] = []
    while raw := await engine.store.segments(entity, after=found[-1].version if found else after):
        found.extend(decode_segment(body) for body in raw)
    return found


async def find_run(engine: Engine, scope: Scope, run_id: str) -> tuple[Head, Run]:
    """A run with its head. Raises NotFound."""
    # Asked of no store: one refuses the name of a document that another looks for in vain.
    can_be = _RUN_ID.fullmatch(run_id)
    head = await engine.store.load(str(run_entity(scope, run_id))) if can_be else None
    if head is None:
        raise NotFound(f"no run '{run_id}'", fix="arco-flow runs", reason="RUN_NOT_FOUND")
    label_logs(run=run_id)
    return head, load_run(engine, head)


async def _runs_of(engine: Engine, heads: Sequence[Head]) -> list[Run]:
    """The runs of listed heads, which come without their states: as many as a page has room for."""

    async def load(names: Sequence[str]) -> dict[str, Run]:
        full = await engine.store.load_many(names)
        return {name: decode_run(head.state) for name, head in full.items()}

    found = await filled([head.entity for head in heads], load, _shown_bytes)
    return [run for run in found.values() if run is not None]


def _shown_bytes(run: Run) -> int:
    """Of what a list shows of a run, roughly; at most what one request holds."""
    return len(run.selection) + sum(len(key) + len(text) for key, text in run.tags.items())


def _parse_before(token: str) -> tuple[int, str] | None:
    if not token:
        return None
    created, _, entity = token.partition("~")
    if not created.isdigit() or not entity:
        raise InvalidInput(
            "malformed page token", fix="start again without it", reason="BAD_PAGE_TOKEN"
        )
    return int(created), entity

"""Runs: request, look, wait, cancel, and what they left behind."""

from __future__ import annotations

import asyncio

import msgspec

from arco_flow.domain.run import RunState
from arco_flow.engine import cancel_run as cancelling
from arco_flow.engine import query
from arco_flow.engine.logs import read_logs
from arco_flow.engine.run_bridge import preview_run, request_run
from arco_flow.engine.views import (
    AttemptView,
    EventPage,
    LogPage,
    PlanView,
    RunAccepted,
    RunPage,
    RunSpec,
    RunView,
)
from arco_flow.http.arguments import flag, page_size, request_id, run_states, wait_ms
from arco_flow.http.bodies import decode_body
from arco_flow.http.routing import Call

_FIRST_POLL_SECONDS = 0.02
_LAST_POLL_SECONDS = 0.25
_COLLECT_SECONDS = 0.25
"""A busy run changes a hundred times a second, and every answer shows all of its tasks: measured,
followers took two thirds of the plane. Its end is told at once."""
DEFAULT_LOG_LINES = 1000


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `:cancel`; reason is kept in the ledger."""

    reason: str = ""


class AttemptList(msgspec.Struct, frozen=True):
    """The attempts of one task, first to last."""

    attempts: list[AttemptView]


async def create_run(call: Call) -> RunAccepted | PlanView:
    """Request a run; with `validateOnly` plan it, answer the plan, and start nothing.

    The answer comes once the run is accepted, not once it is over. A request that is repeated under
    its run key is answered with the run that it made, and `created` false.
    """
    spec = decode_body(call.request, RunSpec)
    spec = msgspec.structs.replace(spec, run_key=request_id(call.request, call.query, spec.run_key))
    if flag(call.query, "validateOnly"):
        return await preview_run(call.engine, call.scope, spec)
    return await request_run(
        call.engine,
        call.scope,
        spec,
        actor=call.caller.actor,
        traceparent=call.request.header("traceparent"),
    )


async def list_runs(call: Call) -> RunPage:
    """Runs, newest first."""
    page = await query.list_runs(
        call.engine,
        call.scope,
        states=run_states(call.query),
        limit=page_size(call.query),
        before=call.cursor(),
    )
    return msgspec.structs.replace(page, next_page_token=call.sealed(page.next_page_token))


async def get_run(call: Call) -> RunView:
    """One run with its tasks; with `wait` not before it has changed or is over, unless too many
    wait already."""
    seconds = wait_ms(call.query) / 1000
    if seconds:
        with call.waits.place() as is_free:
            if is_free:
                await _changed(call, seconds)
    return await _run(call, tasks=True)


async def _changed(call: Call, seconds: float) -> None:
    """Return when the run has changed or is over, at the latest after so long."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    until = started + seconds
    run = await _run(call, tasks=False)
    pause = _FIRST_POLL_SECONDS
    seen = run.version
    while not RunState(run.state).is_terminal:
        end = until if run.version == seen else min(until, started + _COLLECT_SECONDS)
        if loop.time() >= end:
            return
        await asyncio.sleep(min(pause, end - loop.time()))
        pause = min(pause * 1.5, _LAST_POLL_SECONDS)
        run = await _run(call, tasks=False)


async def cancel_run(call: Call) -> RunView:
    """Ask a run to end; its running tasks are told with their next report.

    Asking again changes nothing. A run that is over stays as it is: 409.
    """
    body = decode_body(call.request, CancelRequest) if call.request.body else CancelRequest()
    return await cancelling.cancel_run(
        call.engine,
        call.scope,
        call.params["run"],
        reason=body.reason,
        actor=call.caller.actor,
    )


async def get_plan(call: Call) -> PlanView:
    """What the run was planned to do."""
    return await query.get_plan(call.engine, call.scope, call.params["run"])


async def list_events(call: Call) -> EventPage:
    """The run's ledger in causal order: every event, what it did, and why one had no effect."""
    page = await query.list_run_events(
        call.engine,
        call.scope,
        call.params["run"],
        after=int(call.cursor() or 0),
        limit=page_size(call.query),
    )
    return msgspec.structs.replace(page, next_page_token=call.sealed(page.next_page_token))


async def list_attempts(call: Call) -> AttemptList:
    """The attempts of one task."""
    run, task = call.params["run"], call.params["task"]
    return AttemptList(await query.list_attempts(call.engine, call.scope, run, task))


async def list_log_lines(call: Call) -> LogPage:
    """What the run's tasks wrote, in order.

    While the run goes on there may be more: ask again with the last `nextPageToken` until
    `complete` is true.
    """
    page = await read_logs(
        call.engine,
        call.scope,
        call.params["run"],
        task=call.query.get("task", ""),
        after=call.cursor(),
        limit=page_size(call.query, DEFAULT_LOG_LINES),
    )
    return msgspec.structs.replace(page, next_page_token=call.sealed(page.next_page_token))


async def _run(call: Call, *, tasks: bool) -> RunView:
    return await query.get_run(call.engine, call.scope, call.params["run"], tasks=tasks)

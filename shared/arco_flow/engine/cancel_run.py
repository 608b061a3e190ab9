"""Cancel a run: gracefully first, by force when its grace period is over."""

from __future__ import annotations

from arco_flow.domain.errors import Conflict
from arco_flow.domain.events import Event, RunCancelRequested
from arco_flow.domain.ids import Scope, run_entity
from arco_flow.domain.run import RunState
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import fold, record
from arco_flow.engine.query import find_run, get_run
from arco_flow.engine.views import RunView


async def cancel_run(
    engine: Engine, scope: Scope, run_id: str, *, reason: str, actor: str
) -> RunView:
    """Ask a run to stop; asking again changes nothing.

    Raises NotFound, or Conflict when the run is over already: its state stands.
    """
    head, _ = await find_run(engine, scope, run_id)
    entity = run_entity(scope, run_id)
    if RunState(head.status).is_terminal:
        raise Conflict(
            f"run {run_id} is {head.status} already; it can not be cancelled",
            fix=f"nothing is left to end; what it did: arco-flow status {run_id}",
            reason="RUN_NOT_CANCELLABLE",
            details={"run": run_id, "state": head.status},
        )
    now_ms = await engine.store.now_ms()
    event = Event(
        f"cancel:{run_id}", now_ms, str(entity), RunCancelRequested(reason), actor, run_id
    )
    await record(engine, entity, event)
    await fold(engine, entity)
    return await get_run(engine, scope, run_id)

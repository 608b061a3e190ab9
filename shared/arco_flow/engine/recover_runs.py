"""After the plane died with its workers: give their attempts back to the runs."""

from __future__ import annotations

from contextlib import suppress

from arco_flow.domain.errors import ArcoError
from arco_flow.domain.events import Event, WorkersLost, encode_event
from arco_flow.domain.ids import Entity, Scope
from arco_flow.domain.run import RunState
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import fold, record

_OPEN = [state.value for state in RunState if not state.is_terminal]
PAGE = 200


async def recover_runs(engine: Engine, scope: Scope, survivors_prefix: str) -> int:
    """Tell every open run that only workers of this prefix live; answers their number.

    For a plane that owns its workers, once at its start, before it dispatches anything.
    """
    before: tuple[int, str] | None = None
    found = 0
    while True:
        heads = await engine.store.list_heads(
            f"{scope.tenant}:{scope.workspace}:run:", statuses=_OPEN, before=before, limit=PAGE
        )
        for head in heads:
            await _recover(engine, Entity.parse(head.entity), survivors_prefix)
        found += len(heads)
        if len(heads) < PAGE:
            return found
        before = (heads[-1].created_ms, heads[-1].entity)


async def _recover(engine: Engine, entity: Entity, survivors_prefix: str) -> None:
    now_ms = await engine.store.now_ms()
    event = Event(
        id=f"workers_lost:{survivors_prefix}",
        time_ms=now_ms,
        subject=str(entity),
        data=WorkersLost(survivors_prefix),
        actor="plane",
        correlation=entity.name,
    )
    try:
        await record(engine, entity, event)
    except ArcoError:
        # One run that can not be folded must keep no plane from starting. The news waits in its
        # inbox, where the sweeper meets it and says what is wrong.
        await engine.store.post(str(entity), event.id, encode_event(event))
        return
    # Debts of the dead plane too: what it committed and did not submit; else the sweeper's.
    with suppress(ArcoError):
        await fold(engine, entity, sweeping=True)

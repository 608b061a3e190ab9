"""After the plane died with its workers: give their attempts back to the runs."""

from __future__ import annotations

from arco_flow.domain.events import Event, WorkersLost
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
            entity = Entity.parse(head.entity)
            now_ms = await engine.store.now_ms()
            event = Event(
                id=f"workers_lost:{survivors_prefix}",
                time_ms=now_ms,
                subject=head.entity,
                data=WorkersLost(survivors_prefix),
                actor="plane",
                correlation=entity.name,
            )
            await record(engine, entity, event)
            # Debts of the dead plane too: what it committed and did not submit.
            await fold(engine, entity, sweeping=True)
        found += len(heads)
        if len(heads) < PAGE:
            return found
        before = (heads[-1].created_ms, heads[-1].entity)

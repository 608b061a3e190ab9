"""A wake came due: fold the entity."""

from __future__ import annotations

from arco_flow.domain.ids import Entity
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import Folded, fold, wake


async def dispatch(engine: Engine, entity: str) -> Folded:
    """Fold one entity by its id. A lost race has re-woken it and is no error."""
    if entity in engine.memory.folding:
        await wake(engine, Entity.parse(entity))
        return Folded.CONTENDED
    return await fold(engine, Entity.parse(entity))

"""A wake came due: fold the entity."""

from __future__ import annotations

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ids import Entity
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import Folded, fold, wake
from arco_flow.ports.log_context import label_entity


async def dispatch_task(engine: Engine, body: bytes) -> Folded:
    """`dispatch` of a task's body. Raises InvalidInput on one that names no entity of ours."""
    try:
        entity = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"this is no wake: {error}") from error
    return await dispatch(engine, entity)


async def dispatch(engine: Engine, entity: str) -> Folded:
    """Fold one entity by its id. A lost race has re-woken it and is no error."""
    target = Entity.parse(entity)
    label_entity(target)
    if entity in engine.memory.folding:
        await wake(engine, target)
        return Folded.CONTENDED
    return await fold(engine, target)

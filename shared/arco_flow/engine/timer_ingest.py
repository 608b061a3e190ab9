"""A deadline timer came due: tell its entity."""

from __future__ import annotations

from typing import Annotated

import msgspec

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.events import TimerFired
from arco_flow.domain.ids import Entity
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import record, timer_event
from arco_flow.engine.objects import load_run
from arco_flow.ports.log_context import follow_trace, label_entity


class _TimerTask(msgspec.Struct):
    entity: str
    generation: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


async def ingest_timer_task(engine: Engine, body: bytes) -> None:
    """`ingest_timer` of a task's body. Raises InvalidInput on one that is no timer's."""
    try:
        task = msgspec.json.decode(body, type=_TimerTask)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"this is no timer task: {error}") from error
    await ingest_timer(engine, task.entity, task.generation)


async def ingest_timer(engine: Engine, entity_id: str, generation: int) -> None:
    """Record that a timer fired. One of an older generation is dropped here already: most
    timers outlive what they watched, and an ignored event would still cost a commit."""
    entity = Entity.parse(entity_id)
    label_entity(entity)
    head = await engine.store.load(entity_id)
    if head is None:
        return
    if entity.kind == "run":
        run = load_run(engine, head)
        follow_trace(run.run_id, run.traceparent)
        if run.timer_generation != generation:
            return
    now_ms = await engine.store.now_ms()
    await record(engine, entity, timer_event(entity, TimerFired(generation), now_ms))

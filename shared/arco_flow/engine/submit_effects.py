"""Submit what a commit owes, each effect under its deterministic name.

What succeeds is remembered and struck off the debt by the entity's next commit; what fails
stays owed, and the sweeper submits it again. Nothing here can be done twice with effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from arco_flow.domain.effects import (
    DispatchAttempt,
    Effect,
    SendEvent,
    SetTimer,
    StopAttempt,
    SwapPointer,
)
from arco_flow.domain.errors import Rejected, Unavailable
from arco_flow.domain.events import Event
from arco_flow.domain.ids import Entity, dispatch_id_of, queue_task_name
from arco_flow.domain.stored_forms import read_stored
from arco_flow.engine.context import Engine
from arco_flow.engine.envelopes import build_envelopes
from arco_flow.ports.tasks import NewTask


class _Pointer(msgspec.Struct):
    promotion: int


_pointers = msgspec.json.Decoder(_Pointer)

Deliver = Callable[[Engine, Entity, Sequence[Event]], Awaitable[None]]
"""How events reach another entity: `mailbox.record_all`, handed in because folding sends."""


async def submit_effects(
    engine: Engine, entity: Entity, owed: Sequence[Effect], deliver: Deliver
) -> None:
    """Submit every effect that this instance is not submitting already."""
    memory, name = engine.memory, str(entity)
    done = memory.settled.get(name, set())
    todo = [e for e in owed if f"{name}/{e.id}" not in memory.submitting and e.id not in done]
    keys = {f"{name}/{effect.id}" for effect in todo}
    memory.submitting |= keys
    try:
        dispatches = [e for e in todo if isinstance(e, DispatchAttempt)]
        if dispatches and await _try(_dispatch(engine, entity, dispatches)):
            _settle(engine, name, dispatches)
        for target, sends in _by_target(todo).items():
            events = [send.decoded() for send in sends]
            if await _try(deliver(engine, Entity.parse(target), events)):
                _settle(engine, name, sends)
        for effect in todo:
            work = _work(engine, entity, effect)
            if work is not None and await _try(work):
                _settle(engine, name, (effect,))
    finally:
        memory.submitting -= keys


def _settle(engine: Engine, name: str, effects: Sequence[Effect]) -> None:
    # Looked up anew each time: a commit takes the set away while effects are being submitted.
    engine.memory.settled.setdefault(name, set()).update(effect.id for effect in effects)


def _by_target(effects: Sequence[Effect]) -> dict[str, list[SendEvent]]:
    """Events by the entity they go to: one fold of an asset takes all that a batch made."""
    found: dict[str, list[SendEvent]] = {}
    for effect in effects:
        if isinstance(effect, SendEvent):
            found.setdefault(effect.entity, []).append(effect)
    return found


def _work(engine: Engine, entity: Entity, effect: Effect) -> Awaitable[object] | None:
    if isinstance(effect, SetTimer):
        return _set_timer(engine, entity, effect)
    if isinstance(effect, StopAttempt):
        return _stop_attempt(engine, effect)
    if isinstance(effect, SwapPointer):
        return _swap_pointer(engine, effect)
    return None


async def _try(work: Awaitable[object]) -> bool:
    """Whether the work was done; an outage or a refusal leaves the effect owed."""
    try:
        await work
    except (Unavailable, Rejected):
        return False
    return True


async def _dispatch(engine: Engine, entity: Entity, effects: Sequence[DispatchAttempt]) -> None:
    envelopes = await build_envelopes(engine, entity, effects)
    tasks = []
    for effect, envelope in zip(effects, envelopes, strict=True):
        if envelope is None:
            continue
        internal = f"{envelope.dispatch_id}:{effect.generation}"
        body = msgspec.json.encode(envelope)
        tasks.append(NewTask("worker", queue_task_name("d", internal), "worker", body))
    await engine.tasks.enqueue_many(tasks)


async def _set_timer(engine: Engine, entity: Entity, effect: SetTimer) -> None:
    body = msgspec.json.encode({"entity": effect.entity, "generation": effect.generation})
    name = queue_task_name("t", f"{entity}:{effect.generation}:{effect.at_ms}")
    await engine.tasks.enqueue("timers", name, "timer_ingest", body, at_ms=effect.at_ms)


async def _stop_attempt(engine: Engine, effect: StopAttempt) -> None:
    name = queue_task_name("s", dispatch_id_of(effect.run_id, effect.attempt_id, 0))
    body = msgspec.json.encode(effect)
    await engine.tasks.enqueue("control", name, "stop_attempt", body)


async def _swap_pointer(engine: Engine, effect: SwapPointer) -> None:
    """Write the pointer unless it is newer; a lost race is read again until it is decided."""
    body = msgspec.json.encode(effect.body)
    while True:
        current = await engine.objects.get(effect.path)
        if current is None:
            done = await engine.objects.put_if_absent(effect.path, body)
        elif read_stored(_pointers, current.data, effect.path).promotion >= effect.promotion:
            return
        else:
            done = await engine.objects.put_if_generation(effect.path, body, current.generation)
        if done is not None:
            return

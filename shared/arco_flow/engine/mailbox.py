"""record, wake and fold: the loop of one step that every entity shares.

    record(entity, event)  quiet entity: fold it now, with all that waits; else post and wake
    wake(entity)           a task named by (entity, bucket): many senders, one fold per bucket
    fold(entity)           load, list, decide, ONE commit, submit

The head is loaded before the inbox is listed. The other order, or both at once, can pair a
state that already holds an event with a listing from before it was consumed; the commit's
`exists` precondition on each consumed item refuses that too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from arco_flow.domain.decision import Decision, Segment, encode_segment
from arco_flow.domain.effects import Effect, decode_owed, encode_owed
from arco_flow.domain.errors import Contended, InvalidInput, NotFound, Unavailable
from arco_flow.domain.events import (
    Event,
    TaskHeartbeat,
    TimerFired,
    UnknownEvent,
    decode_event,
    encode_event,
)
from arco_flow.domain.ids import Entity, queue_task_name
from arco_flow.engine.context import Engine
from arco_flow.engine.machines import Machine, machine_of
from arco_flow.engine.submit_effects import submit_effects
from arco_flow.ports.store import Commit, Head, InboxItem, Posted

BATCH_LIMIT = 400
"""Events per fold: a commit stays far below the store's limit on writes."""
FIRST_LOOK = 32
"""Events that are read before it is known how large they are: 16 MiB at the most, where 400 reports
of the largest size would be 200, read again by each of the folds that they take."""
BATCH_BYTES = 400 * 1024
"""Size of the events of a fold, unless the first alone is larger: they are one ledger segment."""
HEAD_BYTES = 880 * 1024
"""What a head may hold in state and debts; a document ends a little above."""
DEBT_BYTES = 64 * 1024
"""A debt of more is paid before the next fold adds to it: results travel in it to the catalog."""


class Folded(StrEnum):
    """Outcome of a fold."""

    COMMITTED = "committed"
    NOTHING = "nothing"
    CONTENDED = "contended"


async def record_all(engine: Engine, entity: Entity, events: Sequence[Event]) -> None:
    """`record` for several events of one entity: at most one fold, at most one wake."""
    if not await _folded_now(engine, entity, events):
        for event in events:
            await engine.store.post(str(entity), event.id, encode_event(event))
        await wake(engine, entity)


async def record(engine: Engine, entity: Entity, event: Event) -> Folded | Posted:
    """Make an event part of an entity's history, now if it is quiet, else soon.

    Raises NotFound when the entity must exist and does not; Unavailable, OutcomeUnknown.
    """
    outcome = await _folded_now(engine, entity, (event,))
    return outcome or await post_and_wake(engine, entity, event)


async def _folded_now(engine: Engine, entity: Entity, events: Sequence[Event]) -> Folded | None:
    """Fold the events in this request when the entity is quiet; None when they must be posted."""
    head = await engine.store.load(str(entity))
    if head is None and machine_of(entity).must_exist:
        raise NotFound(f"no {entity.kind} '{entity.name}'")
    quiet_ms = engine.settings.quiet_ms
    if str(entity) in engine.memory.folding:
        return None
    if head is None or await engine.store.now_ms() - head.updated_ms >= quiet_ms:
        outcome = await fold(engine, entity, events)
        if outcome is not Folded.CONTENDED:
            return outcome
    return None


async def post_and_wake(
    engine: Engine, entity: Entity, event: Event, *, replace: bool = False
) -> Posted:
    """Put an event into the inbox and ask for a fold."""
    posted = await engine.store.post(str(entity), event.id, encode_event(event), replace=replace)
    await wake(engine, entity)
    return posted


async def wake(engine: Engine, entity: Entity) -> None:
    """Ask for one fold in the next bucket of time, whoever else asks too."""
    name, width = str(entity), engine.settings.wake_ms
    bucket = engine.clock.now_ms() // width + 1
    if engine.memory.woken.get(name) == bucket:
        return
    task = queue_task_name("w", f"{name}:{bucket}")
    # Later than its bucket begins by what clocks may differ: whose clock is behind would find the
    # name of a wake that is over already, and be woken by the sweeper only.
    at_ms = bucket * width + engine.settings.skew_ms
    await engine.tasks.enqueue("wakes", task, "dispatch", name.encode(), at_ms=at_ms)
    engine.memory.woken.put(name, bucket)


async def fold(
    engine: Engine,
    entity: Entity,
    extra: Sequence[Event] = (),
    *,
    sweeping: bool = False,
    fence: tuple[str, int] | None = None,
) -> Folded:
    """Fold all that waits (and `extra`) in one commit, then submit what is owed.

    sweeping: also fire a timer that is overdue, and strike off submitted debts although no
    event waits. fence: (lease, token) that must be the current grant. On a lost race, or when
    `extra` must take its turn in the inbox, the entity is woken and nothing was written; `extra`
    was not recorded then.
    """
    engine.memory.folding.add(str(entity))
    try:
        batch = await _gather(engine, entity, extra, sweeping)
        if batch is None:
            return Folded.NOTHING
        owed = await _commit(engine, entity, batch, fence)
    except Contended:
        await wake(engine, entity)
        return Folded.CONTENDED
    finally:
        engine.memory.folding.discard(str(entity))
    if batch.more:
        await wake(engine, entity)
    await submit_effects(engine, entity, owed, record_all)
    return Folded.COMMITTED


async def fold_all(engine: Engine, entity: Entity) -> None:
    """Fold until nothing waits, for a caller that reads back what it has just recorded.

    A lost race leaves the event in the inbox; that another writer won it is progress all the
    same, so this ends when the callers of the moment are served.
    """
    while await fold(engine, entity) is not Folded.NOTHING:
        continue


async def pay_debts(engine: Engine, entity: Entity) -> None:
    """Submit again what an entity owes; its next commit by this process strikes it off."""
    head = await engine.store.load(str(entity))
    if head is not None and head.owed:
        await submit_effects(engine, entity, decode_owed(head.owed), record_all)


@dataclass(frozen=True, slots=True)
class _Batch:
    machine: Machine
    head: Head | None
    items: Sequence[InboxItem]
    decision: Decision[object]
    now_ms: int
    more: bool


async def _gather(
    engine: Engine, entity: Entity, extra: Sequence[Event], sweeping: bool
) -> _Batch | None:
    machine, name = machine_of(entity), str(entity)
    head = await engine.store.load(name)
    if head is None and machine.must_exist:
        return None
    room = await _room(engine, entity, head)
    # Before the listing: a process that stands still between the two must not judge a silence
    # as of later than what it has heard.
    now_ms = await engine.store.now_ms()
    fitting, more = await waiting(engine, name, room)
    items, events = _readable(fitting, hold_timers=more)
    _take_in(events, extra, full=more, room=room - sum(len(item.body) for item in items))
    state = await machine.load(engine, entity, head, events)
    if sweeping and not more and (lost := machine.lost_timer(state, now_ms)):
        fired = timer_event(entity, lost, now_ms)
        # It may have fired after all, and wait for its fold.
        events.extend([] if fired.id in {event.id for event in events} else [fired])
    decision = await machine.decide(engine, entity, state, events, now_ms)
    settles = sweeping and head is not None and bool(head.owed)
    if decision.is_noop and not items and not settles:
        return None
    return _Batch(machine, head, items, decision, now_ms, more)


async def waiting(engine: Engine, entity: str, room: int) -> tuple[Sequence[InboxItem], bool]:
    """The first items of an inbox that fit into so many bytes, the first one in any case; and
    whether more wait. The size of a few says how many are worth reading."""
    limit = FIRST_LOOK
    listed = await engine.store.inbox(entity, limit)
    size = sum(len(item.body) for item in listed)
    if len(listed) == limit and size <= room:
        limit = min(2 * FIRST_LOOK * room // max(size, 1), BATCH_LIMIT)
        listed = await engine.store.inbox(entity, limit)
    fitting = _fitting(listed, room)
    return fitting, len(fitting) < len(listed) or len(listed) >= limit


def _readable(
    items: Sequence[InboxItem], *, hold_timers: bool
) -> tuple[list[InboxItem], list[Event]]:
    """Decode a listing. A timer waits until the inbox is exhausted: a heartbeat that is still
    in it must not be overlooked when silence is judged."""
    kept: list[InboxItem] = []
    events: list[Event] = []
    for item in items:
        event = _decode(item)
        if hold_timers and isinstance(event.data, TimerFired):
            continue
        kept.append(item)
        events.append(event)
    return kept, events


def _take_in(events: list[Event], extra: Sequence[Event], *, full: bool, room: int) -> None:
    """Fold `extra` with what waits. Raises Contended for what must be posted instead.

    An event whose id waits already may say something else: only the post tells the caller what
    came first. And nothing may overtake what the batch has no room for: a timer would judge a
    silence that is broken by a heartbeat further down.
    """
    if not extra:
        return
    waiting = {event.id for event in events}
    crowded = len(events) + len(extra) > 1 and sum(len(encode_event(e)) for e in extra) > room
    if full or crowded or any(event.id in waiting for event in extra):
        raise Contended(f"event '{extra[0].id}' must take its turn in the inbox")
    events.extend(extra)


async def _room(engine: Engine, entity: Entity, head: Head | None) -> int:
    """How many bytes of events this fold may take.

    Raises Unavailable when what is owed leaves no room in the head and can not be paid now.
    """
    if head is None:
        return BATCH_BYTES
    owed = len(head.owed)
    if owed > DEBT_BYTES:
        effects = decode_owed(head.owed)
        await submit_effects(engine, entity, effects, record_all)
        settled = engine.memory.settled.get(str(entity), set())
        owed = len(encode_owed(tuple(e for e in effects if e.id not in settled)))
    room = HEAD_BYTES - len(head.state) - owed
    if owed > DEBT_BYTES and room < DEBT_BYTES:
        raise Unavailable(f"'{entity}' owes {owed:,} bytes that can not be delivered now")
    return min(room, BATCH_BYTES)


def _fitting(items: Sequence[InboxItem], room: int) -> Sequence[InboxItem]:
    """The first items that fit; the first one in any case."""
    total = 0
    for count, item in enumerate(items):
        total += len(item.body)
        if total > room and count:
            return items[:count]
    return items


def _decode(item: InboxItem) -> Event:
    """A poison item folds as an unknown event: recorded with its reason, out of the way.

    A sign of life is as of its arrival: one that lands late may have replaced a newer one.
    """
    try:
        event = decode_event(item.body)
    except InvalidInput as error:
        data = {"error": error.message, "body": item.body[:1000].decode("utf-8", "replace")}
        return Event(
            item.event_id, item.posted_ms, item.entity, UnknownEvent("Malformed", data), "unknown"
        )
    if isinstance(event.data, TaskHeartbeat) and event.time_ms < item.posted_ms:
        return msgspec.structs.replace(event, time_ms=item.posted_ms)
    return event


async def _commit(
    engine: Engine, entity: Entity, batch: _Batch, fence: tuple[str, int] | None = None
) -> tuple[Effect, ...]:
    """Write the decision; answers what is owed after it."""
    name, head, decision = str(entity), batch.head, batch.decision
    settled = engine.memory.settled.pop(name, set())
    owed = tuple(
        effect for effect in (decode_owed(head.owed) if head else ()) if effect.id not in settled
    )
    debts = owed + decision.effects
    since = head.owed_since_ms if head and owed else batch.now_ms
    version = (head.version if head else 0) + 1
    packed = batch.machine.pack(decision.state)
    try:
        await engine.store.commit(
            Commit(
                head=Head(
                    entity=name,
                    version=version,
                    status=packed.status,
                    state=packed.state,
                    owed=encode_owed(debts) if debts else b"",
                    owed_since_ms=since if debts else 0,
                    labels=packed.labels,
                    timer_ms=packed.timer_ms,
                ),
                expected_version=version - 1,
                segment=encode_segment(
                    Segment(version, batch.now_ms, batch.machine.order_version, decision.ledger)
                ),
                consumed=batch.items,
                rows=decision.rows,
                fence=fence,
            )
        )
    except BaseException:
        engine.memory.settled.setdefault(name, set()).update(settled)
        raise
    if decision.ledger:
        batch.machine.remember(engine, entity, decision.state)
    return debts


def timer_event(entity: Entity, timer: TimerFired, now_ms: int) -> Event:
    """The event of a timer; one per generation, whoever reports it."""
    return Event(f"timer:{timer.generation}", now_ms, str(entity), timer, "timer", entity.name)

"""The sweeper: whatever is owed and old, under a lease, so that one instance does it.

It repairs the gap between a commit and its effects, between a post and its wake, and a timer
that a queue lost. What it does is what the happy path would have done, by the same names.
"""

from __future__ import annotations

import logging

from arco_flow.domain.errors import ArcoError
from arco_flow.domain.events import Event, LeadershipTaken
from arco_flow.domain.ids import Entity, queue_task_name
from arco_flow.domain.leadership import Leadership, decode_leadership, leadership_entity
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import fold, pay_debts, record
from arco_flow.ports.log_context import label_entity, log_part
from arco_flow.ports.store import Lease

LEASE = "sweeper"
LEASE_MS = 15_000
SWEEP_LIMIT = 500
"""Entities per sweep; the next one goes on, a minute or less later."""
_log = logging.getLogger("arco_flow.engine")
_EVER_MS = 253_402_300_799_000
"""9999-12-31T23:59:59Z: the latest time that Firestore takes in a query."""


async def sweep(engine: Engine, holder: str) -> int | None:
    """Fold every overdue entity; answers their number, or None when another holder sweeps.

    One that can not be folded keeps no other waiting: all are tried, then its error is raised.
    Asks to be called again soon while anything is open, where the settings say so.
    """
    # First of all: a process that dies in the middle of its sweep must be followed by another.
    if engine.settings.sweep_again_ms and await engine.store.overdue(_EVER_MS, 1):
        await _ask_again(engine)
    lease = await engine.store.acquire_lease(LEASE, holder, LEASE_MS)
    return None if lease is None else await _sweep_under(engine, lease)


async def _sweep_under(engine: Engine, lease: Lease) -> int:
    failed: ArcoError | None = None
    try:
        await _note_leader(engine, lease)
    except ArcoError as error:
        failed = error
    now_ms = await engine.store.now_ms()
    overdue = await engine.store.overdue(now_ms - engine.settings.sweep_after_ms, SWEEP_LIMIT)
    held: Lease | None = lease
    for name in overdue:
        with log_part():
            try:
                await _repair(engine, name, lease)
            except ArcoError as error:
                _log.warning("it could not be swept: %s", error.reason, exc_info=error)
                failed = failed or error
        held = await _renewed(engine, lease)
        if held is None:
            break
        lease = held
    if failed is not None:
        raise failed
    return len(overdue)


async def _repair(engine: Engine, name: str, lease: Lease) -> None:
    """Submit again what is owed, then fold: the commit strikes off what was submitted.

    In this order, because the process of the next sweep may be another one, which would not
    know what this one has submitted. The commit carries the lease's token: a holder that stood
    still until another one took over commits nothing.
    """
    entity = Entity.parse(name)
    label_entity(entity)
    await pay_debts(engine, entity)
    await fold(engine, entity, sweeping=True, fence=(lease.name, lease.token))


async def _renewed(engine: Engine, lease: Lease) -> Lease | None:
    if lease.expires_ms - await engine.store.now_ms() > LEASE_MS // 2:
        return lease
    return await engine.store.acquire_lease(lease.name, lease.holder, LEASE_MS)


async def _note_leader(engine: Engine, lease: Lease) -> None:
    """Write down a change of the holder: a lease that is taken again by the same one is none."""
    entity = leadership_entity(lease.name)
    head = await engine.store.load(str(entity))
    known = decode_leadership(head.state) if head else Leadership()
    if known.holder == lease.holder:
        return
    taken = LeadershipTaken(lease.name, lease.holder, lease.token, known.holder)
    now_ms = await engine.store.now_ms()
    await record(engine, entity, Event(f"taken:{lease.token}", now_ms, str(entity), taken, "plane"))


async def _ask_again(engine: Engine) -> None:
    """One call per bucket of time, whoever asks: a chain that a dead process can not break."""
    width = engine.settings.sweep_again_ms
    # The nearest bucket's next: a call that comes a moment early by our clock must not find the
    # name of the task that it is itself, which would end the chain.
    bucket = (engine.clock.now_ms() + width // 2) // width + 1
    name = queue_task_name("w", f"{LEASE}:{width}:{bucket}")
    await engine.tasks.enqueue("timers", name, "sweeper", b"{}", at_ms=bucket * width)

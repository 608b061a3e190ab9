"""The sweeper: whatever is owed and old, under a lease, so that one instance does it.

It repairs the gap between a commit and its effects, between a post and its wake, and a timer
that a queue lost. What it does is what the happy path would have done, by the same names.
"""

from __future__ import annotations

from arco_flow.domain.errors import ArcoError
from arco_flow.domain.ids import Entity
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import fold, pay_debts
from arco_flow.ports.store import Lease

LEASE_MS = 15_000
SWEEP_LIMIT = 500
"""Entities per sweep; the next one goes on, a minute or less later."""


async def sweep(engine: Engine, holder: str) -> int | None:
    """Fold every overdue entity; answers their number, or None when another holder sweeps.

    One that can not be folded keeps no other waiting: all are tried, then its error is raised.
    """
    lease = await engine.store.acquire_lease("sweeper", holder, LEASE_MS)
    if lease is None:
        return None
    now_ms = await engine.store.now_ms()
    overdue = await engine.store.overdue(now_ms - engine.settings.sweep_after_ms, SWEEP_LIMIT)
    failed: ArcoError | None = None
    for name in overdue:
        try:
            await _repair(engine, name)
        except ArcoError as error:
            failed = failed or error
        lease = await _renewed(engine, lease, holder)
        if lease is None:
            break
    if failed is not None:
        raise failed
    return len(overdue)


async def _repair(engine: Engine, name: str) -> None:
    """Submit again what is owed, then fold: the commit strikes off what was submitted.

    In this order, because the process of the next sweep may be another one, which would not
    know what this one has submitted.
    """
    entity = Entity.parse(name)
    await pay_debts(engine, entity)
    await fold(engine, entity, sweeping=True)


async def _renewed(engine: Engine, lease: Lease, holder: str) -> Lease | None:
    if lease.expires_ms - await engine.store.now_ms() > LEASE_MS // 2:
        return lease
    return await engine.store.acquire_lease(lease.name, holder, LEASE_MS)

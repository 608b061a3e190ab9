"""The sweeper: whatever is owed and old, under a lease, so that one instance does it.

It repairs the gap between a commit and its effects, between a post and its wake, and a timer
that a queue lost. What it does is what the happy path would have done, by the same names.
"""

from __future__ import annotations

from arco_flow.domain.ids import Entity
from arco_flow.engine.context import Engine
from arco_flow.engine.mailbox import fold
from arco_flow.ports.store import Lease

LEASE_MS = 15_000
SWEEP_LIMIT = 500
"""Entities per sweep; the next one goes on, a minute or less later."""


async def sweep(engine: Engine, holder: str) -> int | None:
    """Fold every overdue entity; answers their number, or None when another holder sweeps."""
    lease = await engine.store.acquire_lease("sweeper", holder, LEASE_MS)
    if lease is None:
        return None
    now_ms = await engine.store.now_ms()
    overdue = await engine.store.overdue(now_ms - engine.settings.sweep_after_ms, SWEEP_LIMIT)
    for name in overdue:
        await _repair(engine, name)
        lease = await _renewed(engine, lease, holder)
        if lease is None:
            break
    return len(overdue)


async def _repair(engine: Engine, name: str) -> None:
    """Submit again what is owed, then fold: the commit strikes off what was submitted."""
    await fold(engine, Entity.parse(name), sweeping=True)


async def _renewed(engine: Engine, lease: Lease, holder: str) -> Lease | None:
    if lease.expires_ms - await engine.store.now_ms() > LEASE_MS // 2:
        return lease
    return await engine.store.acquire_lease(lease.name, holder, LEASE_MS)

"""Who sweeps: written down when it changes, fenced while it lasts, called again while needed."""

from __future__ import annotations

import msgspec
import pytest

from arco_flow.domain.decision import decode_segment
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.identifiers import validate_tenant
from arco_flow.domain.leadership import PLANE_SCOPE, leadership_entity
from arco_flow.engine.context import Settings
from arco_flow.engine.mailbox import Folded, fold
from arco_flow.engine.sweeper import LEASE, LEASE_MS, sweep
from arco_flow.ports.store import Lease
from arco_flow.simulation.shapes import manifest_of
from engine.world import SECONDS, World

ENTITY = str(leadership_entity(LEASE))


async def holders(world: World) -> list[tuple[str, str, int]]:
    """Each change of the holder: before, after, token."""
    found = []
    for body in await world.store.segments(ENTITY):
        for entry in decode_segment(body).entries:
            data = entry.event.data
            found.append((data.previous, data.holder, data.token))
    return found


async def test_a_take_over_is_in_the_ledger_with_both_holders() -> None:
    world = World(instances=2)
    await sweep(world.engine, "first")
    world.clock.advance(LEASE_MS)
    await sweep(world.instances[1].engine, "second")
    assert await holders(world) == [("", "first", 1), ("first", "second", 2)]


async def test_a_lease_that_lapsed_and_was_taken_by_the_same_holder_is_no_take_over() -> None:
    world = World()
    for _ in range(3):
        await sweep(world.engine, "first")
        world.clock.advance(2 * LEASE_MS)
    assert await holders(world) == [("", "first", 1)]


async def test_a_holder_that_lost_its_lease_commits_nothing_under_it() -> None:
    world = World()
    await world.deploy(manifest_of({"a": []}))
    run = await world.request()
    entity = next(name for name in await world.store.overdue(1 << 53, 10) if run.run_id in name)
    old = await world.store.acquire_lease(LEASE, "first", LEASE_MS)
    world.clock.advance(LEASE_MS)
    await world.store.acquire_lease(LEASE, "second", LEASE_MS)
    before = await world.store.load(entity)
    assert isinstance(old, Lease)
    parsed = type(leadership_entity(LEASE)).parse(entity)
    outcome = await fold(world.engine, parsed, sweeping=True, fence=(old.name, old.token))
    assert outcome is Folded.CONTENDED
    assert await world.store.load(entity) == before


@pytest.mark.parametrize(("again_ms", "calls"), [(10 * SECONDS, 1), (0, 0)])
async def test_a_sweep_asks_to_be_called_again_while_a_run_is_open(again_ms, calls) -> None:
    world = World(settings=Settings(sweep_again_ms=again_ms))
    asked = []

    async def note(body, delivery):
        asked.append((msgspec.json.decode(body), delivery.at_ms))

    world.tasks.register("sweeper", note)
    await sweep(world.engine, "first")
    await world.deploy(manifest_of({"a": []}))
    await world.request()
    for holder in ("first", "second"):
        await sweep(world.engine, holder)
    await world.run_for(20 * SECONDS)
    assert len(asked) == calls


@pytest.mark.parametrize("off_ms", [-40, -1, 0, 1, 40])
async def test_the_chain_of_sweeps_goes_on_though_clocks_differ(off_ms) -> None:
    world = World(
        settings=Settings(sweep_again_ms=10 * SECONDS),
        timing=lambda _queue, _name, at_ms: (at_ms + off_ms,),
    )
    calls = []

    async def again(_body, _delivery):
        calls.append(world.now_ms)
        await sweep(world.engine, "first")

    world.tasks.register("sweeper", again)
    await world.deploy(manifest_of({"a": []}))
    await world.request()
    await sweep(world.engine, "first")
    await world.run_for(61 * SECONDS)
    assert len(calls) == 6


async def test_no_tenant_can_be_called_as_the_plane_is() -> None:
    with pytest.raises(InvalidInput):
        validate_tenant(PLANE_SCOPE.tenant)

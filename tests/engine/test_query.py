"""What is told of runs: by which names, in how many calls, and of what is damaged."""

from __future__ import annotations

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.errors import NotFound, Unavailable
from arco_flow.domain.ids import manifest_path, plan_path
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.query import (
    LOADED_AT_ONCE,
    get_plan,
    get_run,
    list_run_events,
    list_runs,
)
from arco_flow.simulation.shapes import manifest_of
from engine.world import SCOPE, World

HOURS = 3600 * 1000


async def deployed(faults: ScriptedFaults | None = None) -> World:
    world = World(faults=faults)
    await world.deploy(manifest_of())
    return world


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "..", "a b", "é", "\0", "\udc80", "r" * 2000])
async def test_a_name_that_no_run_can_have_is_not_found_without_asking_the_store(name) -> None:
    """Firestore refuses some of them, where other stores find nothing."""
    faults = ScriptedFaults()
    world = await deployed(faults)
    before = faults.calls["store.load"]
    with pytest.raises(NotFound):
        await get_run(world.engine, SCOPE, name)
    with pytest.raises(NotFound):
        await cancel_run(world.engine, SCOPE, name, reason="", actor="user:me")
    assert faults.calls["store.load"] == before


async def test_a_list_of_runs_reads_the_states_of_many_at_once() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults)
    made = [(await world.request()).run_id for _ in range(LOADED_AT_ONCE + 1)]
    faults.calls.clear()
    page = await list_runs(world.fresh_engine(), SCOPE, limit=100)
    assert sorted(run.run_id for run in page.runs) == sorted(made)
    assert {run.state for run in page.runs} == {"RUNNING"}
    assert faults.calls == {"store.list_heads": 1, "store.load_many": 2}


async def pages_of(engine, run_id, limit):
    """Versions and places of the events of a run, by page."""
    token = "0"
    while token:
        page = await list_run_events(engine, SCOPE, run_id, after=int(token), limit=limit)
        yield [(event.version, event.index) for event in page.events]
        token = page.next_page_token


@pytest.mark.parametrize(("bound", "value"), [("PAGE_EVENTS", 1), ("PAGE_BYTES", 1)])
async def test_a_page_of_events_ends_before_it_is_too_long_for_an_answer(
    monkeypatch, bound, value
) -> None:
    """Cloud Run hands none of over 32 MiB on; the ledger of a large run is that long."""
    world = await deployed()
    run = await world.request()
    await world.run_for(4 * HOURS)
    [whole] = [page async for page in pages_of(world.engine, run.run_id, 1000)]
    versions = sorted({version for version, _ in whole})
    assert len(versions) > 3
    monkeypatch.setattr(f"arco_flow.engine.query.{bound}", value)
    pages = [page async for page in pages_of(world.engine, run.run_id, 1000)]
    assert [place for page in pages for place in page] == whole
    assert len([page for page in pages if page]) == len(versions)


async def test_a_page_of_events_reads_a_bounded_number_of_segments_at_once(monkeypatch) -> None:
    world = await deployed()
    run = await world.request()
    await world.run_for(4 * HOURS)
    [whole] = [page async for page in pages_of(world.engine, run.run_id, 1000)]
    monkeypatch.setattr("arco_flow.engine.query.LOADED_AT_ONCE", 2)
    assert [page async for page in pages_of(world.engine, run.run_id, 1000)] == [whole]
    halves = [page async for page in pages_of(world.engine, run.run_id, 3)]
    assert [place for page in halves for place in page] == whole


@pytest.mark.parametrize("what", ["plan", "manifest"])
async def test_a_plan_or_manifest_that_was_altered_is_damage_and_nobodys_request(what) -> None:
    world = await deployed()
    run = await world.request()
    view = await world.view(run.run_id)
    path = {
        "plan": plan_path(SCOPE, view.plan_id),
        "manifest": manifest_path(SCOPE, view.manifest_id),
    }[what]
    stored = world.objects.get(path)
    assert stored is not None
    world.objects.put_if_generation(path, stored.data + b" ", stored.generation)
    with pytest.raises(Unavailable, match=f"{what} .* was altered") as raised:
        await get_plan(world.fresh_engine(), SCOPE, run.run_id)
    assert (raised.value.reason, bool(raised.value.fix)) == ("DAMAGED_STATE", True)

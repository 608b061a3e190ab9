"""What is told of runs: by which names, in how many calls, and of what is damaged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.decision import IGNORED, Entry, Segment, encode_segment
from arco_flow.domain.errors import NotFound, Unavailable
from arco_flow.domain.events import Event, UnknownEvent
from arco_flow.domain.ids import manifest_path, plan_path, run_entity
from arco_flow.domain.page_size import PAGE_BYTES
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.pages import READ_AT_ONCE
from arco_flow.engine.query import get_plan, get_run, list_run_events, list_runs
from arco_flow.ports.store import Commit
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
    made = [(await world.request()).run_id for _ in range(READ_AT_ONCE + 1)]
    faults.calls.clear()
    page = await list_runs(world.fresh_engine(), SCOPE, limit=100)
    assert sorted(run.run_id for run in page.runs) == sorted(made)
    assert {run.state for run in page.runs} == {"RUNNING"}
    assert faults.calls == {"store.list_heads": 1, "store.load_many": 2}


async def test_a_page_of_runs_ends_with_the_one_whose_tags_make_it_too_long() -> None:
    world = await deployed()
    tags = {f"k{number}": "x" * 2048 for number in range(100)}
    made = [(await world.request(tags=tags)).run_id for _ in range(25)]
    first = await list_runs(world.engine, SCOPE, limit=1000)
    second = await list_runs(world.engine, SCOPE, limit=1000, before=first.next_page_token)
    assert (len(first.runs), second.next_page_token) == (PAGE_BYTES // 205_000 + 1, "")
    assert sorted(run.run_id for run in (*first.runs, *second.runs)) == sorted(made)


@pytest.mark.parametrize("size", [900_000, 3_000_000])
async def test_a_page_of_a_ledger_ends_with_the_segment_that_makes_it_too_long(size: int) -> None:
    """As it is read: a segment may be stored compressed."""
    world = await deployed()
    run = (await world.request()).run_id
    entity = str(run_entity(SCOPE, run))
    before = world.peek(world.store.load(entity))
    world.store.observers.clear()
    for version in range(before.version + 1, before.version + 8):
        note = UnknownEvent("Note", {"type": "Note", "text": "x" * size})
        event = Event(f"x:{version}", 1, entity, note, "me")
        segment = encode_segment(Segment(version, 1, 1, (Entry(event, IGNORED),)))
        head = replace(before, version=version)
        world.peek(world.store.commit(Commit(head, version - 1, segment)))
    token, counts = str(before.version), []
    while token:
        page = await list_run_events(world.engine, SCOPE, run, after=int(token), limit=1000)
        counts.append(len(page.events))
        token = page.next_page_token
    assert counts == ([5, 2] if size == 900_000 else [2, 2, 2, 1])


async def test_a_page_that_ends_with_the_ledger_has_no_other_after_it() -> None:
    world = await deployed()
    run = (await world.request()).run_id
    head = world.peek(world.store.load(str(run_entity(SCOPE, run))))
    page = await list_run_events(world.engine, SCOPE, run, limit=head.version)
    assert (page.events[-1].version, page.next_page_token) == (head.version, "")


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
